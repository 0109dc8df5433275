"""Every patch of a batch in a few passes through the model: as exact as one run for each, many times faster.

    base = base_run(model, head, batch)  # the unpatched run, once for all experiments and donors
    for patch, outcome in sweep(base, donor, patches): ...

A patched run differs from the base run only above its layer and from its first site on (`waves` says exactly where), so
nothing else is computed: what lies below is read from the base run's residual stream, what lies before from its keys
and values. All patches go up the layers together, as one *wave* of rows that more and more runs join, and a block's
weights are read once for all of them. Without feedback one wave does it. With latent thoughts there is a wave for
each thought, because its input is the hidden state of the one before, and a last one for both continuations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, Logits, SiteVectors
from mechpatch.errors import SpecError, ThoughtError
from mechpatch.patching.batch import Batch
from mechpatch.patching.engine.block import Grid, Resid, run_block
from mechpatch.patching.engine.decoder import Decoder, read_decoder
from mechpatch.patching.engine.tree import Tree, grow
from mechpatch.patching.engine.waves import Wave, base_runs, patched_runs, repeated, wave_of
from mechpatch.patching.patch import Patch, RelayStep
from mechpatch.patching.rollout import Outcome
from mechpatch.reprs import short_repr

MEMORY = 2**30  # bytes for one chunk of patches, beside model and base run

Cache = Float[Tensor, "layer 2 pair kv_head run slot d_head"]  # 0 keys, rotated; 1 values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BaseRun:
    """An unpatched run, and all that patched runs share of it.

    Attributes:
        cache: keys and values of every slot.
        resid: `resid_post` of the slots that a patch can change; of the last block, where `Wave.useful` says so.
        logits: at the answer positions, see `Batch.reads`.
    """

    model: Decoder
    head: LatentHead | None
    tree: Tree
    cache: Cache
    resid: Float[Tensor, "layer pair late d_model"]
    logits: Logits

    __repr__ = short_repr

    @property
    def outcome(self) -> Outcome:
        """Logits, and `resid_post` of every layer at every site."""
        late = (self.tree.sites - self.tree.first).to(self.resid.device)
        vectors = self.resid[:, torch.arange(len(late), device=late.device)[:, None], late].transpose(0, 1)
        return Outcome(self.logits, vectors[:, None].expand(-1, 2, -1, -1, -1))


@torch.no_grad()
def base_run(model: HookedTransformer, head: LatentHead | None, batch: Batch) -> BaseRun:
    """Run a batch unpatched, once for all patches and donors.

    Args:
        model: from `to_hooked`; its weights are read where they lie.

    Raises:
        ThoughtError: there are latent thoughts and no head, or a site that follows the parting of the continuations.
    """
    base = empty_base(model, head, batch)
    tree, depth = base.tree, len(base.model.blocks)

    def record(wave: Wave, layer: int, h: Resid) -> None:
        if wave.stage.start >= tree.first:
            pair, _, _, slot = wave.grid
            base.resid[layer, pair, slot - tree.first] = h

    runs, (first, *later) = base_runs(tree), tree.stages
    device, window = base.resid.device, base.model.window
    waves = [wave_of(tree, runs, first, 0, depth, device, repeated(tree), window=window)]
    waves += [wave_of(tree, runs, stage, 0, depth, device, window=window) for stage in later]
    h = _climb(base, waves, base.cache[..., 0, :0, :], base.cache, record)
    _predict(base, runs.number, waves[-1], h, base.logits[None])
    return base


def empty_base(model: HookedTransformer, head: LatentHead | None, batch: Batch) -> BaseRun:
    """A base run that has yet to be computed; raises as `base_run` does."""
    if batch.n_latents and head is None:
        raise ThoughtError("latent thoughts need a model with a latent head; load a CODI checkpoint")
    decoder, tree = read_decoder(model), grow(batch)
    zeros, depth = decoder.embed.new_zeros, len(decoder.blocks)
    pairs, slots = tree.tokens.shape
    return BaseRun(
        model=decoder,
        head=head,
        tree=tree,
        cache=zeros(depth, 2, pairs, decoder.kv_heads, 1, slots, decoder.d_head),
        resid=zeros(depth, pairs, slots - tree.first, decoder.embed.shape[1]),
        logits=zeros(*tree.reads.shape, len(decoder.unembed.weight)),
    )


def sweep(
    base: BaseRun, donor: SiteVectors, patches: Sequence[Patch], memory: int = MEMORY
) -> Iterator[tuple[Patch, Outcome]]:
    """Run each patch as if alone.

    Args:
        donor: vectors of all layers and sites; a patch writes those at its own. No site has seen an answer, so the
            vectors of both continuations are the same, and those of the first are written into both.
        memory: bytes that a chunk of patches may take, see `chunking`; a chunk that does not fit after all is halved.

    Yields:
        The patch, and its run with `resid_post` of the patch's layer at every site.

    Raises:
        SpecError: not even one patch fits into the memory there is.
        ValueError: `donor` has not the shape or dtype of the base run's own vectors.
    """
    own = base.outcome.resid
    if (donor.shape, donor.dtype) != (own.shape, own.dtype):  # no silent broadcast or rounding of what is written
        raise ValueError(f"`donor` is {donor.dtype} {[*donor.shape]}, but the base run has {own.dtype} {[*own.shape]}")
    source = donor[:, 0]
    same = (source == own[:, 0]).all(-1).cpu()
    fit, at_once = chunking(memory, bytes_of_rows(base), bytes_of_logits(base))
    size = -(-len(patches) // -(-len(patches) // fit)) if patches else 1  # as few chunks as fit, all of one size
    done = 0
    while done < len(patches):
        chunk = patches[done : done + size]
        try:
            for outcome in _run_chunk(base, source, chunk, same, at_once):
                yield patches[done], outcome
                done += 1
        except RuntimeError as error:
            if not any(sign in str(error) for sign in ("out of memory", "DefaultCPUAllocator")):
                raise
            if len(chunk) == 1:
                raise SpecError(
                    f"not even one patch of {len(source)} pairs fits into memory; choose a smaller batch size"
                ) from error
            size = len(chunk) // 2


def relay(
    base: BaseRun, donor: SiteVectors, layers: Sequence[int], sites: Sequence[int], memory: int = MEMORY
) -> Iterator[tuple[Patch, RelayStep]]:
    """Hand one thought on to the next through one layer, for several layers at once.

    Step 0 writes the donor's vector at the first of `sites`. Step i writes, into a fresh run and there alone, what the
    run of step i-1 itself produced at the i-th site.

    Yields:
        What was patched, and the step: all layers of step 0, then all of step 1, and so on.
    """
    for step, site in enumerate(sites):
        following = sites[step + 1 : step + 2]
        handed = donor.clone()
        for patch, outcome in sweep(base, donor, [Patch(layer, (site,)) for layer in layers], memory):
            handed[:, :, patch.layer, following] = outcome.resid[:, :, 0, following]
            yield patch, RelayStep(donor[:, :, patch.layer, site], outcome.logits)
        donor = handed


@torch.no_grad()
def _run_chunk(
    base: BaseRun,
    source: Float[Tensor, "pair layer site d_model"],
    patches: Sequence[Patch],
    same: Bool[Tensor, "pair layer site"],
    at_once: int,
) -> Iterator[Outcome]:
    """The outcomes of a chunk of patches, whose logits are made for `at_once` of them together."""
    tree, depth = base.tree, len(base.model.blocks)
    runs = patched_runs(tree, patches, same)
    # At every site: the donor's vector where it is written, and the base run's until a run produces another.
    resid = base.outcome.resid[:, 0, [patch.layer for patch in patches]].transpose(0, 1).contiguous()
    for vectors, patch in zip(resid, patches, strict=True):
        vectors[:, patch.sites] = source[:, patch.layer, patch.sites]

    def write_and_read(wave: Wave, layer: int, h: Resid) -> None:
        row, patch, pair, site = wave.written[layer]
        h[row] = source[pair, layer, site]
        row, patch, pair, site = wave.read[layer]
        resid[patch, pair, site] = h[row]

    h, waves = None, []
    if len(runs.pair):
        window, stages = base.model.window, tree.stages[1:]
        waves = [wave_of(tree, runs, stage, tree.first, depth, resid.device, window=window) for stage in stages]
        own = base.cache[..., tree.first :, :].repeat_interleave(int(runs.rank.max()) + 1, dim=4)
        h = _climb(base, waves, base.cache[..., 0, : tree.first, :], own, write_and_read)
        del own  # the logits need the memory
    both = resid[:, :, None, None].expand(-1, -1, 2, -1, -1, -1)
    for number, vectors in zip(runs.number.split(at_once), both.split(at_once), strict=True):
        logits = base.logits.repeat(len(number), 1, 1, 1, 1)
        if h is not None:
            _predict(base, number, waves[-1], h, logits)
        yield from map(Outcome, logits, vectors)


def _climb(
    base: BaseRun,
    waves: Sequence[Wave],
    shared: Float[Tensor, "layer 2 pair kv_head shared d_head"],
    own: Cache,
    after: Callable[[Wave, int, Resid], None],
) -> Resid:
    """Take one wave after the other through all blocks; the rows of the last one.

    Args:
        shared: keys and values that all runs of a pair see.
        own: those of each run, filled on the way.
        after: called after every block; may read and write the rows.
    """
    model, first, n_shared = base.model, base.tree.first, shared.shape[4]
    h, fed = base.resid.new_empty(0, base.resid.shape[-1]), None
    for wave in waves:
        known = model.embed[wave.tokens] if fed is None else fed
        known = model.enter(known, wave.positions[: len(known)])
        layer, pair, slot = wave.joined
        h = torch.cat([known, base.resid[layer, pair, slot - first]])
        grids = [Grid(wave.grid, wave.repeats, table and table.at(wave.positions)) for table in model.rotary]
        for layer, block in enumerate(model.blocks):
            if count := wave.counts[layer]:
                mine = own[layer, :, :, :, : wave.widths[layer], : wave.stage.stop - n_shared]
                rows = wave.useful if layer + 1 == len(model.blocks) else None
                grid, unseen = grids[block.local].at(slice(count)), wave.unseen[block.local]
                run_block(block, h[:count], grid, shared[layer], mine, unseen, rows)
            after(wave, layer, h)
        head = base.head if wave.stage.stop in base.tree.fed else None
        fed = None if head is None else head(model.norm(h[wave.last]))
    return h


def _predict(
    base: BaseRun,
    number: Int[Tensor, "patch pair"],
    wave: Wave,
    h: Resid,
    logits: Float[Tensor, "patch pair 2 position vocab"],
) -> None:
    """Set `logits` wherever a run has a row of its own; a row that is read twice is unembedded once.

    Args:
        number: see `Runs.number`.
    """
    row = wave.row[number[:, :, None, None], base.tree.reads]
    at = (row >= 0).nonzero(as_tuple=True)
    used, which = row[at].unique(return_inverse=True)
    found = base.model.logits(h[used.to(h.device)])
    logits[tuple(each.to(h.device) for each in at)] = found[which.to(h.device)]


def chunking(memory: int, rows: int, logits: int) -> tuple[int, int]:
    """How many patches fit into one chunk of `memory` bytes, and for how many of them logits are made together.

    Args:
        rows, logits: bytes of one patch, see `bytes_of_rows` and `bytes_of_logits`.
    """
    at_once = max(1, memory // 4 // logits)
    return max(1, (memory - at_once * logits) // rows), at_once


def bytes_of_logits(base: BaseRun) -> int:
    """Of one patch of all pairs: those just made, as unembedded and as spread over pairs, and those made before."""
    return 4 * base.logits.nbytes


def bytes_of_rows(base: BaseRun) -> int:
    """What one patch of all pairs takes in the blocks, at most."""
    model, (pairs, slots), late = base.model, base.tree.tokens.shape, base.resid.shape[2]
    block, d_model, sites = model.blocks[0], model.embed.shape[1], base.tree.sites.shape[1]
    d_mlp, heads = len(block.up.weight), len(block.q.weight) // model.d_head
    row = max(8 * d_model + 3 * slots * heads, 4 * d_model + 2 * d_mlp)  # in attention, in the MLP
    cache = late * 2 * len(model.blocks) * model.kv_heads * model.d_head
    rows = max(map(len, base.tree.stages[1:])) * row + sites * d_model
    return pairs * (rows + cache) * base.resid.element_size()
