"""LoRA adapters: every tensor of the file lands in the model, or an error names it; then the adapter is merged."""

import json
import pickle
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from peft import PeftConfig, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from mechpatch.errors import CheckpointError

PEFT_PREFIX = "base_model.model."
EMBEDDINGS = ("model.embed_tokens.weight", "lm_head.weight")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors or .bin / .pt file, mapped into memory where the format allows; pickles never run."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path}: refused, it holds more than tensors ({str(error).splitlines()[0]}). Only plain state dicts are "
            "read; save it as safetensors where you trust it"
        ) from error
    except (SafetensorError, RuntimeError, ValueError, EOFError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read as tensors: {error}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: a state dict of tensors was expected, found {type(state).__name__}")
    return state


def account(source: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise a `CheckpointError` that names every missing, unexpected or mis-shaped tensor of `source`."""
    faults = [f"missing: {name} {tuple(expected[name].shape)}" for name in sorted(expected.keys() - found.keys())]
    faults += [f"unexpected: {name} {tuple(found[name].shape)}" for name in sorted(found.keys() - expected.keys())]
    faults += [
        f"wrong shape: {name} is {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in sorted(found.keys() & expected.keys())
        if found[name].shape != expected[name].shape
    ]
    if faults:
        shown = "\n  ".join(faults[:20]) + (f"\n  … and {len(faults) - 20} more" if len(faults) > 20 else "")
        raise CheckpointError(
            f"{source}: {len(faults)} tensors do not fit the model and the adapter's configuration:\n  {shown}\n"
            "Check that it was trained on this base, with this rank and these target modules"
        )


def merge_lora(
    hf: LlamaForCausalLM, config: PeftConfig, state: Mapping[str, Tensor], source: str
) -> LlamaForCausalLM:
    """Attach `config`, load `state` with every key accounted for, merge, and return the plain model.

    Args:
        state: PEFT's file names (`base_model.model.….lora_A.weight`). Embedding rows may be among them; the model's
            embeddings are resized to their number first.
        source: the file, for messages.
    """
    state = dict(state)
    for name in EMBEDDINGS:
        rows = state.get(PEFT_PREFIX + name)
        if rows is not None and rows.shape[0] != hf.config.vocab_size:
            hf.resize_token_embeddings(rows.shape[0], mean_resizing=False)
    config.inference_mode = True
    try:
        with warnings.catch_warnings():  # PEFT warns of tied embeddings among the targets; `account` decides
            warnings.simplefilter("ignore")
            model = get_peft_model(hf, config, low_cpu_mem_usage=True)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{source}: its configuration does not fit this base: {error}") from error
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    embeddings = {name: state.pop(PEFT_PREFIX + name) for name in EMBEDDINGS if PEFT_PREFIX + name in state}
    embeddings = {name: rows for name, rows in embeddings.items() if PEFT_PREFIX + name not in expected}
    account(source, state, expected)
    state = {name: tensor.to(hf.dtype) for name, tensor in state.items()}
    result = set_peft_model_state_dict(model, state, low_cpu_mem_usage=True)
    if result.unexpected_keys:
        raise CheckpointError(f"{source}: PEFT did not take {sorted(result.unexpected_keys)}")
    load_embeddings(hf, embeddings, source)
    merged = model.merge_and_unload()
    assert isinstance(merged, LlamaForCausalLM)
    return merged


def load_embeddings(hf: LlamaForCausalLM, found: Mapping[str, Tensor], source: str) -> None:
    """Copy embedding rows by Hugging Face name; a tied output that differs from the input rows is an error."""
    own = dict(hf.named_parameters(remove_duplicate=False))
    account(source, found, {name: own[name] for name in found})
    if hf.config.tie_word_embeddings and len(found) == 2 and not torch.equal(*found.values()):
        raise CheckpointError(f"{source}: {' and '.join(found)} differ, but config.json ties them")
    with torch.no_grad():
        for name, rows in found.items():
            own[name].copy_(rows)


def read_peft(folder: Path) -> tuple[PeftConfig, dict[str, Tensor], Path]:
    """Configuration and tensors of a PEFT LoRA directory, and the file that the tensors came from."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such directory; expected a PEFT adapter (adapter_config.json and weights)")
    if not (folder / "adapter_config.json").is_file():
        raise CheckpointError(f"{folder}: adapter_config.json is missing; expected a PEFT adapter directory")
    try:
        kind = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8")).get("peft_type")
        if kind != "LORA":
            raise CheckpointError(f"{folder / 'adapter_config.json'}: peft_type is {kind!r}, expected 'LORA'")
        config = PeftConfig.from_pretrained(str(folder))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(f"{folder / 'adapter_config.json'}: not a PEFT configuration: {error}") from error
    file = first_existing(folder, ("adapter_model.safetensors", "adapter_model.bin"))
    return config, read_tensors(file), file


def first_existing(folder: Path, names: Iterable[str]) -> Path:
    """The first of `names` in `folder`; a `CheckpointError` that lists them if there is none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: none of {', '.join(names)} is there")

