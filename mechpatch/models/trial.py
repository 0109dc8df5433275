"""A checkpoint looked at by its headers alone: what it is, what it lacks, and how much memory a load will take.

A load is tried on headers by the code that loads weights, so that it refuses here what it would refuse there.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mechpatch.data import SHIPPED
from mechpatch.errors import CheckpointError
from mechpatch.families import FAMILIES, ROWS, recognise
from mechpatch.models.adapter import ADAPTER_CONFIG, open_adapter
from mechpatch.models.architectures import ARCHITECTURES
from mechpatch.models.checkpoint import sort, summary
from mechpatch.models.files import Stored, open_weights
from mechpatch.models.merged import make_merged
from mechpatch.models.outline import family_of, open_checkpoint, outline
from mechpatch.reprs import short_repr
from mechpatch.source import ModelSource


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """What the keys of a checkpoint tell.

    Attributes:
        title: title of its family, or what else it is.
        option: which takes it.
        architectures: Hugging Face classes that have such keys.
        has_base: whether all weights of the model are in it.
        rank, alpha: rank and alpha of its LoRA; the alpha is a published one where the files do not hold it.
        alpha_is_stored: whether the files hold it.
        rows: number of rows of the input embedding; 0 where it has none.
        left_out: keys and bytes, by the beginning of the keys.
        n_latents: thoughts that the family was trained with.
    """

    title: str
    option: str
    architectures: tuple[str, ...]
    has_base: bool
    rank: int
    alpha: float | None
    alpha_is_stored: bool
    rows: int
    left_out: dict[str, dict[str, int]]
    n_latents: int

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What a load would make.

    Attributes:
        architecture: Hugging Face's class.
        special: ids of special tokens, by role.
        n_tokens: number of tokens that the tokenizer has.
        weights: bytes of all weights.
        passing: further bytes that are taken while it loads.
        doubt: see `ThoughtModel`.
    """

    architecture: str
    special: dict[str, int]
    n_tokens: int
    weights: int
    passing: int
    doubt: str

    __repr__ = short_repr


def source_for(checkpoint: Path, base: str | None, **settings: Any) -> ModelSource:
    """The source that `checkpoint`, or a shipped model of that name, belongs to, as its keys tell."""
    if str(checkpoint) in SHIPPED and base is None:
        return ModelSource(base=str(checkpoint), **settings).resolved()
    if (checkpoint / ADAPTER_CONFIG).is_file():
        return ModelSource(base=base or "", adapter=checkpoint, **settings)
    names = dict.fromkeys(name for row in ROWS for name in row.files)
    stored = open_weights(checkpoint, tuple(names), "a checkpoint or a Hugging Face model")
    found = FAMILIES.get(settings.get("family") or "") or recognise(stored.headers)
    if found is None or not found.option:
        if base is not None:
            raise CheckpointError(f"{checkpoint}: it is no checkpoint that is put on a base; leave out --model {base}")
        return ModelSource(base=checkpoint, **settings)
    return ModelSource(base=base or "", **{found.option: checkpoint}, **settings)


def look(source: ModelSource) -> Contents:
    """What the checkpoint of `source` holds; its base need not be there."""
    if source.adapter:
        config, stored = open_adapter(Path(source.adapter))
        ignored = {name: each for name, each in stored.headers.items() if name.startswith(source.ignore_keys)}
        return Contents(
            title="a PEFT adapter",
            option="--adapter",
            architectures=(),
            has_base=False,
            rank=config.r,
            alpha=float(config.lora_alpha),
            alpha_is_stored=True,
            rows=0,
            left_out=summary(ignored, source.ignore_keys),
            n_latents=0,
        )
    folder = Path(source.base)
    stored = open_checkpoint(source, folder)
    family = family_of(source, folder, stored)
    parts = sort(stored.headers, family, source.ignore_keys, stored.path)
    rows = [row for row in ARCHITECTURES.values() if row.embedding in parts.base]
    return Contents(
        title=family.title,
        option=f"--{family.option or 'model'}",
        architectures=tuple(row.cls.__name__ for row in rows),
        has_base=parts.has_base,
        rank=parts.rank,
        alpha=family.lora_alpha,
        alpha_is_stored=False,
        rows=len(parts.base[rows[0].embedding]) if rows else 0,
        left_out=summary(parts.left_out, (*family.left_out, *source.ignore_keys)),
        n_latents=family.n_latents,
    )


def try_load(source: ModelSource, dtype: torch.dtype) -> Trial:
    """Load headers in the place of weights. Raises a `CheckpointError` for all that a load would refuse for them."""
    found = outline(source)
    base = None if found.base is None else replace(found.base, on_trial=True)
    hf, head, _ = make_merged(replace(found, stored=replace(found.stored, on_trial=True), base=base), dtype)
    weights = [*hf.parameters(), *(head.parameters() if head is not None else ())]
    embedding = hf.get_input_embeddings()
    scaled = sum(each.nbytes for each in embedding.parameters()) if hasattr(embedding, "embed_scale") else 0
    files = [each for each in (found.stored, found.base) if each is not None]
    return Trial(
        architecture=type(hf).__name__,
        special=found.special,
        n_tokens=len(found.tokenizer),
        weights=sum(each.nbytes for each in weights) + scaled,
        passing=sum(_passing(each, dtype) for each in files),
        doubt=found.doubt,
    )


def _passing(stored: Stored, dtype: torch.dtype) -> int:
    """Bytes of a LoRA, and of the largest tensor that is cast or to which a product is added."""
    lora = [each for name, each in stored.headers.items() if ".lora_" in name]
    cast = [each for each in stored.headers.values() if each.dtype != dtype]
    return sum(each.numel() for each in lora) * dtype.itemsize + max((each.nbytes for each in cast), default=0)
