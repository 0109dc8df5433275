"""The Hugging Face model: its directory, its configuration, and the model made of given tensors."""

import logging
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel

from mechpatch.data import meant
from mechpatch.errors import CheckpointError
from mechpatch.models.architectures import ARCHITECTURES, Architecture, architecture_of
from mechpatch.models.files import account, read_json, refusing

log = logging.getLogger(__name__)

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ATTENTION = (None, "eager", "sdpa")
# Far more than any model has; more would be built, one by one, before the weights are looked at.
MAX_LAYERS, MAX_VOCABULARY = 1000, 10**7
# The others change with the length of the input.
ROPE_TYPES = ("default", "linear", "llama3", "yarn")


def model_folder(base: str | Path) -> Path:
    """`base` itself if it is a directory; otherwise `owner/name` is looked up on the hub, safetensors only."""
    with refusing(str(base)[:100], "not a path"):
        folder = Path(base).expanduser()
        if folder.is_dir():
            return folder
    if not HUB_NAME.fullmatch(str(base)) or str(base).startswith("."):
        raise CheckpointError(
            f"{base}: no such directory; expected a Hugging Face model (config.json, weights, tokenizer.json)"
            f"{meant(base)}"
        )
    with refusing(base, "neither a directory here nor a model that the hub gives"):
        wanted = ["*.json", "*.safetensors", "*.model"]
        return Path(snapshot_download(str(base), allow_patterns=wanted, ignore_patterns=["*/*"]))


def read_config(folder: Path) -> PreTrainedConfig:
    """The configuration of a model that transformer-lens can run exactly; anything else is a `CheckpointError`."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected the directory of a Hugging Face model")
    kind = read_json(path).get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        names = read_json(path).get("architectures")
        named = f" ({', '.join(map(str, names))})" if isinstance(names, list) and names else ""
        able = ", ".join(f"{each} ({row.cls.__name__})" for each, row in ARCHITECTURES.items())
        raise CheckpointError(f"{path}: model_type is {kind!r}{named}, which cannot be run; expected one of {able}")
    with refusing(path, "not a model configuration"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        wanted = dict(architecture_of(config).required)
        found = {name: getattr(config, name) for name in wanted}
        # transformers would fetch a kernel that is named here from the hub, and run it.
        wanted["attn_implementation"], found["attn_implementation"] = ATTENTION, config._attn_implementation
        for name, rope in _ropes(config).items():
            wanted[name], found[name] = ROPE_TYPES, rope.get("rope_type")
    if not (0 < config.num_hidden_layers <= MAX_LAYERS and 0 < config.vocab_size <= MAX_VOCABULARY):
        raise CheckpointError(
            f"{path}: {config.num_hidden_layers} layers and a vocabulary of {config.vocab_size}; expected at least 1 "
            f"of each, at most {MAX_LAYERS} layers and {MAX_VOCABULARY} tokens"
        )
    for name, values in wanted.items():
        if found[name] not in values:
            expected = " or ".join(map(repr, values))
            raise CheckpointError(f"{path}: {name} is {found[name]!r}; only {expected} can be run exactly")
    return config


def _ropes(config: PreTrainedConfig) -> dict[str, Mapping[str, Any]]:
    """Settings of each rotary table, by what a message calls its type; none where positions are learned."""
    found: Mapping[str, Any] | None = getattr(config, "rope_parameters", None)
    if not found:
        return {} if found is None else {"rope_type": found}
    inner = {f"rope_type of {name}": each for name, each in found.items() if isinstance(each, Mapping)}
    return inner or {"rope_type": found}


def build(
    config: PreTrainedConfig, weights: Mapping[str, Tensor], source: object, tie: str | None = None
) -> PreTrainedModel:
    """A model whose weights are the given tensors themselves, every one accounted for.

    Args:
        weights: by Hugging Face name, all of one dtype; names of the model without its head are as good.
        source: where they come from, for messages.
        tie: which of two unequal copies of a tied embedding counts: first (input) or second (output).
    """
    row = architecture_of(config)
    with refusing(source, f"no {row.cls.__name__} can be built after its config.json"):
        with torch.device("meta"):
            hf: Any = row.cls(config)
        _make_buffers(hf, next(iter(weights.values())).dtype if weights else torch.float32)
    weights = _known(weights, hf.state_dict().keys(), row, source)
    tied = [weights[name] for name in row.embeddings if name in weights]
    if config.tie_word_embeddings and len(tied) == 2:
        if tie is None and not (tied[0].is_meta or torch.equal(*tied)):
            raise CheckpointError(
                f"{source}: {' and '.join(row.embeddings)} differ, but config.json ties them: official code loads "
                "both into one tensor, and so keeps only one of them. Say which one is meant: --tie first (input) or "
                "--tie second (output)"
            )
        weights[row.embedding] = tied[tie == "second"]
        del weights[row.embeddings[1]]
    account(source, weights, dict(hf.named_parameters()), "Check that config.json belongs to these weights")
    hf.load_state_dict(weights, strict=False, assign=True)
    hf.tie_weights()
    return hf.eval().requires_grad_(False)


def _known(
    weights: Mapping[str, Tensor], expected: Collection[str], row: Architecture, source: object
) -> dict[str, Tensor]:
    """Weights under the names of the whole model, without buffers that it computes itself."""
    buffers = {name: tensor.nbytes for name, tensor in weights.items() if re.fullmatch(row.buffers, name)}
    if buffers:
        first = min(buffers)
        log.info("%s: left out %d buffers (%s, …), %d bytes", source, len(buffers), first, sum(buffers.values()))
    found = {}
    for name, tensor in weights.items():
        whole = f"{row.cls.base_model_prefix}.{name}"
        if name not in buffers:
            found[whole if whole in expected and whole not in weights else name] = tensor
    return found


def _make_buffers(hf: Any, dtype: torch.dtype) -> None:
    """What a model computes from its configuration and no file holds: rotary tables, the scale of embeddings."""
    base, embedding = hf.base_model, hf.get_input_embeddings()
    if hasattr(base, "rotary_emb"):
        base.rotary_emb = type(base.rotary_emb)(hf.config)
    if hasattr(embedding, "embed_scale"):
        embedding.embed_scale = torch.tensor(embedding.scalar_embed_scale, dtype=dtype)
