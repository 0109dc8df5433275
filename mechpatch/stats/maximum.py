"""The largest share of a map, with an interval that knows that it was chosen.

The best of many cells is partly the luckiest, so the interval of that cell alone lies too high. Its upper limit holds
all the same: the best cell has at least as many hits as the truly best one. The lower limit is Clopper and Pearson's
at a stricter level, which a bootstrap of the maximum finds: whole pairs are resampled, so that cells that move together
count for less; in each resample the cell with the smallest p value is the one that would be believed; and the level is
that at which it would be believed wrongly as rarely as was promised (the calibration of Loh, J. Am. Stat. Assoc. 82,
1987; the smallest p of Westfall and Young, Resampling-Based Multiple Testing, 1993).

A plain bootstrap of a maximum fails where several cells are equally good, because resamples of these are not. So only
the cells that may be the best are asked, and each about its own share: those whose share is within √(2 ln n) standard
errors of the largest, pair by pair (the selection of Andrews and Soares, Econometrica 78, 2010). Each resample is
smoothed by four pairs that hit at random, because a resample of pairs that all hit would never vary.

`scripts/simulate_claims.py --maximum` measures how often the interval misses the largest true share. Of 300 maps of 30
cells at 95 %, it missed (in brackets: as often as the interval of the best cell alone would)

    all cells 2 %, independent cells, 20 / 68 pairs     1.3 % (17 %) / 1.3 % (27 %)
    all cells 50 %, independent                         2.3 % (44 %) / 3.3 % (42 %)
    all cells 90 %, independent                         0.0 % (0 %) / 3.0 % (18 %)
    one cell 90 %, 29 at 5 %                            1.7 % (1.7 %) / 1.7 % (1.7 %)
    one cell 50 %, 29 at 40 %                           0.3 % (6 %) / 0.0 % (1.3 %)

and with cells correlated at 0.8 at most 3.3 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy import special, stats

from mechpatch.catalogue import PAIRED
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.cells import Cells, Group, at_thoughts
from mechpatch.stats.contrasts import LEVEL

RESAMPLES = 1999
COINS = 4  # pairs that smooth a resample: two hits and two misses, as Agresti and Coull count
AT_ONCE = 1024  # cells whose resampled counts are held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The largest share of pairs that switch in a map, and where.

    Attributes:
        layer, head, site, step: the cell; where thoughts were written it is the best of those.
        cells: how many cells it is the best of.
        left_out: how many cells of the map a screen left out, of which nobody knows the share.
        share: the share of pairs that switch there.
        low, high: the limits of the largest share of all these cells.
    """

    experiment: str
    direction: str
    hook: str
    layer: int
    head: int | None
    site: str
    step: int
    cells: int
    share: float
    low: float
    high: float
    left_out: int = 0


def best_cells(laid_out: Mapping[Group, Cells], top: Sequence[CellSummary], seed: int) -> list[Best]:
    """The first cell of each map in `top`, with its interval; none where no pair can switch."""
    found = {}
    for cell in top:
        group = Group(cell.experiment, cell.direction, PAIRED, cell.hook)
        if group not in found and cell.switched.n:
            found[group] = _best(laid_out[group], cell, seed)
    return [*found.values()]


def _best(cells: Cells, cell: CellSummary, seed: int) -> Best:
    among = np.array([at_thoughts(column.site) or not at_thoughts(cell.site) for column in cells.columns])
    values = cells.values("switched")
    asked = ~cells.structural & among & ~np.isnan(values).all(axis=0)
    low, high = largest_share_limits(values[:, asked], seed, left_out=cells.left_out)
    return Best(
        **{name: getattr(cell, name) for name in ("experiment", "direction", "hook", "layer", "head", "site", "step")},
        cells=int(asked.sum()),
        share=cell.switched.share or 0.0,
        low=low,
        high=high,
        left_out=cells.left_out,
    )


def largest_share_limits(
    values: Float[np.ndarray, "pair cell"],
    seed: int,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    left_out: int = 0,
) -> tuple[float, float]:
    """Limits of the largest of the true shares, from 0/1 `values`; NaN for a pair that has none at a cell.

    Each cell needs a pair.

    Args:
        left_out: cells that the same pairs were asked about and that have no values. What they would have been is not
            known, so the lower limit has Bonferroni's level for all of them.
    """
    known, hit = ~np.isnan(values), values == 1
    n, count = known.sum(axis=0), hit.sum(axis=0)
    best, tail = int(np.argmax(count / n)), (1 - level) / 2
    high = 1.0 if count[best] == n[best] else float(stats.beta.ppf(1 - tail, count[best] + 1, n[best] - count[best]))
    if not count[best]:
        return 0.0, high
    if left_out:
        return float(stats.beta.ppf(tail / (len(n) + left_out), count[best], n[best] - count[best] + 1)), high
    rivals = _rivals(values, best)
    believed = _smallest_p(known[:, rivals], hit[:, rivals], seed, resamples)
    strict = float(np.clip(np.quantile(believed, tail), tail / rivals.sum(), tail))
    return float(stats.beta.ppf(strict, count[best], n[best] - count[best] + 1)), high


def _rivals(values: Float[np.ndarray, "pair cell"], best: int) -> np.ndarray:
    """Which cells may be the best one: those that are not clearly below it, pair by pair."""
    other = values[:, [best]]
    both = (~np.isnan(values) & ~np.isnan(other)).sum(axis=0)
    more, less = ((other > values).sum(axis=0) + 1) / (both + 2), ((other < values).sum(axis=0) + 1) / (both + 2)
    error = np.sqrt((more + less - (more - less) ** 2) / (both + 2))
    return more - less <= np.sqrt(2 * np.log(np.maximum(both, 2))) * error


def _smallest_p(known: np.ndarray, hit: np.ndarray, seed: int, resamples: int) -> Float[np.ndarray, " draw"]:
    """In each resample, the smallest p value of any cell that its share is no larger than it is.

    Thousands of cells, as neurons are, are taken some at a time: each takes 80 KB for every array.
    """
    pairs, cells = hit.shape
    weights = np.append(np.ones(pairs), COINS) / (pairs + COINS)
    generator = np.random.default_rng([seed, pairs, cells])
    drawn = generator.multinomial(pairs, weights, size=resamples)
    coins = drawn[:, -1:]
    # Whole numbers, so that the sums do not depend on the number of threads.
    taken, smallest = drawn[:, :-1].astype(float), np.ones(resamples)
    for start in range(0, cells, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        has, gives = known[:, part], hit[:, part]
        of = taken @ has + coins
        hits = taken @ gives + generator.binomial(coins, 0.5, size=of.shape)
        share = (gives.sum(axis=0) + COINS / 2) / (has.sum(axis=0) + COINS)
        p = np.where(hits > 0, special.betainc(np.maximum(hits, 1), of - hits + 1, share), 1.0)
        smallest = np.minimum(smallest, p.min(axis=1))
    return smallest
