"""Running a batch written at chosen hook points and columns: one function without feedback, one with.

Both go through transformer-lens' own blocks and hooks, segment by segment (`segment`), give the logits at the answer
positions, and read hook points where asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformer_lens import HookedTransformer
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache
from transformer_lens.utilities.activation_functions import apply_softcap

from mechpatch.axes import LatentHead, Logits, SiteVectors
from mechpatch.errors import ThoughtError
from mechpatch.patching.batch import Batch
from mechpatch.patching.hooks import rows
from mechpatch.patching.say import Said
from mechpatch.patching.segment import RowRead, RowWrite, segment
from mechpatch.points import point_of
from mechpatch.reprs import short_repr


@dataclass(frozen=True, slots=True, eq=False)
class Write:
    """Write `source` at a hook point of block `layer`, at one or several columns of every continuation.

    Attributes:
        hook: see `points`.
        head: the only head or neuron that is written, whose vector `source` is then (of a neuron its one number);
            all if None.
        added: whether `source` is added to what is there, instead of taking its place.
    """

    layer: int
    columns: Int[Tensor, "pair 2 site"]
    source: Float[Tensor, "pair 2 site *vector"]
    hook: str = "resid_post"
    head: int | None = None
    added: bool = False

    __repr__ = short_repr

    def __post_init__(self) -> None:
        point_of(self.hook, self.head)

    def rows(self, chosen: int | slice) -> RowWrite:
        """For the rows of one continuation, or for those of both, by pair."""
        columns, source = _by_row(self.columns, chosen), _by_row(self.source, chosen)
        return RowWrite(point_of(self.hook), self.layer, columns, source, self.head, self.added)


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Read a hook point of `layers` at `columns`, after any write there."""

    layers: tuple[int, ...]
    columns: Int[Tensor, "pair 2 site"]
    hook: str = "resid_post"

    __repr__ = short_repr

    def __post_init__(self) -> None:
        point_of(self.hook)

    def rows(self, chosen: int | slice) -> RowRead:
        """As `Write.rows`."""
        return RowRead(point_of(self.hook), self.layers, _by_row(self.columns, chosen))


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What a run gave.

    Attributes:
        logits: at the answer positions of both continuations, see `Batch.reads`.
        vectors: by hook point, what was asked for with `Read`.
        said: what the run says if it goes on by itself; None where it was not asked.
    """

    logits: Logits
    vectors: Mapping[str, SiteVectors] = field(default_factory=dict)
    said: Said | None = None

    __repr__ = short_repr

    @property
    def resid(self) -> Float[Tensor, "pair 2 layer site d_model"]:
        """`resid_post`."""
        return self.vectors["resid_post"]


def rollout(
    model: HookedTransformer,
    head: LatentHead | None,
    batch: Batch,
    writes: Sequence[Write] = (),
    read: Read | Sequence[Read] | None = None,
) -> Outcome:
    """Run a batch as its layouts ask: with fed-back thoughts where it has latents, in one forward pass otherwise.

    Gradients are kept where a source that is written requires them, and nowhere else.

    Args:
        read: one for each hook point, at most.

    Raises:
        ThoughtError: with its padding the batch has more columns than the model has positions; or a fed-back thought
            is to be written or read where there is none.
        ValueError: a write or read cannot be done as asked; it would otherwise be passed over in silence.
    """
    if batch.width > model.cfg.n_ctx:  # transformer-lens would make new rotary tables, without the model's scaling
        raise ThoughtError(
            f"the batch is padded to {batch.width} tokens, and the model runs at most {model.cfg.n_ctx}: put fewer "
            "questions into it, of more equal length"
        )
    reads = [] if read is None else [read] if isinstance(read, Read) else read
    for each in (*writes, *reads):
        _check_columns(batch, each.columns)
        if not point_of(each.hook).hooks:
            _check_thoughts(batch, each)
    if batch.n_latents and head is None:
        raise ThoughtError("latent thoughts need a model with a latent head; load a CODI checkpoint")
    with torch.set_grad_enabled(any(each.source.requires_grad for each in writes)):
        if head is None or not batch.n_latents:
            return rollout_static(model, batch, writes, reads)
        return rollout_latent(model, head, batch, writes, reads)


def rollout_static(
    model: HookedTransformer, batch: Batch, writes: Sequence[Write] = (), reads: Sequence[Read] = ()
) -> Outcome:
    """One forward pass over question, thoughts and answer; each continuation is a row of its own."""
    tokens = torch.cat([_twice(batch.prompt), rearrange(batch.tails, "pair two tail -> (pair two) tail")], dim=1)
    given, asked = _of_rows(writes, slice(None)), _of_rows(reads, slice(None))
    hidden, found = segment(model, model.embed(tokens), _twice(batch.real), None, 0, given, asked)
    return _outcome(model, batch, hidden[:, batch.tail_start :], [found], reads)


def rollout_latent(
    model: HookedTransformer,
    head: LatentHead,
    batch: Batch,
    writes: Sequence[Write] = (),
    reads: Sequence[Read] = (),
) -> Outcome:
    """Question and bot, then the thoughts one by one, then both continuations.

    A thought's input is `head` of the normed hidden state in the column before it, so a write at one thought changes
    every later one. Up to the last thought both continuations are one row; their writes there are the same.
    """
    cache = TransformerLensKeyValueCache.init_cache(model.cfg, batch.prompt.device, batch.size)
    given, asked = _of_rows(writes, 0), _of_rows(reads, 0)
    hidden, found = segment(model, model.embed(batch.prompt), batch.real, cache, 0, given, asked)
    parts = [found]
    for thought in range(batch.n_latents):
        latent = head(model.ln_final(hidden[:, -1:])[:, 0])
        start = batch.prompt.shape[1] + thought
        hidden, found = segment(model, latent[:, None], batch.real, cache, start, given, asked, fed=True)
        parts.append(found)
    for entry in cache.entries:
        entry.past_keys, entry.past_values = _twice(entry.past_keys), _twice(entry.past_values)
    tokens = rearrange(batch.tails, "pair two tail -> (pair two) tail")
    given, asked = _of_rows(writes, slice(None)), _of_rows(reads, slice(None))
    hidden, found = segment(model, model.embed(tokens), _twice(batch.real), cache, batch.tail_start, given, asked)
    return _outcome(model, batch, hidden, [*([*map(_twice, each)] for each in parts), found], reads)


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
    number = _segment_of(batch, columns)
    if bool((number != number[:1, :1]).any()):
        raise ValueError("`columns`: a site that is in the prompt, a thought or the tail must be there in every row")


def _segment_of(batch: Batch, columns: Int[Tensor, "pair 2 site"]) -> Int[Tensor, "pair 2 site"]:
    """Number of the segment in which a column is run."""
    number = (columns - batch.prompt.shape[1] + 1).clamp(0, batch.n_latents + 1)
    return number if batch.n_latents else torch.zeros_like(number)


def _check_thoughts(batch: Batch, each: Write | Read) -> None:
    """What is fed back is written nowhere else."""
    outside = (each.columns < batch.prompt.shape[1]) | (each.columns >= batch.tail_start)
    if batch.n_latents == 0 or (isinstance(each, Write) and bool(outside.any())):
        raise ThoughtError(f"hook point {each.hook} is found at fed-back thoughts alone, and here is none")


def _by_row(tensor: Tensor, chosen: int | slice) -> Tensor:
    """[pair, 2, ...] by row: those of one continuation, or of both, pair by pair."""
    return tensor[:, chosen].flatten(0, 1) if isinstance(chosen, slice) else tensor[:, chosen]


def _of_rows(each: Sequence[Write] | Sequence[Read], chosen: int | slice) -> list[Any]:
    return [one.rows(chosen) for one in each]


def _outcome(
    model: HookedTransformer,
    batch: Batch,
    hidden: Float[Tensor, "row tail d_model"],
    found: Sequence[Sequence[Tensor]],
    reads: Sequence[Read],
) -> Outcome:
    """Unembed the answer positions only, and put what the segments gave of each read, [row, site, …], together."""
    at = batch.reads.flatten(0, 1) - batch.tail_start
    picked = model.ln_final(hidden[rows(at), at])
    logits = unembed(model, picked.flatten(0, 1)).unflatten(0, (batch.size, 2, -1))
    vectors = {}
    for number, read in enumerate(reads):
        place = _segment_of(batch, read.columns)[0, 0].argsort(stable=True).argsort()
        by_segment = torch.cat([each[number] for each in found], dim=1)
        vectors[read.hook] = by_segment[:, place].unflatten(0, (batch.size, 2)).transpose(2, 3)
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
