"""What sets of sites or layers do beyond their parts, pair by pair, in shares of the gap.

    lost       layer-wise effect − effect without one thought: what the others do not make up for
    synergy    effect of a set of sites − sum of the effects of its sites alone
    gain       effect of a window of layers − that of each of its layers alone, and − their mean

A window is not held against the best of its layers: which is best would be picked on the pairs that then judge it.
Instead it must beat each of them (the largest of the p values is a test of that, without correction for their number).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mechpatch.kinds import KINDS, kind_of
from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import Gain, JointTest, SetDifference
from mechpatch.stats.cells import JOIN, Cells, Column, Group
from mechpatch.stats.contrasts import Contrast, contrast, number, set_difference_at, tested_at
from mechpatch.stats.estimates import benjamini_hochberg

Beyond = dict[str, SetDifference | Gain | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """A difference of each cell of a grid.

    Attributes:
        values: NaN where a part was not run or is undefined.
        structural: True where it is zero by construction.
    """

    values: Float[np.ndarray, "pair layer column"]
    structural: Bool[np.ndarray, "layer column"]

    __repr__ = short_repr


def lost(cells: Cells, whole: Cells, single: Cells | None) -> Difference:
    """What leaving each thought out costs.

    Args:
        cells: leave-one-out, whose columns are named by the thought that is left out.
        whole: layer-wise.
        single: position-wise, if it was run; a thought that moves nothing there by construction costs nothing here.
    """
    effects, dead = _columns(whole, cells, [Column("all", 0)] * len(cells.columns))
    if single is not None:
        dead = dead | _columns(single, cells, cells.columns)[1]
    return Difference(values=effects - cells.values("effect"), structural=dead)


def synergy(cells: Cells, single: Cells) -> Difference:
    """What the sites of each set do together, beyond the sum of what they do alone.

    Zero by construction where not more than one of them can move anything.
    """
    sets = [column.site.split(JOIN) for column in cells.columns]
    total, alive = np.zeros((len(cells.pairs), *cells.structural.shape)), np.zeros(cells.structural.shape, dtype=int)
    for place in range(max(map(len, sets), default=0)):
        has = np.array([len(sites) > place for sites in sets])
        effects, dead = _columns(single, cells, [Column(sites[place % len(sites)], 0) for sites in sets])
        total += np.where(has, effects, 0.0)
        alive += has & ~dead
    return Difference(values=cells.values("effect") - total, structural=alive < 2)


def gains(cells: Cells, single: Cells) -> list[Difference]:
    """What each window of layers does beyond its first, second, … layer alone."""
    effect = cells.values("effect")
    parts = [_columns(single, cells, cells.columns, above)[0] for above in range(cells.width)]
    return [Difference(values=effect - part, structural=cells.structural) for part in parts]


def beyond_parts(group: Group, laid_out: Mapping[Group, Cells], seed: int) -> list[list[Beyond]]:
    """What each cell of `group`, by layer and column, does beyond its parts, by the name of the difference.

    Empty for experiments that are no sets; None where the parts were not run.
    """
    cells = laid_out[group]
    grid = [(row, column) for row in range(len(cells.layers)) for column in range(len(cells.columns))]
    kind = kind_of(group.experiment)
    name, needed = kind.gives, kind.needs
    parts = laid_out.get(group._replace(experiment=needed)) if needed else None
    if name is None or parts is None:
        entries: list[Beyond] = [{name: None} if name else {} for _ in grid]
    elif name == "gain":
        entries = _gain_entries(cells, gains(cells, parts), seed, grid)
    else:
        single = laid_out.get(group._replace(experiment="position"))
        found = lost(cells, parts, single) if name == "lost" else synergy(cells, parts)
        tested = contrast(found.values, found.structural, seed)
        entries = [{name: set_difference_at(tested, at, bool(found.structural[at]))} for at in grid]
    across = len(cells.columns)
    return [entries[row * across : (row + 1) * across] for row in range(len(cells.layers))]


def notes(groups: Sequence[Group]) -> list[str]:
    """Which of these differences could not be had, and what to run for them."""
    said = []
    for name, kind in KINDS.items():
        needed = kind.needs
        if needed is None:
            continue
        lacking = [g.direction for g in groups if g.experiment == name and g._replace(experiment=needed) not in groups]
        if lacking:
            said.append(
                f"{name} was run without {needed}, so its {kind.gives} is not given; run both in one run for it."
            )
    return said


def _gain_entries(cells: Cells, found: list[Difference], seed: int, grid: list[tuple[int, int]]) -> list[Beyond]:
    each = [contrast(gain.values, gain.structural, seed) for gain in found]
    mean = np.mean([gain.values for gain in found], axis=0)  # NaN where a layer was not run: its mean is of all or none
    over_mean = contrast(mean, cells.structural, seed)
    p = np.max([_one_sided(gain) for gain in each], axis=0)
    q = benjamini_hochberg(np.where(cells.structural, np.nan, p))
    return [
        {
            "gain": Gain(
                over_mean=tested_at(over_mean, at),
                over_layers={
                    str(int(cells.layers[at[0]]) + above): tested_at(gain, at) for above, gain in enumerate(each)
                },
                over_every_layer=JointTest(p=number(p, at), q=number(q, at)),
            )
        }
        for at in grid
    ]


def _one_sided(gain: Contrast) -> Float[np.ndarray, "layer column"]:
    """p of "no gain" where there is one, 1 where there is a loss; two-sided, to be safe."""
    return np.where(gain.interval.mean <= 0, 1.0, gain.p)


def _columns(
    cells: Cells, onto: Cells, columns: Sequence[Column], above: int = 0
) -> tuple[Float[np.ndarray, "pair layer column"], Bool[np.ndarray, "layer column"]]:
    """Effects of `cells` for the pairs and layers (plus `above`) of `onto` and the `columns`; and which are structural.

    NaN, and not structural, where `cells` has no such cell.
    """
    effects, structural = cells.values("effect"), cells.structural
    # One more pair, layer and column, empty, for all that is not there.
    effects = np.pad(effects, [(0, 1)] * 3, constant_values=np.nan)
    structural = np.pad(structural, [(0, 1)] * 2)
    pair = _places(cells.pairs.tolist(), onto.pairs.tolist())
    layer = _places(cells.layers.tolist(), (onto.layers + above).tolist())
    column = _places(list(cells.columns), list(columns))
    return effects[np.ix_(pair, layer, column)], structural[np.ix_(layer, column)]


def _places(known: list[Any], wanted: list[Any]) -> list[int]:
    place = {each: index for index, each in enumerate(known)}
    return [place.get(each, len(known)) for each in wanted]
