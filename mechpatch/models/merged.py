"""The Hugging Face model that files make: base, LoRA merged, latent head; of headers alone too, as a trial."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mechpatch.models.adapter import embedding_rows, merge_lora, unwrapped
from mechpatch.models.architectures import architecture_of
from mechpatch.models.base import build
from mechpatch.models.checkpoint import Parts, lora_config, require_alias, sort
from mechpatch.models.heads import LatentHead
from mechpatch.models.outline import Outline


def make_merged(found: Outline, dtype: torch.dtype) -> tuple[PreTrainedModel, LatentHead | None, dict[str, Any]]:
    """The model, its head if thoughts are fed back through one or as they are, and settings of how it was made."""
    if found.lora is not None:
        return _adapted(found, dtype), None, merged_settings(found)
    family, row = found.family, architecture_of(found.config)
    parts = _read(found, dtype)
    require_alias(parts, row, found.stored.path)
    if found.base is None:
        hf = build(found.config, parts.base, found.stored.path, found.source.tie)
    else:
        hf = _base(found, parts.base, dtype)
    if family.lora:
        assert family.lora_alpha is not None
        targets = found.source.lora_targets or row.targets
        hf = merge_lora(hf, lora_config(parts.rank, family.lora_alpha, targets), parts.lora, found.stored.path)
    head = LatentHead(parts.head, family.head) if family.fed == "head" else None
    return hf, head, merged_settings(found)


def merged_settings(found: Outline) -> dict[str, Any]:
    """What a merged model is made with, as far as headers and configurations tell, JSON values."""
    settings: dict[str, Any] = {"left_out": found.left_out} if found.left_out else {}
    if (lora := found.lora) is not None:
        settings |= {"lora_rank": lora.r, "lora_alpha": lora.lora_alpha}
    elif found.family.lora and found.parts is not None:
        targets = found.source.lora_targets or architecture_of(found.config).targets
        alpha = found.family.lora_alpha
        settings |= {"lora_rank": found.parts.rank, "lora_alpha": alpha, "lora_targets": [*targets]}
    return settings


def _read(found: Outline, dtype: torch.dtype) -> Parts:
    """The checkpoint. What is not kept once it is merged or compared has a map of its own, which is then given back."""
    stored, family, ignored = found.stored, found.family, found.source.ignore_keys
    left_out = {name for name in stored.headers if name.startswith((*family.left_out, *ignored))}
    passing = {name for name in stored.headers if ".lora_" in name or name in family.aliases} - left_out
    tensors = stored.read(dtype, skip=left_out | passing)
    if passing:
        tensors |= stored.read(dtype, skip=stored.headers.keys() - passing)
    return sort(tensors, family, ignored, stored.path)


def _base(found: Outline, rows: Mapping[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    """The base with embedding `rows` instead of its own where there are any."""
    config, row, stored = found.config, architecture_of(found.config), found.base
    assert stored is not None
    skip = {*rows, row.embeddings[1]} if rows and config.tie_word_embeddings else {*rows}
    skip |= {name.removeprefix(f"{row.cls.base_model_prefix}.") for name in skip}  # as files without the head call them
    skip |= {name for name in stored.headers if name.startswith(found.source.ignore_keys)}
    return build(config, {**stored.read(dtype, skip), **rows}, stored.path.parent, found.source.tie)


def _adapted(found: Outline, dtype: torch.dtype) -> PreTrainedModel:
    """The base with a PEFT adapter merged."""
    assert found.lora is not None
    ignored = {name for name in found.stored.headers if name.startswith(found.source.ignore_keys)}
    state = unwrapped(found.stored.read(dtype, ignored))
    rows = embedding_rows(state)
    for tensor in rows.values():
        found.config.vocab_size = tensor.shape[0]
    return merge_lora(_base(found, rows, dtype), found.lora, state, found.stored.path)
