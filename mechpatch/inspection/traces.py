"""Looking inside one run of one question: attention, residual stream, and what each layer would say.

The run is an ordinary rollout; hooks beside it keep what passes. Latent thoughts come one by one with a cache of keys
and values, so their rows of attention arrive one by one too, and are put together here.
Axes: `query`, `key`, `token` count positions of one question with one of its answers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer
from transformer_lens.utilities.activation_functions import apply_softcap

from mechpatch.axes import LatentHead, Logits
from mechpatch.patching import Read, Write, collate, rollout
from mechpatch.patching.rollout import unembed
from mechpatch.reprs import short_repr
from mechpatch.sequences import common_ends
from mechpatch.thoughts import Layout

ATTENTION_BYTES = 2**27  # of one run as it is stored; past it, queries of the question are left out


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """One run with its own answer, looked at.

    Attributes:
        attention: rows sum to 1; keys after the query have 0.
        first_query: position of the first row of `attention`; 0 unless the question is too long for all of them.
        resid: `resid_post`, after any write.
        logits: at the answer positions of both continuations, see `Batch.reads`.
    """

    attention: Float[Tensor, "layer head query key"]
    first_query: int
    resid: Float[Tensor, "layer token d_model"]
    logits: Logits

    __repr__ = short_repr


@torch.no_grad()
def trace(
    model: HookedTransformer,
    head: LatentHead | None,
    layout: Layout,
    side: int,
    writes: Sequence[Write] = (),
    attention_bytes: int = ATTENTION_BYTES,
) -> Trace:
    """Run one question by itself and keep what passes.

    Args:
        side: the continuation that is looked at, 0 with the clean and 1 with the corrupted answer.
        writes: patches, for a batch of this question alone.
    """
    batch = collate([layout], model.W_E.device)
    length = batch.tail_start + len(layout.tails[side].tokens)
    heads, layers = model.cfg.n_heads, model.cfg.n_layers
    whole = layers * heads * length**2 * torch.float16.itemsize <= attention_bytes
    first = 0 if whole else min(layout.positions(side))
    kind = torch.promote_types(model.cfg.dtype, torch.float32)
    attention = torch.zeros(layers, heads, length - first, length, dtype=kind)
    seen = [0] * layers

    def keep_in(layer: int) -> Callable[..., None]:
        def keep(pattern: Tensor, hook: object) -> None:
            # Before the continuations part there is one row for both.
            rows = pattern[side if len(pattern) > 1 else 0]
            start = seen[layer]
            seen[layer] = stop = start + rows.shape[1]
            low, high = max(start, first), min(stop, length)
            keys = min(rows.shape[2], length)
            attention[layer, :, low - first : high - first, :keys] = rows[:, low - start : high - start, :keys]

        return keep

    hooks: list[tuple[str | Callable[..., Any], Callable[..., Any]]] = [
        (f"blocks.{layer}.attn.hook_pattern", keep_in(layer)) for layer in range(layers)
    ]
    columns = torch.arange(length, device=batch.prompt.device).expand(1, 2, -1)
    with model.hooks(fwd_hooks=hooks):
        outcome = rollout(model, head, batch, writes, Read(tuple(range(layers)), columns))
    return Trace(attention=attention, first_query=first, resid=outcome.resid[0, side], logits=outcome.logits)


@torch.no_grad()
def lens(model: HookedTransformer, resid: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place vocab"]:
    """The logit lens: log-probabilities that final norm and unembedding read out of residual streams."""
    logits = unembed(model, model.ln_final(resid.flatten(0, -2)[None])[0])
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1).unflatten(0, resid.shape[:-1])


@torch.no_grad()
def leaning(
    model: HookedTransformer, resid: Float[Tensor, "layer token d_model"], ids: tuple[int, int]
) -> Float[Tensor, "layer token"]:
    """Logit of the first token of `ids` minus that of the second, as the lens reads them."""
    logits = model.ln_final(resid) @ model.unembed.W_U[:, list(ids)] + model.unembed.b_U[list(ids)]
    clean, corrupted = apply_softcap(logits, model.cfg.output_logits_soft_cap).unbind(-1)
    return clean - corrupted


def aligned(clean: Layout, corrupted: Layout) -> Int[Tensor, "match 2"]:
    """Positions of the clean and the corrupted question that stand for each other, up to the last before the answer.

    Sites match by name. So do all positions where the questions have equal length; otherwise those from the start and
    from the end on that hold the same tokens.
    """
    one, two = clean.prompt, corrupted.prompt
    start, end = common_ends(one, two) if len(one) != len(two) else (len(one), 0)
    after = range(-end, clean.n_latents + min(clean.tails[0].answer, corrupted.tails[1].answer))
    found = dict([(i, i) for i in range(start)] + [(len(one) + i, len(two) + i) for i in after])
    found |= dict(zip(clean.positions(0), corrupted.positions(1), strict=True))
    return torch.tensor(sorted(found.items()))
