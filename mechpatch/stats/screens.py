"""What a screen missed, as far as the random cells tell that were run beside those it chose.

The random ones were drawn whatever they do, so they stand for all cells that were left out. How many of them have a
clear effect is told by tests among these alone: nothing was chosen among them, so no other cell counts. Everywhere else
all that could have been chosen count as tested.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mechpatch.catalogue import PAIRED
from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import CellPlace, CellSummary, Held, Share
from mechpatch.stats.clear import FEWEST_PAIRS, controls, is_clear_among
from mechpatch.stats.contrasts import LEVEL
from mechpatch.stats.estimates import benjamini_hochberg, rank_correlation
from mechpatch.stats.switching import proportion_limits
from mechpatch.storage.choices import RANDOM, TOP, Choice

Key = tuple[int | None, int, int, str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenedCell(CellPlace):
    """A cell that was run, beside the estimate by which it was judged.

    Attributes:
        why: "top" for one of the largest estimates, "random" for one that was drawn of the others.
        estimate: the first-order guess, a share of the gap; None where there is none in this direction.
        effect: what the patch does, mean share of the gap with its interval; None where no pair has a gap.
    """

    head: int
    why: str
    estimate: float | None
    effect: float | None
    low: float | None
    high: float | None

    @property
    def size(self) -> float:
        """How far the effect is from zero."""
        return abs(self.effect or 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What a screen chose in one experiment, direction and hook point, and what it missed.

    Attributes:
        candidates: how many cells there were to choose from.
        pairs: how many pairs the estimates are means of.
        cells: those that were run.
        controlled: whether a control was run; without one, an effect that is off zero is all that can be told.
        clear: the random cells with a clear effect.
        told: how many random cells have pairs enough to tell.
        limit: the largest share that may have one of the cells that are not top, a one-sided upper 95 % limit after
            Clopper and Pearson; None where no random cell can be told of.
        median, smallest: sizes of the effects of the top cells, shares of the gap.
        rank_top, rank_random: Spearman's correlation of estimate and effect; None with fewer than three cells.
    """

    experiment: str
    direction: str
    hook: str
    candidates: int
    pairs: int
    cells: tuple[ScreenedCell, ...]
    controlled: bool
    clear: tuple[ScreenedCell, ...]
    told: int
    limit: float | None
    median: float | None
    smallest: float | None
    rank_top: float | None
    rank_random: float | None

    __repr__ = short_repr

    @property
    def left_out(self) -> int:
        """How many cells were not run."""
        return self.candidates - len(self.cells)

    def of(self, why: str) -> list[ScreenedCell]:
        """The top or the random cells."""
        return [cell for cell in self.cells if cell.why == why]

    @property
    def largest(self) -> ScreenedCell | None:
        """The random cell with the largest effect; None where none has one."""
        return max((cell for cell in self.of(RANDOM) if cell.effect is not None), key=_size, default=None)

    @property
    def exceeds(self) -> ScreenedCell | None:
        """The random cell with the largest clear effect, where that is larger than those of half of the top cells."""
        found = max(self.clear, key=_size, default=None)
        return found if found is not None and self.median is not None and found.size > self.median else None

    @property
    def blind(self) -> bool:
        """Whether, over the random cells, estimates do not even rank as effects do."""
        return self.rank_random is not None and self.rank_random <= 0

    @property
    def failed(self) -> bool:
        """Whether what the screen left out cannot be taken for what does little."""
        return self.exceeds is not None or self.blind


def screens(choices: Sequence[Choice], described: Sequence[CellSummary]) -> Iterator[Screened]:
    """What each choice missed, in each direction that was run.

    Args:
        described: the cells of a summary.
    """
    for choice in choices:
        own = [
            cell
            for cell in described
            if (cell.experiment, cell.hook, cell.donor) == (choice.experiment, choice.hook, PAIRED)
        ]
        for direction in dict.fromkeys(cell.direction for cell in own):
            yield _screened(choice, direction, {_key(cell): cell for cell in own if cell.direction == direction})


def _screened(choice: Choice, direction: str, run: Mapping[Key, CellSummary]) -> Screened:
    cells = {}
    for each in choice.cells:
        key = (each.head, each.layer, each.width, each.site, each.step)
        if key in run:
            effect = run[key].effect
            cells[key] = ScreenedCell(
                experiment=choice.experiment,
                hook=choice.hook,
                head=each.head,
                layer=each.layer,
                width=each.width,
                site=each.site,
                step=each.step,
                why=each.why,
                estimate=each.estimates.get(direction),
                effect=effect.mean,
                low=effect.low,
                high=effect.high,
            )
    random = {key: cell for key, cell in cells.items() if cell.why == RANDOM}
    clear, told = _clear([run[key] for key in random])
    sizes = [cell.size for cell in cells.values() if cell.why == TOP and cell.effect is not None]
    return Screened(
        experiment=choice.experiment,
        direction=direction,
        hook=choice.hook,
        candidates=choice.candidates,
        pairs=choice.pairs,
        cells=tuple(cells.values()),
        controlled=any(controls(run[key].effect) for key in random),
        clear=tuple(cell for cell, found in zip(random.values(), clear, strict=True) if found),
        told=told,
        limit=upper_limit(sum(clear), told),
        median=float(np.median(sizes)) if sizes else None,
        smallest=min(sizes, default=None),
        rank_top=_rank([cell for cell in cells.values() if cell.why == TOP]),
        rank_random=_rank([*random.values()]),
    )


def _clear(cells: Sequence[CellSummary]) -> tuple[list[bool], int]:
    """Which of some random cells have a clear effect, in the mean or in the answers; and of how many that can be told.

    Where no control was run, an effect that is off zero is clear.
    """
    found = [False] * len(cells)
    told = [False] * len(cells)
    for values in ([cell.switched for cell in cells], [cell.effect for cell in cells]):
        p = np.array([_p(value) for value in values], dtype=np.float64)
        for at, (value, q) in enumerate(zip(values, benjamini_hochberg(p), strict=True)):
            told[at] |= not np.isnan(q) and value.n >= FEWEST_PAIRS
            found[at] |= is_clear_among(value, float(q))
    return found, sum(told)


def _p(value: Share | Held) -> float:
    """p of an effect beyond every control; of a mean alone where no control was run; NaN where nothing can be told."""
    joint, own = value.beyond_every, value.p if isinstance(value, Held) else None
    p = own if joint is None else joint.p
    return np.nan if p is None else p


def upper_limit(hits: int, n: int, level: float = LEVEL) -> float | None:
    """The one-sided upper limit of a share after Clopper and Pearson; None where there is nothing to tell it by."""
    if not n:
        return None
    _, high = proportion_limits(np.array(hits), np.array(n), 2 * level - 1)  # of both sides, each has half of the rest
    return float(high)


def _rank(cells: Sequence[ScreenedCell]) -> float | None:
    known = [(cell.estimate, cell.effect) for cell in cells if cell.estimate is not None and cell.effect is not None]
    estimates, effects = np.array(known, dtype=np.float64).reshape(-1, 2).T
    return rank_correlation(estimates, effects)


def _key(cell: CellSummary) -> Key:
    return cell.head, cell.layer, cell.width, cell.site, cell.step


def _size(cell: ScreenedCell) -> float:
    return cell.size
