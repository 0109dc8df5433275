"""One merged copy of a model on disk, which any number of processes map instead of merging one each.

Files that hold the weights as they are run need no copy: they are mapped themselves. A copy is worth its place where a
LoRA is merged, or where files hold another dtype: each process would otherwise make all weights anew, and keep them.
"""

import logging
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors.torch import save_file
from transformers import PreTrainedModel

from mechpatch.errors import StorageError
from mechpatch.models.architectures import architecture_of
from mechpatch.models.base import build
from mechpatch.models.files import read_tensors
from mechpatch.models.heads import LatentHead
from mechpatch.models.merged import make_merged, merged_settings
from mechpatch.models.outline import Outline
from mechpatch.storage.atomic import replacing, writing
from mechpatch.storage.cache_folder import MERGED

log = logging.getLogger(__name__)


def copy_of(cache: Path, fingerprint: str) -> Path:
    """Where the copy of a model lies."""
    return cache / MERGED / f"{fingerprint}.safetensors"


def is_worth_a_copy(found: Outline, dtype: torch.dtype) -> bool:
    """Whether a process that loads the model makes weights that no file holds."""
    headers = chain(found.stored.headers.values(), found.base.headers.values() if found.base else ())
    return (
        found.lora is not None
        or found.family.lora
        or any(each.is_floating_point() and each.dtype != dtype for each in headers)
    )


def make_mapped(
    found: Outline, dtype: torch.dtype, copy: Path
) -> tuple[PreTrainedModel, LatentHead | None, dict[str, Any]]:
    """As `make_merged`, with the weights mapped from `copy`; the first process that asks writes it, others wait.

    Where it cannot be written, that is said, and the model is merged in memory.
    """
    if not is_worth_a_copy(found, dtype):
        return make_merged(found, dtype)
    try:
        with writing(copy.parent):
            copy.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(copy.with_suffix(".lock")):
            if not copy.is_file():
                hf, _, _ = make_merged(found, dtype)
                with replacing(copy) as temporary:
                    save_file({name: each.contiguous() for name, each in hf.named_parameters()}, temporary)
                del hf
                log.info("wrote the merged weights to %s", copy)
    except (StorageError, OSError) as error:
        log.warning("the merged weights are kept in memory: %s", error)
        return make_merged(found, dtype)
    weights = read_tensors(copy, dtype)
    found.config.vocab_size = len(weights[architecture_of(found.config).embedding])
    hf = build(found.config, weights, copy, found.source.tie)
    head = None
    if found.family.fed == "head" and found.lora is None:
        others = {name for name in found.stored.headers if not found.family.is_head(name)}
        head = LatentHead(found.stored.read(dtype, skip=others), found.family.head)
    return hf, head, merged_settings(found)
