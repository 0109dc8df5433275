"""From files to a model that can be patched: base, adapter or checkpoint, merged, hooked, checked and named."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformer_lens import HookedTransformer
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from mechpatch.axes import LatentHead as Head
from mechpatch.errors import CheckpointError
from mechpatch.families import PAUSE, PLAIN, WEIGHTS, Family
from mechpatch.models.adapter import embedding_rows, merge_lora, read_peft
from mechpatch.models.architectures import architecture_of
from mechpatch.models.base import build
from mechpatch.models.checkpoint import lora_config, require_alias, sort
from mechpatch.models.files import open_weights, refusing
from mechpatch.models.heads import LatentHead, SoftHead
from mechpatch.models.hooked import parity, to_hooked
from mechpatch.models.outline import Outline, outline
from mechpatch.models.tokens import load_tokenizer as load_tokenizer
from mechpatch.names import DTYPE_NAMES
from mechpatch.source import Source
from mechpatch.storage.keys import digest
from mechpatch.storage.tensor_keys import tensor_digest

log = logging.getLogger(__name__)

DTYPES = {name: getattr(torch, name) for name in DTYPE_NAMES}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ThoughtModel:
    """A merged model, ready to be run and patched.

    Attributes:
        hooked: shares its weights with the Hugging Face model that it was made from.
        tokenizer: tokens added in memory included.
        head: turns a normed hidden state into the next latent thought; None where none is fed back.
        n_latents: latent thoughts the model was trained with; 0 where nobody knows.
        pad, bot, eot, latent: ids of special tokens; None where the family has none.
        family: with what the user overrode.
        fingerprint: of merged weights, head, tokenizer and the family's facts: equal content, equal name.
        parity: max |Δlogit| against Hugging Face on probe tokens.
        about: where it came from and with which settings, JSON-ready.
    """

    hooked: HookedTransformer
    tokenizer: PreTrainedTokenizerFast
    head: Head | None
    n_latents: int
    pad: int | None
    bot: int | None
    eot: int | None
    fingerprint: str
    parity: float
    latent: int | None = None
    family: Family = PLAIN
    about: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        thoughts = f"{self.n_latents} latent thoughts, " if self.n_latents else ""
        return (
            f"ThoughtModel({self.about.get('base')}, {self.n_layers} layers, {thoughts}{self.about.get('dtype')} on "
            f"{self.device}, fingerprint {self.fingerprint})"
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.hooked.unembed.W_U.device

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.hooked.cfg.n_layers

    @property
    def n_ctx(self) -> int:
        """Longest sequence that can be run, in tokens."""
        return self.hooked.cfg.n_ctx


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
        base: see `Source`, as all that is not named here.
        dtype: float32 (reported numbers), float64 or bfloat16.
        device: auto, cpu, cuda, cuda:1, mps.
        n_ctx: longest sequence in tokens, cut to what the model allows.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor is left over, missing or mis-shaped, or parity fails.
    """
    source = Source(
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


def load_source(source: Source, *, dtype: str = "float32", device: str = "auto", n_ctx: int = 2048) -> ThoughtModel:
    """As `load_model`."""
    if dtype not in DTYPES:
        raise CheckpointError(f"dtype {dtype!r} is not known; expected one of {', '.join(DTYPES)}")
    torch.set_float32_matmul_precision("highest")  # TF32 off
    kind, place = DTYPES[dtype], _device(device, DTYPES[dtype])
    if n_ctx < 1:
        raise CheckpointError(f"n_ctx is {n_ctx}, expected at least 1 token")
    found = outline(source)
    family, special = found.family, found.special
    n_ctx = min(n_ctx, found.config.max_position_embeddings)
    hf, head, settings = _merged(found, kind)
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
    facts = [[*special.values()], family.n_latents, family.question, family.bos, family.fed, mixture]
    about = {
        **found.source.as_json(),
        "family": PAUSE if source.family == PAUSE else family.name,
        "title": family.title,
        "dtype": dtype,
        "device": str(place),
        "n_latents": family.n_latents,
        **settings,
    }
    return ThoughtModel(
        hooked=hooked,
        tokenizer=found.tokenizer,
        head=None if head is None else nn.Module.to(head, place),
        n_latents=family.n_latents,
        **{role: special.get(role) for role in ("pad", "bot", "eot", "latent")},
        family=family,
        fingerprint=_fingerprint(hf, head, found.tokenizer, facts),
        parity=difference,
        about=about,
    )


def probe_tokens(vocab_size: int, length: int, device: torch.device) -> torch.Tensor:
    """Two rows of seeded token ids, [2, length]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocab_size, (2, length), generator=generator).to(device)


def _merged(found: Outline, dtype: torch.dtype) -> tuple[PreTrainedModel, LatentHead | None, dict[str, Any]]:
    """The Hugging Face model, its head if it has one, and settings of how it was made."""
    source, family = found.source, found.family
    if found.stored is None:
        hf, settings = _adapted(found, Path(str(source.adapter)), dtype)
        return hf, None, settings
    skip = {} if found.parts is None else found.parts.left_out
    parts = sort(found.stored.read(dtype, skip), family, source.ignore_keys, found.stored.path)
    require_alias(parts, architecture_of(found.config), found.stored.path)
    settings: dict[str, Any] = {"left_out": found.left_out} if found.left_out else {}
    if source.checkpoint and not parts.has_base:
        hf = _base(found, parts.base, dtype)
    else:
        hf = build(found.config, parts.base, found.stored.path, source.tie)
    if family.lora:
        assert family.lora_alpha is not None
        targets = source.lora_targets or architecture_of(found.config).targets
        hf = merge_lora(hf, lora_config(parts.rank, family.lora_alpha, targets), parts.lora, found.stored.path)
        settings |= {"lora_rank": parts.rank, "lora_alpha": family.lora_alpha, "lora_targets": [*targets]}
    return hf, LatentHead(parts.head, family.head) if family.fed == "head" else None, settings


def _base(found: Outline, rows: Mapping[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    """The base in its folder, with embedding `rows` instead of its own where there are any."""
    config, row, ignored = found.config, architecture_of(found.config), found.source.ignore_keys
    stored = open_weights(found.folder, WEIGHTS, "a Hugging Face model")
    skip = {*rows, row.embeddings[1]} if rows and config.tie_word_embeddings else {*rows}
    skip |= {name.removeprefix(f"{row.cls.base_model_prefix}.") for name in skip}  # as files without the head call them
    skip |= {name for name in stored.headers if name.startswith(ignored)}
    return build(config, {**stored.read(dtype, skip), **rows}, found.folder, found.source.tie)


def _adapted(found: Outline, adapter: Path, dtype: torch.dtype) -> tuple[PreTrainedModel, dict[str, Any]]:
    """The base with a PEFT adapter merged, and the adapter's settings."""
    lora, state, file = read_peft(adapter, dtype, found.source.ignore_keys)
    rows = embedding_rows(state)
    for tensor in rows.values():
        found.config.vocab_size = tensor.shape[0]
    hf = merge_lora(_base(found, rows, dtype), lora, state, file)
    return hf, {"lora_rank": lora.r, "lora_alpha": lora.lora_alpha}


def _fingerprint(
    hf: PreTrainedModel, head: nn.Module | None, tokenizer: PreTrainedTokenizerFast, facts: list[Any]
) -> str:
    """Of everything that decides the numbers: weights, head, rope and eps, tokens, the family's facts."""
    weights = dict(hf.named_parameters())
    if isinstance(head, LatentHead):
        weights |= {f"head.{name}": value for name, value in head.named_parameters()}
    config = {name: getattr(hf.config, name) for name in architecture_of(hf.config).numeric}
    tokens = [json.loads(tokenizer.backend_tokenizer.to_str()), tokenizer.bos_token_id, tokenizer.eos_token_id]
    return digest([tensor_digest(weights.items()), config, tokens, facts])


def _device(device: str, dtype: torch.dtype) -> torch.device:
    """The device asked for, which must exist and know `dtype`."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    with refusing(f"device {device!r}", f"cannot be used with {dtype}"):
        probe = torch.zeros(1, device=device, dtype=dtype)
        probe.item()  # "meta" holds nothing
        return probe.device
