"""The Hugging Face Llama: its directory, its configuration, and the model made of given tensors."""

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from huggingface_hub import snapshot_download
from torch import Tensor
from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from mechpatch.errors import CheckpointError
from mechpatch.models.files import account, bounded, refusing

EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")
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
            f"{base}: no such directory; expected a Hugging Face Llama (config.json, weights, tokenizer.json)"
        )
    with refusing(base, "neither a directory here nor a model that the hub gives"):
        wanted = ["*.json", "*.safetensors", "*.model"]
        return Path(snapshot_download(str(base), allow_patterns=wanted, ignore_patterns=["*/*"]))


def read_config(folder: Path) -> LlamaConfig:
    """The configuration of a Llama that transformer-lens can run exactly; anything else is a `CheckpointError`."""
    path = folder / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; expected the directory of a Hugging Face Llama")
    bounded(path)
    with refusing(path, "not a model configuration"):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        if not isinstance(config, LlamaConfig) or config.model_type != "llama":
            raise CheckpointError(f"{path}: model_type is {config.model_type!r}, expected 'llama'")
        wanted = {"attention_bias": (False,), "mlp_bias": (False,), "hidden_act": ("silu",)}
        found = {name: getattr(config, name) for name in wanted}
        # transformers would fetch a kernel that is named here from the hub, and run it.
        wanted["attn_implementation"], found["attn_implementation"] = ATTENTION, config._attn_implementation
        wanted["rope_type"], found["rope_type"] = ROPE_TYPES, (config.rope_parameters or {}).get("rope_type")
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


def build(config: LlamaConfig, weights: Mapping[str, Tensor], source: object) -> LlamaForCausalLM:
    """A Llama whose weights are the given tensors themselves, every one accounted for.

    Args:
        weights: by Hugging Face name, all of one dtype.
        source: where they come from, for messages.
    """
    # Buffers that Llama files of 2023 carry along; the model computes its own.
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith("rotary_emb.inv_freq")}
    with refusing(source, "no Llama can be built after its config.json"):
        with torch.device("meta"):
            hf = LlamaForCausalLM(config)
        hf.model.rotary_emb = LlamaRotaryEmbedding(config)
    tied = [weights[name] for name in EMBEDDINGS if name in weights]
    if config.tie_word_embeddings and len(tied) == 2:
        if not torch.equal(*tied):
            raise CheckpointError(f"{source}: {' and '.join(EMBEDDINGS)} differ, but config.json ties them")
        del weights[EMBEDDINGS[1]]
    account(source, weights, dict(hf.named_parameters()), "Check that config.json belongs to these weights")
    hf.load_state_dict(weights, strict=False, assign=True)
    hf.tie_weights()
    return hf.eval().requires_grad_(False)
