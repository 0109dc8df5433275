"""What a set of sites or layers does beyond its parts: differences pair by pair, held against the null donors.

    lost       layer-wise effect − effect without one thought: what the other thoughts do not make up for
    synergy    what a set of sites does − the sum of what its sites do alone, in nats: a sum of shares is no share
    gain       effect of a window of layers − effect of each of its layers alone; and − the mean of these effects

A window is not compared with its best layer, because the same pairs would first choose that layer and then judge it.
Instead the window must beat every one of its layers. The largest of the p values tests that; their number needs no
correction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mechpatch.kinds import KINDS, kind_of
from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import Gain, JointTest, SetDifference
from mechpatch.stats.cells import JOIN, Cells, Column, Group, nulls_beside
from mechpatch.stats.contrasts import (
    Against,
    Contrast,
    against,
    aligned,
    contrast,
    held_at,
    number,
    set_difference_at,
    tested_at,
)
from mechpatch.stats.estimates import benjamini_hochberg

Beyond = dict[str, SetDifference | Gain | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Difference:
    """One difference for each pair, layer and column.

    Attributes:
        whole: what the set does.
        parts: what its parts do; NaN where one was not run or is undefined.
        structural: True where the difference is zero by construction.
    """

    whole: Float[np.ndarray, "pair layer column"]
    parts: Float[np.ndarray, "pair layer column"]
    structural: Bool[np.ndarray, "layer column"]

    __repr__ = short_repr

    @property
    def values(self) -> Float[np.ndarray, "pair layer column"]:
        """What the set does beyond its parts."""
        return self.whole - self.parts


def lost(cells: Cells, whole: Cells, single: Cells | None) -> Difference:
    """How much effect is lost when one thought is left out.

    Args:
        cells: the cells of leave-one-out, whose columns are named by the thought that is left out.
        whole: the cells of layer-wise patching.
        single: the cells of position-wise patching, if it was run. A thought that moves nothing there by construction
            loses nothing here by construction.
    """
    effects, dead = _columns(whole, cells, [Column("all", 0, column.head) for column in cells.columns])
    if single is not None:
        dead = dead | _columns(single, cells, cells.columns)[1]
    return Difference(whole=effects, parts=cells.values("effect"), structural=dead)


def synergy(cells: Cells, single: Cells) -> Difference:
    """What each set of sites does minus the sum of what its sites do alone, nats towards the side that is written.

    It is zero by construction where at most one of the sites can move anything.
    """
    sets = [(column.site.split(JOIN), column.head) for column in cells.columns]
    total, alive = np.zeros((len(cells.pairs), *cells.structural.shape)), np.zeros(cells.structural.shape, dtype=int)
    for place in range(max((len(sites) for sites, _ in sets), default=0)):
        has = np.array([len(sites) > place for sites, _ in sets])
        alone = [Column(sites[place % len(sites)], 0, head) for sites, head in sets]
        effects, dead = _columns(single, cells, alone, metric="towards")
        total += np.where(has, effects, 0.0)
        alive += has & ~dead
    return Difference(whole=cells.values("towards"), parts=total, structural=alive < 2)


def gains(cells: Cells, single: Cells) -> list[Difference]:
    """The effect of each window of layers minus that of its first layer alone, of its second layer alone, and so on."""
    effect = cells.values("effect")
    parts = [_columns(single, cells, cells.columns, above)[0] for above in range(cells.width)]
    return [Difference(whole=effect, parts=part, structural=cells.structural) for part in parts]


def beyond_parts(group: Group, laid_out: Mapping[Group, Cells], seed: int) -> list[list[Beyond]]:
    """What each cell of `group` does beyond its parts: a list of layers, each a list of columns.

    Each entry is {name of the difference: its test}, with None where the parts were not run. It is empty for an
    experiment that writes no sets.
    """
    cells = laid_out[group]
    grid = [(row, column) for row in range(len(cells.layers)) for column in range(len(cells.columns))]
    name, found = kind_of(group.experiment).gives, _differences(group, laid_out)
    if name is None or found is None:
        entries: list[Beyond] = [{name: None} if name else {} for _ in grid]
    else:
        nulls = {}
        for donor, other in nulls_beside(group, laid_out).items():
            if (null := _differences(group._replace(donor=donor), laid_out)) is not None:
                nulls[donor] = aligned(cells, other, _mean(null))
        tested = against(_mean(found), nulls, found[0].structural, seed, cells.left_out)
        if name == "gain":
            entries = _gain_entries(cells, found, tested, seed, grid)
        else:
            entries = [{name: _set_difference(found[0], tested, at)} for at in grid]
    across = len(cells.columns)
    return [entries[row * across : (row + 1) * across] for row in range(len(cells.layers))]


def _differences(group: Group, laid_out: Mapping[Group, Cells]) -> list[Difference] | None:
    """What the sets of a group do beyond their parts: one difference, or one for each layer of a window.

    None for what is no set, or where the parts were not run.
    """
    kind = kind_of(group.experiment)
    parts = laid_out.get(group._replace(experiment=kind.needs)) if kind.needs else None
    if parts is None:
        return None
    cells = laid_out[group]
    if kind.gives == "gain":
        return gains(cells, parts)
    if kind.gives == "lost":
        return [lost(cells, parts, laid_out.get(group._replace(experiment="position")))]
    return [synergy(cells, parts)]


def _mean(found: Sequence[Difference]) -> Float[np.ndarray, "pair layer column"]:
    """The mean of the differences; NaN where a layer was not run, so that a mean is of all or none."""
    return np.mean([each.values for each in found], axis=0)


def _set_difference(found: Difference, tested: Against, at: tuple[int, int]) -> SetDifference:
    both = ~np.isnan(found.values[:, *at])
    whole, parts = (float(each[both, *at].mean()) if both.any() else None for each in (found.whole, found.parts))
    return set_difference_at(tested, at, bool(found.structural[at]), whole, parts)


def notes(groups: Sequence[Group]) -> list[str]:
    """Sentences that say which of these differences are missing, and what to run for them."""
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


def _gain_entries(
    cells: Cells, found: list[Difference], over_mean: Against, seed: int, grid: list[tuple[int, int]]
) -> list[Beyond]:
    each = [contrast(gain.values, gain.structural, seed, cells.left_out) for gain in found]
    p = np.max([_one_sided(gain) for gain in each], axis=0)
    q = benjamini_hochberg(np.where(cells.structural, np.nan, p), cells.left_out)
    return [
        {
            "gain": Gain(
                over_mean=held_at(over_mean, at),
                over_layers={
                    str(int(cells.layers[at[0]]) + above): tested_at(gain, at) for above, gain in enumerate(each)
                },
                over_every_layer=JointTest(p=number(p, at), q=number(q, at)),
            )
        }
        for at in grid
    ]


def _one_sided(gain: Contrast) -> Float[np.ndarray, "layer column"]:
    """p value of "there is no gain": 1 where there is a loss, else the two-sided p value, which is the stricter one."""
    return np.where(gain.interval.mean <= 0, 1.0, gain.p)


def _columns(
    cells: Cells, onto: Cells, columns: Sequence[Column], above: int = 0, metric: str = "effect"
) -> tuple[Float[np.ndarray, "pair layer column"], Bool[np.ndarray, "layer column"]]:
    """Values of `cells`, rearranged to the pairs of `onto`, to its layers plus `above`, and to `columns`.

    Also returns which of them are structural. Where `cells` has no such cell the value is NaN and not structural.
    """
    effects, structural = cells.values(metric), cells.structural
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
