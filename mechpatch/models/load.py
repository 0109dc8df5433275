"""From files to a model that can be patched: base, adapter or checkpoint, merged, hooked, checked and named."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from mechpatch.errors import CheckpointError
from mechpatch.families import PAUSE
from mechpatch.models.architectures import architecture_of
from mechpatch.models.copies import make_mapped
from mechpatch.models.files import refusing
from mechpatch.models.heads import SoftHead
from mechpatch.models.hooked import parity, to_hooked
from mechpatch.models.memory import weight_digests
from mechpatch.models.merged import make_merged
from mechpatch.models.outline import outline
from mechpatch.models.thought_model import ThoughtModel
from mechpatch.models.tokens import identity
from mechpatch.models.tokens import load_tokenizer as load_tokenizer
from mechpatch.names import DTYPE_NAMES
from mechpatch.source import ModelSource
from mechpatch.storage.keys import digest

log = logging.getLogger(__name__)

DTYPES = {name: getattr(torch, name) for name in DTYPE_NAMES}


def load_model(
    base: str | Path,
    adapter: str | Path | None = None,
    codi: str | Path | None = None,
    *,
    coconut: str | Path | None = None,
    family: str | None = None,
    lora_alpha: float | None = None,
    lora_targets: Sequence[str] | None = None,
    n_latents: int | None = None,
    special_ids: Sequence[int] | None = None,
    bos: bool | None = None,
    question_format: str | None = None,
    ignore_keys: Sequence[str] = (),
    tie: str | None = None,
    soft_top_k: int | None = None,
    soft_temperature: float | None = None,
    dtype: str = "float32",
    device: str = "auto",
    n_ctx: int = 2048,
) -> ThoughtModel:
    """Load a model, merge its LoRA, and wrap it as a `HookedTransformer` that shares the weights.

    Args:
        base: directory of a Hugging Face model, a hub name, or the name of a shipped model such as "demo".
        adapter, codi, coconut: what was trained on top of it; at most one of them.
        family, lora_alpha, n_latents, bos, tie, …: see `mechpatch.source.ModelSource`, which has them all; None for
            what the files and the family say.
        dtype: float32 (reported numbers), float64 or bfloat16.
        device: auto, cpu, cuda, cuda:1, mps.
        n_ctx: longest sequence in tokens, cut to what the model allows.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is left over, missing or mis-shaped, or parity fails.
    """
    source = ModelSource(
        base=base,
        adapter=adapter,
        codi=codi,
        coconut=coconut,
        family=family,
        lora_alpha=lora_alpha,
        lora_targets=tuple(lora_targets) if lora_targets else None,
        n_latents=n_latents,
        special_ids=None if special_ids is None else tuple(special_ids),
        bos=bos,
        question_format=question_format,
        ignore_keys=tuple(ignore_keys),
        tie=tie,
        soft_top_k=soft_top_k,
        soft_temperature=soft_temperature,
    )
    return load_source(source, dtype=dtype, device=device, n_ctx=n_ctx)


def load_source(
    source: ModelSource, *, dtype: str = "float32", device: str = "auto", n_ctx: int = 2048, copy: Path | None = None
) -> ThoughtModel:
    """As `load_model`.

    Args:
        copy: file that keeps the merged weights for all processes that load this model, see `copies`; None for none.
    """
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype {dtype!r} is not known; expected one of {', '.join(DTYPES)}")
    torch.set_float32_matmul_precision("highest")  # TF32 off
    kind, place = DTYPES[dtype], _device(device, DTYPES[dtype])
    if n_ctx < 1:
        raise CheckpointError(f"n_ctx is {n_ctx}, expected at least 1 token")
    found = outline(source)
    family, special = found.family, found.special
    n_ctx = min(n_ctx, found.config.max_position_embeddings)
    hf, head, settings = make_merged(found, kind) if copy is None else make_mapped(found, kind, copy)
    if "lora_rank" in settings:
        log.info("LoRA merged: rank %d, alpha %g", settings["lora_rank"], settings["lora_alpha"])
    nn.Module.to(hf, place)
    hooked = to_hooked(hf, n_ctx)
    try:
        difference = parity(hooked, hf, probe_tokens(hf.config.vocab_size, min(24, n_ctx), place))
    except CheckpointError as error:
        named = [str(each) for each in (source.base, source.adapter, source.checkpoint) if each]
        raise CheckpointError(f"{' with '.join(named)}: {error}") from error
    log.info("parity with Hugging Face: max |Δlogit| %.1e", difference)
    mixture = [found.source.soft_top_k, found.source.soft_temperature]
    if family.fed == "mixture":
        head = SoftHead(hooked, *mixture)
    head = None if head is None else nn.Module.to(head, place)
    weights = weight_digests(hooked, head)
    facts = [[*special.values()], family.n_latents, family.question, family.bos, family.fed, mixture]
    about = {
        **found.source.as_json(),
        "family": PAUSE if found.source.family == PAUSE else family.name,
        "title": family.title,
        "dtype": dtype,
        "device": str(place),
        "n_latents": family.n_latents,
        **settings,
    }
    return ThoughtModel(
        hooked=hooked,
        tokenizer=found.tokenizer,
        head=head,
        n_latents=family.n_latents,
        **{role: special.get(role) for role in ("pad", "bot", "eot", "latent")},
        family=family,
        fingerprint=_fingerprint(weights, hf.config, found.tokenizer, facts),
        parity=difference,
        weights=weights,
        about=about,
        doubt=found.doubt,
    )


def probe_tokens(vocab_size: int, length: int, device: torch.device) -> torch.Tensor:
    """Two rows of seeded token ids, [2, length]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (2, length), generator=generator).to(device)


def _fingerprint(
    weights: Mapping[str, str], config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast, facts: list[Any]
) -> str:
    """Fingerprint of everything that decides the numbers: weights, head, rope and eps, tokens, the family's facts."""
    numbers = {name: getattr(config, name) for name in architecture_of(config).numeric}
    return digest([dict(weights), numbers, identity(tokenizer), facts])


def _device(device: str, dtype: torch.dtype) -> torch.device:
    """The device asked for, which must exist and know `dtype`."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    with refusing(f"device {device!r}", f"cannot be used with {dtype}"):
        probe = torch.zeros(1, device=device, dtype=dtype)
        probe.item()  # "meta" holds nothing
        return probe.device
