"""Every patch of a batch in a few passes through the model: as exact as one run for each, many times faster.

    base = base_run(model, head, batch)  # the unpatched run, once for all experiments and donors
    for patch, outcome in sweep(base, donor, patches): ...

A patched run differs from the base run only above its layer and from its first site on (`waves` says exactly where), so
nothing else is computed: what lies below is read from the base run's residual stream, what lies before from its keys
and values. All patches go up the layers together, as one *wave* of rows that more and more runs join, and a block's
weights are read once for all of them. Without feedback one wave does it. With latent thoughts there is a wave for
each thought, because its input is the hidden state of the one before, and a last one for both continuations.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.axes import LatentHead, SiteVectors
from mechpatch.errors import SpecError
from mechpatch.patching.batch import Batch
from mechpatch.patching.engine.base import BaseRun, Cache, both_continuations, empty_base
from mechpatch.patching.engine.block import Grid, Resid, run_block
from mechpatch.patching.engine.chunks import bytes_of_logits, bytes_of_rows, chunking
from mechpatch.patching.engine.planned import planned
from mechpatch.patching.engine.saying import own_cache, patched_said
from mechpatch.patching.engine.tree import repeated
from mechpatch.patching.engine.watch import Patcher, Recorder, Watch, givers_of, parts_of, places_of
from mechpatch.patching.engine.waves import Handed, Wave, base_runs, on_device, wave_of
from mechpatch.patching.patch import Patch, RelayStep
from mechpatch.patching.rollout import Outcome
from mechpatch.patching.together import Predictions, Together
from mechpatch.points import HookPoint, point_of

MEMORY = 2**30  # bytes for one chunk of patches, beside model and base run


@torch.no_grad()
def base_run(model: HookedTransformer, head: LatentHead | None, batch: Batch, hooks: Sequence[str] = ()) -> BaseRun:
    """Run a batch unpatched, once for all patches and donors.

    Args:
        model: from `to_hooked`; its weights are read where they lie.
        hooks: see `empty_base`, which also says what it raises.
    """
    base = empty_base(model, head, batch, hooks)
    tree, depth = base.tree, len(base.model.blocks)
    runs, (first, *later) = base_runs(tree), tree.stages
    window = base.model.window
    waves = [wave_of(tree, runs, first, 0, depth, repeated(tree), window=window)]
    waves += [wave_of(tree, runs, stage, 0, depth, window=window) for stage in later]
    waves = on_device(waves, base.stream.device)
    h = _climb(base, waves, base.cache[..., 0, :0, :], base.cache, Recorder(base))
    rows, at = _predict(base, runs.number, waves[-1], h)
    base.logits.copy_(rows[at[0].to(rows.device)])  # every place of an unpatched run has a row
    return base


def sweep(
    base: BaseRun,
    donor: SiteVectors,
    patches: Sequence[Patch],
    memory: int = MEMORY,
    hook: str = "resid_post",
    handed: Mapping[int, int] | None = None,
) -> Iterator[tuple[Patch, Outcome]]:
    """Run each patch as if alone.

    Args: as `together`.

    Yields:
        The patch, and its run with the hook point's vectors of the patch's first layer at every site; and with what it
        says, where the base run was asked (`saying.speaking`).
    """
    for ran in together(base, donor, patches, memory, hook, handed):
        yield from ran.outcomes()


def together(
    base: BaseRun,
    donor: SiteVectors,
    patches: Sequence[Patch],
    memory: int = MEMORY,
    hook: str = "resid_post",
    handed: Mapping[int, int] | None = None,
) -> Iterator[Together]:
    """Run each patch as if alone, many at once.

    Args:
        handed: patches of one site and layer that do not write the donor's vector but what the run of an earlier patch
            has there itself; their places in `patches`, and that one's.
        donor: vectors of all layers and sites at the hook point; a patch writes those at its own. No site has seen an
            answer, so the vectors of both continuations are the same, and those of the first are written into both.
        memory: bytes that a chunk of patches may take, see `chunking`; a chunk that does not fit after all is halved.

    Yields:
        Runs in the order of the patches, as many as have their logits made at once.

    Raises:
        SpecError: not even one patch fits into the memory there is; the base run does not hold the hook point; or a
            patch lies where the hook point is not.
        ValueError: `donor` has not the shape or dtype of the base run's own vectors.
    """
    unpatched, source = base.vectors(hook), donor[:, 0]
    expected = both_continuations(unpatched).shape
    if (donor.shape, donor.dtype) != (expected, unpatched.dtype):  # no silent broadcast or rounding of what is written
        has = f"{unpatched.dtype} {[*expected]}"
        raise ValueError(f"`donor` is {donor.dtype} {[*donor.shape]}, but the base run has {has}")
    point = point_of(hook)
    _check(base, patches, point)
    same = source == unpatched
    same = (same.all(-1) if point.parts else same.flatten(3).all(-1, keepdim=True)).cpu()
    say = 0 if base.voice is None else base.voice.say.count
    fit, at_once = chunking(memory, bytes_of_rows(base, hook, say), bytes_of_logits(base))
    size = -(-len(patches) // -(-len(patches) // fit)) if patches else 1  # as few chunks as fit, all of one size
    done, handed = 0, handed or {}
    givers, kept = {*handed.values()}, {}
    while done < len(patches):
        chunk = patches[done : done + size]
        mine = {at - done: giver for at, giver in handed.items() if done <= at < done + size}
        known = {at: kept[giver] for at, giver in mine.items() if giver < done}
        inside = {at: giver - done for at, giver in mine.items() if giver >= done}
        try:
            for ran in _run_chunk(base, source, chunk, same, at_once, point, known, inside):
                there = range(done, done + len(ran.patches))
                kept |= {at: ran.vectors[at - done, :, 0].clone() for at in there if at in givers}
                yield ran
                done = there.stop
        except RuntimeError as error:
            if not any(sign in str(error) for sign in ("out of memory", "DefaultCPUAllocator")):
                raise
            if len(chunk) == 1:
                raise SpecError(
                    f"not even one patch of {len(source)} pairs fits into memory; choose a smaller batch size"
                ) from error
            size = len(chunk) // 2


def _check(base: BaseRun, patches: Sequence[Patch], point: HookPoint) -> None:
    """Raise a `SpecError` for a patch that lies where the hook point is not."""
    tree, decoder = base.tree, base.model
    n_layers, n_parts = point.n_layers(len(decoder.blocks)), point.n_parts(decoder.sizes)
    fed = [slot in tree.fed for slot in tree.sites[0].tolist()]
    for patch in patches:
        point_of(point.name, patch.head)
        if not 0 <= patch.layer <= patch.layers.stop - 1 < n_layers:
            raise SpecError(f"{patch}: {point.name} has layers 0 to {n_layers - 1}")
        if patch.head is not None and not 0 <= patch.head < n_parts:
            raise SpecError(f"{patch}: {point.name} has {point.part}s 0 to {n_parts - 1}")
        if not point.hooks and not all(fed[site] for site in patch.sites):
            raise SpecError(f"{patch}: {point.name} is found at fed-back thoughts alone")


def relay(
    base: BaseRun,
    donor: SiteVectors,
    layers: Sequence[int | tuple[int, int]],
    sites: Sequence[int],
    memory: int = MEMORY,
    hook: str = "resid_post",
) -> Iterator[tuple[Patch, RelayStep]]:
    """Hand one thought on to the next through one layer, or one head or neuron of it, for several at once.

    Step 0 writes the donor's vector at the first of `sites`. Step i writes, into a fresh run and there alone, what the
    run of step i-1 itself produced at the i-th site.

    Args:
        layers: a layer, or a layer and a head or neuron of the hook point; either for all.

    Yields:
        What was patched, and the step: all layers of step 0, then all of step 1, and so on.
    """
    ways = [each if isinstance(each, tuple) else (each, None) for each in layers]
    patches = [Patch(layer, (site,), head=head) for site in sites for layer, head in ways]
    handed = {at: at - len(ways) for at in range(len(ways), len(patches))}
    for patch, outcome in sweep(base, donor, patches, memory, hook, handed):
        of_head = () if patch.head is None else (patch.head,)
        there = (slice(None), slice(None), 0, *patch.sites, *of_head)
        yield patch, RelayStep(outcome.vectors[hook][there], outcome.logits, outcome.said)


@torch.no_grad()
def _run_chunk(
    base: BaseRun,
    source: Float[Tensor, "pair layer site *vector"],
    patches: Sequence[Patch],
    same: Bool[Tensor, "pair layer site part"],
    at_once: int,
    point: HookPoint,
    known: Mapping[int, Float[Tensor, "pair site *vector"]],
    inside: Mapping[int, int],
) -> Iterator[Together]:
    """The runs of a chunk of patches, whose logits are made for `at_once` of them together.

    Args:
        known, inside: patches that are handed what they write, by their places in the chunk: what the run of a patch
            of an earlier chunk has at the sites, and the patch of this chunk that hands on.
    """
    tree = base.tree
    # At every site: the donor's vector where it is written, and the base run's until a run produces another.
    vectors = base.vectors(point.name)[:, [patch.layer for patch in patches]].transpose(0, 1).contiguous()
    written = [places_of(patch) for patch in patches]
    changed: dict[int, Handed] = {at: inside[at] for at in sorted(inside)}
    if known:
        differs = [(vectors[at][written[at]] != given[written[at]]).flatten(1).any(1) for at, given in known.items()]
        changed = dict(zip(known, torch.stack(differs).cpu(), strict=True)) | changed
    for at, (each, patch, there) in enumerate(zip(vectors, patches, written, strict=True)):
        if at not in inside:
            each[there] = (known[at] if at in known else source[:, patch.layer])[there]
    plan, h = planned(base, patches, same, point, changed), None
    runs, waves = plan.runs, plan.waves

    said = None if base.voice is None else base.voice.said.repeat(len(patches), 1, 1)
    if waves:
        device = vectors.device
        own = own_cache(base, int(runs.rank.max()) + 1)
        chosen = parts_of(patches, same.shape[3]).to(device) if point.parts else None
        watch = Patcher(
            base=base,
            point=point,
            source=source,
            chosen=chosen,
            vectors=vectors,
            handed=givers_of(len(patches), known, inside).to(device) if changed else None,
        )
        h = _climb(base, waves, base.cache[..., 0, : tree.first, :], own, watch)
        said = patched_said(base, runs, waves[-1], h, own, len(patches), at_once)
        del own  # the logits need the memory
    for at, giver in inside.items():  # where nothing hears what is written, there is no run and no row
        vectors[at][written[at]] = vectors[giver][written[at]]
    both = vectors[:, :, None].expand(-1, -1, 2, *vectors.shape[2:])
    for start in range(0, len(patches), at_once):
        some = slice(start, start + at_once)
        number = runs.number[some]
        if h is None:  # nothing is changed
            rows, at = base.logits.new_empty(0, base.logits.shape[-1]), torch.full((len(number), *tree.reads.shape), -1)
        else:
            rows, at = _predict(base, number, waves[-1], h)
        yield Together(
            patches=patches[some],
            predictions=Predictions(rows, at, base.logits),
            hook=point.name,
            vectors=both[some],
            said=None if said is None else [*said[some]],
        )


def _climb(
    base: BaseRun,
    waves: Sequence[Wave],
    shared: Float[Tensor, "layer 2 pair kv_head shared d_head"],
    own: Cache,
    watch: Watch,
) -> Resid:
    """Take one wave after the other through all blocks; the rows of the last one.

    Args:
        shared: keys and values that all runs of a pair see.
        own: keys and values of each run, filled on the way.
        watch: reads and writes rows on the way.
    """
    model, first, n_shared = base.model, base.tree.first, shared.shape[4]
    h, fed = base.stream.new_empty(0, base.stream.shape[-1]), None
    for wave in waves:
        known = model.embed[wave.tokens] if fed is None else fed
        level, pair, slot = wave.joined
        joined = base.stream[level, pair, slot - first]
        h = torch.cat([model.enter(known, wave.positions[: len(known)]), joined])
        watch.entered(wave, known, h)
        grids = [Grid(wave.grid, wave.repeats, table and table.at(wave.positions)) for table in model.rotary]
        for layer, block in enumerate(model.blocks):
            if count := wave.counts[layer]:
                mine = own[layer, :, :, :, : wave.widths[layer], : wave.stage.stop - n_shared]
                rows = wave.useful if layer + 1 == len(model.blocks) else None
                grid, unseen = grids[block.local].at(slice(count)), wave.unseen[block.local]
                run_block(block, h[:count], grid, shared[layer], mine, unseen, rows, watch.within(wave, layer))
            watch.after(wave, layer, h)
        head = base.head if wave.stage.stop in base.tree.fed else None
        fed = None if head is None else head(model.norm(h[wave.last]))
    return h


def _predict(
    base: BaseRun, number: Int[Tensor, "patch pair"], wave: Wave, h: Resid
) -> tuple[Float[Tensor, "made vocab"], Int[Tensor, "patch pair 2 position"]]:
    """Logits wherever a run has a row of its own, and the row of each place, -1 elsewhere; see `Predictions`.

    Args:
        number: see `Runs.number`.
    """
    row = wave.row[number[:, :, None, None], base.tree.reads]
    used, which = row[row >= 0].unique(return_inverse=True)
    return base.model.logits(h[used.to(h.device)]), torch.full_like(row, -1).masked_scatter(row >= 0, which)
