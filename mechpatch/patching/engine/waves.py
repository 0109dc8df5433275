"""Which tokens have to be computed for a set of patches, and in which order: every index of a sweep, made on the CPU.

A patch of layer l changes nothing below l and nothing before its first site. A run (one patch of one pair) therefore
*joins* at its first site, above its layer (the first, if it writes several); until then it is the base run and costs
nothing. From there to the end of that stage it has rows of its own, and in every later stage too: from the first block
on where a thought is fed between, above its layer where none is. What is written inside of block l is written into a
row that joins below it; so do the rows that follow, if the write spreads to them within the block. Rows are sorted by
where they join, so those that a block must compute are always the first ones of their stage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mechpatch.patching.engine.tree import Tree
from mechpatch.patching.moved import moved
from mechpatch.patching.patch import Patch
from mechpatch.points import POINTS, HookPoint
from mechpatch.reprs import short_repr

RESID_POST = POINTS["resid_post"]
KNOWN = -2  # below everything: where a row stands that is made of a token or a thought
# What a patch writes that has no donor: the vector that the run of another patch has there, by that patch's place; or a
# vector that is there already, by the pairs in which it is not the base run's.
Handed = int | Bool[Tensor, " pair"]
# What of a wave its blocks need on their device.
MOVED = ("grid", "positions", "tokens", "joined", "last", "useful", "repeats", "written", "read", "unseen")
Indices = Tensor | list[Tensor] | tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """Runs of several patches and pairs, in the order in which they join.

    Attributes:
        patch, pair: whose run it is.
        rank: its place among the runs of its pair.
        layer, top: the first and the last that is written.
        start: the first slot at which it differs from the base run; -1 for a base run, which is computed whole.
        writes: which sites are written.
        number: run of each patch and pair; -1 where the patch changes nothing.
    """

    patch: Int[Tensor, " run"]
    pair: Int[Tensor, " run"]
    rank: Int[Tensor, " run"]
    layer: Int[Tensor, " run"]
    top: Int[Tensor, " run"]
    start: Int[Tensor, " run"]
    writes: Bool[Tensor, "run site"]
    number: Int[Tensor, "patch pair"]

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wave:
    """All that is computed at one stage: its rows, run by run, with every index that the blocks need.

    Attributes:
        stage: its slots.
        counts: for each layer, how many of the first rows the block must compute.
        widths: for each layer, the most runs of one pair that these rows belong to.
        row: the row of each run and slot; -1 where there is none. The last line is -1 everywhere: index -1 stands for
            "no run". It stays on the CPU; everything below goes to the model's device, see `on_device`.
        grid: for each row its pair, its run's rank, its place in the stage and its place among its run's own slots.
        positions: position of each row, for the rotary embedding.
        tokens: token ids of the first rows, whose runs joined in an earlier stage; not used where the stage is fed.
        joined: level of the residual stream, pair and slot where the other rows stand in the base run.
        last: rows at the last slot of the stage, in the order of their runs.
        useful: the rows whose output of the last block is of use; the other rows need only its keys and values.
        repeats: slots that no row computes, because their keys and values are those of another question's slot: pair
            and slot, then that pair and slot.
        written: by layer, the sites that are written there: row, patch, pair, site.
        read: by layer, the other sites of the runs whose first layer it is; the written ones too where a write may be
            of one part alone. Of base runs all sites, in every layer.
        unseen: [.., i, j] whether slot i of the stage does not see slot j; of global blocks, of local ones.
    """

    stage: range
    counts: list[int]
    widths: list[int]
    row: Int[Tensor, "line slot"]
    grid: Int[Tensor, "4 row"]
    positions: Int[Tensor, " row"]
    tokens: Int[Tensor, " known"]
    joined: Int[Tensor, "3 _"]
    last: Int[Tensor, " _"]
    useful: Int[Tensor, " _"]
    repeats: Int[Tensor, "4 _"]
    written: list[Int[Tensor, "4 _"]]
    read: list[Int[Tensor, "4 _"]]
    unseen: tuple[Bool[Tensor, "pair query key"], Bool[Tensor, "pair query key"]]

    __repr__ = short_repr


def base_runs(tree: Tree) -> Runs:
    """One unpatched run for each pair."""
    pair = torch.arange(len(tree.tokens))
    none = torch.full_like(pair, -1)
    writes = torch.zeros_like(tree.sites, dtype=torch.bool)
    return Runs(
        patch=0 * pair, pair=pair, rank=0 * pair, layer=none, top=none, start=none, writes=writes, number=pair[None]
    )


def patched_runs(
    tree: Tree,
    patches: Sequence[Patch],
    same: Bool[Tensor, "pair layer site part"],
    point: HookPoint = RESID_POST,
    handed: Mapping[int, Handed] | None = None,
) -> Runs:
    """The runs of `patches` that differ from the base run.

    Args:
        handed: patches of one site that do not write the donor's vector, by their place, earlier ones first.
        same: where the donor is bit for bit what the base run has; one part where the hook point has none. A run that
            writes nothing else *is* the base run, and is left out: recomputed, its last bits would differ, because
            they depend on the shape of a product.
    """
    pairs, n_layers, n_sites, _ = same.shape
    slots = tree.tokens.shape[1]
    layer, top = (
        torch.tensor([(patch.layers[0], patch.layers[-1]) for patch in patches], dtype=torch.long).view(-1, 2).T
    )
    member = torch.zeros(len(patches), n_sites, dtype=torch.bool)
    for row, patch in zip(member, patches, strict=True):
        row[list(patch.sites)] = True
    layers = torch.arange(n_layers)
    heard = tree.heard.gather(1, tree.sites)[:, None] | (layers < n_layers - 1)[:, None] | point.spreads
    within = (layer[:, None] <= layers) & (layers <= top[:, None])
    head = torch.tensor([-1 if patch.head is None else patch.head for patch in patches], dtype=torch.long)
    same = torch.cat([same, same.all(-1, keepdim=True)], dim=-1)[..., head].movedim(-1, 0)  # [patch, pair, layer, site]
    felt = member[:, None] & (within[:, None, :, None] & ~same & heard).any(2)  # [patch, pair, site]
    start = torch.where(felt, tree.sites, slots).amin(-1)
    stops = torch.tensor([stage.stop for stage in tree.stages])
    for number, source in (handed or {}).items():
        [site] = patches[number].sites
        slot = tree.sites[:, site].contiguous()
        if isinstance(source, int):
            # Within a stage no layer sees what that same layer gives: there the other run has what the base run has.
            stage, begun = (torch.bucketize(each, stops, right=True) for each in (slot, start[source]))
            source = stage > begun
        start[number] = torch.where(source & heard[:, patches[number].layer, site], slot, slots)

    patch, pair = (start < slots).nonzero(as_tuple=True)
    # What starts after the last fed thought joins the last stage in one order with what starts at that thought.
    stage = torch.bucketize(start[patch, pair].clamp(max=tree.apart), stops, right=True)
    order = (stage * n_layers + layer[patch]).argsort(stable=True)
    patch, pair = patch[order], pair[order]
    run = torch.arange(len(order))
    return Runs(
        patch=patch,
        pair=pair,
        rank=(pair[:, None] == torch.arange(pairs)).cumsum(0)[run, pair] - 1,
        layer=layer[patch],
        top=top[patch],
        start=start[patch, pair],
        writes=member[patch],
        number=torch.full_like(start, -1).index_put((patch, pair), run),
    )


def wave_of(
    tree: Tree,
    runs: Runs,
    stage: range,
    shared: int,
    depth: int,
    repeats: Int[Tensor, "4 _"] | None = None,
    window: int | None = None,
    point: HookPoint = RESID_POST,
) -> Wave:
    """What `runs` need at one stage.

    Args:
        shared: how many slots, the first ones, are the base run's in every run.
        depth: number of layers.
        repeats: see `tree.repeated`; for base runs, whose number is that of their pair.
        window: see `Decoder`.
    """
    slots = torch.arange(tree.tokens.shape[1])
    repeats = torch.empty(4, 0, dtype=torch.long) if repeats is None else repeats
    written = torch.zeros(len(runs.pair), len(slots), dtype=torch.bool).scatter(1, tree.sites[runs.pair], runs.writes)
    joins = runs.start >= min(stage.start, tree.apart)
    # No later slot reads what the last block gives, so a write that does not spread there changes its own slot alone.
    spreads = ~joins | (runs.layer < depth - 1) | point.spreads
    inside = (slots >= stage.start) & (slots < stage.stop) & tree.real[runs.pair]
    inside[repeats[0], repeats[1]] = False
    run, slot = (inside & (slots >= runs.start[:, None]) & (written | spreads[:, None])).nonzero(as_tuple=True)
    # The highest block that has no row for the run.
    within = point.spreads | ((point.where != "end") & written[run, slot])
    below = torch.where(joins[run], runs.layer[run] - within.long(), KNOWN)
    order = below.argsort(stable=True)
    run, slot, below = run[order], slot[order], below[order]

    pair, layer, top, rank = runs.pair[run], runs.layer[run], runs.top[run], runs.rank[run]
    counts = torch.searchsorted(below, torch.arange(depth)).tolist()
    known = int((below == KNOWN).sum())
    ranks = rank.cummax(0).values
    last = (slot == stage.stop - 1).nonzero()[:, 0]
    at_site = slot[:, None] == tree.sites[pair]
    # Of the last block: what a prediction or a thought is made of, and sites whose vectors are asked for.
    asked = at_site.any(1) & ((layer < 0) | (layer == depth - 1))
    useful = (tree.heard[pair, slot] | asked) & (below < depth - 1)
    owners = torch.stack([torch.arange(len(run)), runs.patch[run], pair])
    to_write, to_read = at_site & runs.writes[run], at_site & (~runs.writes[run] | (point.parts is not None))
    first, until = layer.clamp(min=0), torch.where(layer < 0, depth - 1, layer)
    there = [below < each for each in range(depth)]  # rows that a block computes of those that concern the hook point
    if point.where == "end":
        there = [torch.ones_like(useful)] * depth
    elif not point.spreads:
        there[-1] = useful

    return Wave(
        stage=stage,
        counts=counts,
        widths=[int(ranks[count - 1]) + 1 if count else 0 for count in counts],
        row=torch.full((len(runs.pair) + 1, len(slots)), -1).index_put((run, slot), torch.arange(len(run))),
        grid=torch.stack([pair, rank, slot - stage.start, slot - shared]),
        positions=tree.positions[pair, slot],
        tokens=tree.tokens[pair, slot][:known],
        joined=torch.stack([below + 1, pair, slot])[:, known:],
        last=last[run[last].argsort(stable=True)],
        useful=useful.nonzero()[:, 0],
        repeats=repeats,
        written=_by_layer(owners, to_write, layer, top, there),
        read=_by_layer(owners, to_read, first, until, there),
        unseen=_unseen(tree, stage, window),
    )


def on_device(waves: Sequence[Wave], device: torch.device) -> list[Wave]:
    """Waves with all that blocks need on the model's device, by one copy for them all: no wave waits for the CPU."""
    there = iter(moved([each for wave in waves for name in MOVED for each in _each(getattr(wave, name))], device))

    def taken(value: Indices) -> Indices:
        return next(there) if isinstance(value, Tensor) else type(value)(next(there) for _ in value)

    return [replace(wave, **{name: taken(getattr(wave, name)) for name in MOVED}) for wave in waves]


def _each(value: Indices) -> Sequence[Tensor]:
    return [value] if isinstance(value, Tensor) else value


def _by_layer(
    owners: Int[Tensor, "3 row"],
    chosen: Bool[Tensor, "row site"],
    first: Int[Tensor, " row"],
    last: Int[Tensor, " row"],
    there: Sequence[Bool[Tensor, " row"]],
) -> list[Tensor]:
    """By layer, the chosen sites of the rows that reach from a first layer to a last one: row, patch, pair, site.

    Args:
        there: by layer, of which rows.
    """
    row, site = chosen.nonzero(as_tuple=True)
    first, last, at = first[row], last[row], torch.cat([owners[:, row], site[None]])
    return [at[:, (first <= layer) & (layer <= last) & some[row]] for layer, some in enumerate(there)]


def _unseen(
    tree: Tree, stage: range, window: int | None
) -> tuple[Bool[Tensor, "pair query key"], Bool[Tensor, "pair query key"]]:
    """See `Wave`; what a window hides is told by positions, because the slots of the second branch do not follow on."""
    queries, keys = slice(stage.start, stage.stop), slice(stage.stop)
    unseen = ~tree.sees[:, queries, keys]
    if window is None:
        return unseen, unseen
    far = tree.positions[:, queries, None] - tree.positions[:, None, keys] >= window
    return unseen, unseen | far
