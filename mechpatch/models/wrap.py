"""A `HookedTransformer` that was made elsewhere, as a model that can be patched; what cannot be honoured is refused."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformer_lens import HookedTransformer
from transformers import PreTrainedTokenizerFast

from mechpatch.errors import CheckpointError
from mechpatch.families import FAMILIES, NAMES, PLAIN, Family
from mechpatch.models.architectures import ROWS
from mechpatch.models.heads import LatentHead, SoftHead
from mechpatch.models.memory import standing_hooks, weight_digests
from mechpatch.models.thought_model import ThoughtModel
from mechpatch.models.tokens import assign_ids, identity
from mechpatch.names import not_known
from mechpatch.patching.engine.decoder import ACTIVATIONS
from mechpatch.source import SOFT_TEMPERATURE, SOFT_TOP_K
from mechpatch.storage.keys import digest

EVERY_BIAS = ("Q", "K", "V", "O", "in", "out")


def wrap(
    hooked: HookedTransformer,
    tokenizer: PreTrainedTokenizerFast,
    family: str | None = None,
    *,
    head: nn.Module | None = None,
    n_latents: int | None = None,
    special_ids: Sequence[int] | None = None,
) -> ThoughtModel:
    """Take a `HookedTransformer` as it is; nothing is copied, and its weights must stay as they are.

    Args:
        hooked: on its device, in its dtype, with unprocessed weights (`from_pretrained_no_processing`).
        tokenizer: a fast one.
        family: what its thoughts are: `codi`, `coconut`, `soft` …; None where none is fed back (text, placeholder).
        head: turns a normed hidden state [pair, d_model] into the next thought; for families that have one.
        n_latents: latent thoughts; by default those of the family.
        special_ids: ids of the family's special tokens, in its order; by default the tokenizer knows their names.

    Raises:
        CheckpointError: the weights are processed, hooks stand on it, or it has a piece that cannot be patched; every
            reason is named.
    """
    if problems := [*_problems(hooked)]:
        raise CheckpointError("this HookedTransformer cannot be patched exactly: " + "; ".join(problems))
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise CheckpointError(
            f"the tokenizer is a {type(tokenizer).__name__}; a fast one is needed to locate answers by character"
        )
    if family is not None and family not in FAMILIES:
        raise CheckpointError(not_known("family", [family], [name for name in NAMES if name in FAMILIES]))
    chosen = PLAIN if family is None else FAMILIES[family]
    chosen = replace(chosen, n_latents=chosen.n_latents if n_latents is None else n_latents)
    if not chosen.n_latents and chosen.fed != "nothing":
        raise CheckpointError(f"family {family!r}: say how many thoughts with n_latents")
    if "biases" not in vars(hooked.cfg):
        row = next((row for row in ROWS if row.cls.__name__ == hooked.cfg.original_architecture), None)
        vars(hooked.cfg)["biases"] = EVERY_BIAS if row is None else row.biases
    special = _special(chosen, tokenizer, special_ids, hooked)
    made = _head(chosen, hooked, head)
    hooked.eval().requires_grad_(False)
    weights = weight_digests(hooked, made)
    facts = [special, chosen.n_latents, chosen.question, chosen.bos, chosen.fed]
    numbers = {name: str(value) for name, value in sorted(vars(hooked.cfg).items()) if name not in ("device", "seed")}
    roles: dict[str, Any] = {role: special.get(role) for role in ("pad", "bot", "eot", "latent")}
    return ThoughtModel(
        hooked=hooked,
        tokenizer=tokenizer,
        head=made,
        n_latents=chosen.n_latents,
        **roles,
        family=chosen,
        fingerprint=digest([dict(weights), numbers, identity(tokenizer), facts]),
        parity=math.nan,
        weights=weights,
        about={
            "base": f"HookedTransformer {hooked.cfg.model_name}",
            "family": chosen.name,
            "title": chosen.title,
            "dtype": str(hooked.cfg.dtype).removeprefix("torch."),
            "device": str(hooked.unembed.W_U.device),
            "n_latents": chosen.n_latents,
        },
    )


def _problems(hooked: HookedTransformer) -> Iterator[str]:
    """Why a model cannot be patched exactly."""
    cfg = hooked.cfg
    if cfg.normalization_type in ("LNPre", "RMSPre"):
        yield (
            f"its norms are folded into other weights (normalization_type {cfg.normalization_type}); load it with "
            "from_pretrained_no_processing"
        )
    elif cfg.normalization_type not in ("LN", "RMS"):
        yield f"normalization_type is {cfg.normalization_type}, expected LN or RMS"
    if cfg.normalization_type == "RMS" and not cfg.final_rms:
        yield "its blocks have RMS norms and its final norm is none"
    if left := standing_hooks(hooked):
        yield f"hooks were left on {', '.join(left[:3])}; remove them (reset_hooks)"
    if cfg.attn_only or cfg.parallel_attn_mlp:
        yield "it has no MLP" if cfg.attn_only else "attention and MLP stand side by side (parallel_attn_mlp)"
    if cfg.act_fn not in ACTIVATIONS:
        yield f"activation {cfg.act_fn}, expected one of {', '.join(ACTIVATIONS)}"
    if cfg.num_experts:
        yield f"{cfg.num_experts} experts; expected one MLP a block"
    kind = cfg.positional_embedding_type
    if kind not in ("standard", "rotary"):
        yield f"positional_embedding_type {kind}, expected standard or rotary"
    if kind == "rotary" and (cfg.rotary_dim != cfg.d_head or cfg.rotary_adjacent_pairs):
        yield f"rotary embedding of {cfg.rotary_dim} of {cfg.d_head} dimensions or of neighbours, expected whole halves"
    if cfg.post_embedding_ln:
        yield "a norm follows its embedding"
    if cfg.attention_dir != "causal":
        yield f"attention is {cfg.attention_dir}, expected causal"
    if bool(hooked.unembed.b_U.any()):
        yield "its unembedding has a bias, as processed weights do"


def _special(
    family: Family, tokenizer: PreTrainedTokenizerFast, given: Sequence[int] | None, hooked: HookedTransformer
) -> dict[str, int]:
    """Ids of the family's special tokens, by role: rows of the embedding as it is."""
    known = family if family.ids == "given" else replace(family, ids="names")  # no rows are added for them here
    rows = hooked.cfg.d_vocab
    special = assign_ids(known, tokenizer, rows, given, f"HookedTransformer {hooked.cfg.model_name}")
    if outside := [each for each in special.values() if each >= rows]:
        raise CheckpointError(f"special_ids {outside}: no such token; the embedding has rows 0 to {rows - 1}")
    return special


def _head(family: Family, hooked: HookedTransformer, head: nn.Module | None) -> nn.Module | None:
    """What makes the next thought."""
    if family.fed == "mixture":
        return SoftHead(hooked, SOFT_TOP_K, SOFT_TEMPERATURE)
    if family.fed != "head":
        if head is not None:
            raise CheckpointError(f"{family.title} feeds no hidden state back, so head= has no use; name a family")
        return None
    if head is None:
        if family.head:
            raise CheckpointError(f"{family.title} needs the head that makes its thoughts: give head=")
        return LatentHead({})
    like: Any = hooked.unembed.W_U
    with torch.no_grad():
        found = head(torch.zeros(1, hooked.cfg.d_model, dtype=like.dtype, device=like.device))
    if found.shape != (1, hooked.cfg.d_model):
        raise CheckpointError(f"head= gives {[*found.shape]} of [1, {hooked.cfg.d_model}], expected the same shape")
    return head
