"""LoRA adapters: every tensor of the file lands in the model, or an error names it; then the adapter is merged."""

import re
import warnings
from collections.abc import Mapping
from pathlib import Path

from peft import LoraConfig, PeftConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import PreTrainedModel

from mechpatch.errors import CheckpointError
from mechpatch.models.architectures import EMBEDDINGS
from mechpatch.models.files import Stored, account, exists, first_existing, open_weights, read_json, refusing

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
PREFIX = "base_model.model."
LAST = "|".join(name.split(".")[-2] for name in EMBEDDINGS)  # the modules' own names
# Names inside PEFT's wrappers, under which it writes embeddings that were resized as well as trained.
WRAPPED = re.compile(rf"(.+\.(?:{LAST}))\.(base_layer|modules_to_save|original_module)\.weight")
# Settings that import a module by its name, repeat layers, or act while a text is read.
FOREIGN = ("megatron_config", "layer_replication", "alora_invocation_tokens", "arrow_config")
# A repeated group, or too many repeats: matched against a name, such a pattern can take for ever.
ENDLESS = re.compile(r"\)[*+{]|(?:[*+{][^*+{]*){5}")
TARGETED = re.compile(rf"\.({LAST})\.lora_")


def open_adapter(folder: Path) -> tuple[LoraConfig, Stored]:
    """Configuration of a PEFT LoRA directory, and its weights, of which the headers alone are read."""
    if not exists(folder, "not a path") or not folder.is_dir():
        raise CheckpointError(f"{folder}: no such directory; expected a PEFT adapter (adapter_config.json and weights)")
    path = first_existing(folder, (ADAPTER_CONFIG,))
    found = read_json(path)
    if (kind := found.get("peft_type")) != "LORA":
        raise CheckpointError(f"{path}: peft_type is {kind!r}, expected 'LORA'")
    if named := [name for name in FOREIGN if found.get(name)]:
        raise CheckpointError(f"{path}: {named[0]} is set, and what it asks for cannot be merged")
    for pattern in _patterns(found):
        if ENDLESS.search(pattern):
            raise CheckpointError(f"{path}: the pattern {pattern[:60]!r} could take for ever; list the modules by name")
    with refusing(path, "not a PEFT configuration"):
        config = PeftConfig.from_pretrained(str(folder))
    assert isinstance(config, LoraConfig)
    return config, open_weights(folder, ADAPTER_WEIGHTS, "a PEFT adapter")


def _patterns(found: Mapping[str, object]) -> list[str]:
    """The texts of a configuration that PEFT takes for regular expressions."""
    texts = [found.get(name) for name in ("target_modules", "exclude_modules", "modules_to_save")]
    for name in ("rank_pattern", "alpha_pattern"):
        if isinstance(by_pattern := found.get(name), dict):
            texts += by_pattern
    return [text for text in texts if isinstance(text, str)]


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Embeddings under their plain names: what was trained, or what is trained on, not what training replaced."""
    found = {name: tensor for name, tensor in state.items() if not WRAPPED.fullmatch(name)}
    for name, tensor in state.items():
        if (match := WRAPPED.fullmatch(name)) and match[2] != "original_module":
            found.setdefault(f"{match[1]}.weight", tensor)
    return found


def embedding_rows(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The embeddings that an adapter brings whole, by Hugging Face name; they stand in for the base's."""
    found = {name: state[PREFIX + name] for name in EMBEDDINGS if PREFIX + name in state}
    return {name: rows for name, rows in found.items() if rows.ndim == 2}


def merge_lora(hf: PreTrainedModel, config: LoraConfig, state: Mapping[str, Tensor], source: object) -> PreTrainedModel:
    """Attach `config`, load `state` with every key accounted for, merge in place, and return the plain model.

    Args:
        hf: with the embeddings of `state`, if there are any, already in it (see `embedding_rows`).
        state: by PEFT's file names, `base_model.model.….lora_A.weight`.
        source: the file, for messages.
    """
    config.inference_mode = True
    with warnings.catch_warnings(), refusing(source, "its configuration does not fit this base"):
        warnings.simplefilter("ignore")  # what PEFT warns of, tied or absent targets, is refused here
        model = get_peft_model(hf, config, low_cpu_mem_usage=True)
        expected = get_peft_model_state_dict(model, save_embedding_layers=False)
        if hf.config.tie_word_embeddings and any(TARGETED.search(name) for name in expected):
            raise CheckpointError(
                f"{source}: it adapts an embedding, but config.json ties input and output: merged, it would change both"
            )
        in_place = {PREFIX + name for name in embedding_rows(state)} - expected.keys()
        state = {name: tensor for name, tensor in state.items() if name not in in_place}
        account(
            source, state, expected, "Check that it was trained on this base, with this rank and these target modules"
        )
        set_peft_model_state_dict(model, state, low_cpu_mem_usage=True)
        merged = model.merge_and_unload()
    assert isinstance(merged, PreTrainedModel)
    return merged
