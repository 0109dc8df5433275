"""Running a batch with the residual stream written at chosen columns: one function without feedback, one with.

Both go through transformer-lens' own blocks and hooks, give the logits at the answer positions, and read the residual
stream where asked. transformer-lens' `start_at_layer` form is used for every segment, tokens too, with the full
attention mask: mixing forms breaks its cache, and left padding without the mask is silently wrong. That form skips all
that stands before the blocks, so learned positions are added here, to tokens and thoughts alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformer_lens import HookedTransformer
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache
from transformer_lens.utilities.activation_functions import apply_softcap
from transformer_lens.utilities.components_utils import get_act_name

from mechpatch.axes import LatentHead, Logits
from mechpatch.errors import ThoughtError
from mechpatch.patching.batch import Batch
from mechpatch.patching.hooks import patch_positions, rows
from mechpatch.reprs import short_repr


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """Write `source` into `resid_post` of block `layer`, at one or several columns of every continuation."""

    layer: int
    columns: Int[Tensor, "pair 2 site"]
    source: Float[Tensor, "pair 2 site d_model"]

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Read `resid_post` of `layers` at `columns`, after any write there."""

    layers: tuple[int, ...]
    columns: Int[Tensor, "pair 2 site"]

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run gave.

    Attributes:
        logits: at the answer positions of both continuations, see `Batch.reads`.
        resid: what was asked for with `Read`; no layers otherwise.
    """

    logits: Logits
    resid: Float[Tensor, "pair 2 layer site d_model"]

    __repr__ = short_repr


def rollout(
    model: HookedTransformer,
    head: LatentHead | None,
    batch: Batch,
    writes: Sequence[Write] = (),
    read: Read | None = None,
) -> Outcome:
    """Run a batch as its layouts ask: with fed-back thoughts where it has latents, in one forward pass otherwise.

    Raises:
        ThoughtError: with its padding the batch has more columns than the model has positions.
        ValueError: a write or read cannot be done as asked; it would otherwise be passed over in silence.
    """
    if batch.width > model.cfg.n_ctx:  # transformer-lens would make new rotary tables, without the model's scaling
        raise ThoughtError(
            f"the batch is padded to {batch.width} tokens, and the model runs at most {model.cfg.n_ctx}: put fewer "
            "questions into it, of more equal length"
        )
    for columns in [write.columns for write in writes] + ([read.columns] if read else []):
        _check_columns(batch, columns)
    if batch.n_latents == 0:
        return rollout_static(model, batch, writes, read)
    if head is None:
        raise ThoughtError("latent thoughts need a model with a latent head; load a CODI checkpoint")
    return rollout_latent(model, head, batch, writes, read)


@torch.no_grad()
def rollout_static(
    model: HookedTransformer, batch: Batch, writes: Sequence[Write] = (), read: Read | None = None
) -> Outcome:
    """One forward pass over question, thoughts and answer; each continuation is a row of its own."""
    tokens = torch.cat([_twice(batch.prompt), rearrange(batch.tails, "pair two tail -> (pair two) tail")], dim=1)
    flat = [_Write(w.layer, w.columns.flatten(0, 1), w.source.flatten(0, 1)) for w in writes]
    layers = read.layers if read else ()
    hidden, resid = segment(model, model.embed(tokens), _twice(batch.real), None, 0, flat, layers)
    return _outcome(model, batch, hidden[:, batch.tail_start :], resid, read)


@torch.no_grad()
def rollout_latent(
    model: HookedTransformer, head: LatentHead, batch: Batch, writes: Sequence[Write] = (), read: Read | None = None
) -> Outcome:
    """Question and bot, then the thoughts one by one, then both continuations.

    A thought's input is `head` of the normed hidden state in the column before it, so a write at one thought changes
    every later one. Up to the last thought both continuations are one row; their writes there are the same.
    """
    cache = TransformerLensKeyValueCache.init_cache(model.cfg, batch.prompt.device, batch.size)
    shared = [_Write(w.layer, w.columns[:, 0], w.source[:, 0]) for w in writes]
    layers = read.layers if read else ()
    hidden, resid = segment(model, model.embed(batch.prompt), batch.real, cache, 0, shared, layers)
    parts = [resid]
    for thought in range(batch.n_latents):
        latent = head(model.ln_final(hidden[:, -1:])[:, 0])
        start = batch.prompt.shape[1] + thought
        hidden, resid = segment(model, latent[:, None], batch.real, cache, start, shared, layers)
        parts.append(resid)
    for entry in cache.entries:
        entry.past_keys, entry.past_values = _twice(entry.past_keys), _twice(entry.past_values)
    tokens = rearrange(batch.tails, "pair two tail -> (pair two) tail")
    flat = [_Write(w.layer, w.columns.flatten(0, 1), w.source.flatten(0, 1)) for w in writes]
    hidden, resid = segment(model, model.embed(tokens), _twice(batch.real), cache, batch.tail_start, flat, layers)
    return _outcome(model, batch, hidden, torch.cat([*map(_twice, parts), resid], dim=1), read)


@torch.no_grad()
def fed_back(model: HookedTransformer, head: LatentHead, batch: Batch) -> Float[Tensor, "pair thought d_model"]:
    """The thoughts of unpatched runs, as they are fed back, before learned positions are added."""
    before = batch.prompt.shape[1] - 1 + torch.arange(batch.n_latents, device=batch.prompt.device)
    read = Read((model.cfg.n_layers - 1,), before.expand(batch.size, 2, -1))
    made_from = rollout(model, head, batch, read=read).resid[:, 0, 0]
    return head(model.ln_final(made_from).flatten(0, 1)).unflatten(0, (batch.size, -1))


def _check_columns(batch: Batch, columns: Int[Tensor, "pair 2 site"]) -> None:
    """Columns lie in the batch; with latents, those of one site lie in the same segment of every row."""
    end = batch.width
    if bool(((columns < 0) | (columns >= end)).any()):
        raise ValueError(
            f"`columns` run from {int(columns.min())} to {int(columns.max())}, but the batch has columns 0 to {end - 1}"
        )
    segment = (columns - batch.prompt.shape[1] + 1).clamp(0, batch.n_latents + 1)
    if batch.n_latents and bool((segment != segment[:1, :1]).any()):
        raise ValueError("`columns`: a site that is in the prompt, a thought or the tail must be there in every row")


class _Write(NamedTuple):
    """A `Write` for the rows of one segment."""

    layer: int
    columns: Int[Tensor, "row site"]
    source: Float[Tensor, "row site d_model"]


def segment(
    model: HookedTransformer,
    embeds: Float[Tensor, "row position d_model"],
    real: Bool[Tensor, "row prompt"],
    cache: TransformerLensKeyValueCache | None,
    start: int,
    writes: Sequence[_Write],
    layers: Sequence[int],
) -> tuple[Float[Tensor, "row position d_model"], Float[Tensor, "row position layer d_model"]]:
    """Run all blocks on the columns from `start`: the last `resid_post`, and that of `layers`."""
    end = start + embeds.shape[1]
    mask = F.pad(real, (0, end - real.shape[1]), value=True)[:, :end]
    hooks = []
    for write in writes:
        inside = ((write.columns >= start) & (write.columns < end)).all(0)
        if inside.any():
            hook = patch_positions(write.columns[:, inside] - start, write.source[:, inside])
            hooks.append((get_act_name("resid_post", write.layer), hook))
    names = [get_act_name("resid_post", layer) for layer in layers]
    if model.cfg.positional_embedding_type == "standard":
        embeds = embeds + model.pos_embed(mask[:, start:].long(), start, mask)
    with model.hooks(fwd_hooks=hooks):
        hidden, found = model.run_with_cache(
            embeds,
            names_filter=lambda name: name in names,
            start_at_layer=0,
            stop_at_layer=model.cfg.n_layers,
            attention_mask=mask,
            past_kv_cache=cache,
        )
    assert isinstance(hidden, Tensor)  # `stop_at_layer` gives the residual stream, whatever the annotation says
    if not names:
        return hidden, hidden.new_empty(*hidden.shape[:2], 0, hidden.shape[2])
    return hidden, torch.stack([found[name] for name in names], dim=2)


def _outcome(
    model: HookedTransformer,
    batch: Batch,
    hidden: Float[Tensor, "row tail d_model"],
    resid: Float[Tensor, "row position layer d_model"],
    read: Read | None,
) -> Outcome:
    """Unembed the answer positions only, and pick the columns that were asked for."""
    reads = batch.reads.flatten(0, 1) - batch.tail_start
    picked = model.ln_final(hidden[rows(reads), reads])
    logits = unembed(model, picked.flatten(0, 1)).unflatten(0, (batch.size, 2, -1))
    columns = batch.columns[:, :, :0] if read is None else read.columns
    columns = columns.flatten(0, 1)
    vectors = rearrange(
        resid[rows(columns), columns], "(pair two) site layer d_model -> pair two layer site d_model", two=2
    )
    return Outcome(logits, vectors)


def unembed(model: HookedTransformer, normed: Float[Tensor, "row d_model"]) -> Float[Tensor, "row vocab"]:
    """Logits of what the final norm gives.

    2-D and with the weight as it lies in memory: transformer-lens' own form is up to 100 times slower in bf16.
    """
    logits = F.linear(normed, model.unembed.W_U.T, model.unembed.b_U)
    return apply_softcap(logits, model.cfg.output_logits_soft_cap)


def _twice(tensor: Tensor) -> Tensor:
    """One row for each continuation: [pair, ...] -> [(pair 2), ...]."""
    return tensor.repeat_interleave(2, dim=0)
