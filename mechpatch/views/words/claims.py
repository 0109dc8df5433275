"""When an effect is claimed, and the words that every sentence about one shares.

An effect is *clear* where its interval excludes zero, its false discovery rate is at most 5 %, it would not be written
as 0.00, and it is not zero by construction. A difference is clear on the same terms.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from mechpatch.catalogue import donor_label
from mechpatch.formats import written
from mechpatch.kinds import kind_of
from mechpatch.kinds.kind import Placed
from mechpatch.points import RESID_POST
from mechpatch.stats.cell_values import CellSummary, Estimate, SetDifference, Tested

FALSE_DISCOVERIES = 0.05
SMALLEST = 0.005
FEWEST_PAIRS = 6  # five pairs that all agree still have p = 2 / 2**5 > 0.05


@runtime_checkable
class Named(Placed, Protocol):
    """A cell with the names of its experiment and hook point, and its head where it has one."""

    @property
    def experiment(self) -> str: ...
    @property
    def hook(self) -> str: ...
    @property
    def head(self) -> int | None: ...


def can_move(cells: Iterable[CellSummary]) -> list[CellSummary]:
    """Cells that could have moved and have a mean."""
    return [cell for cell in cells if not cell.structural and cell.effect.mean is not None]


def is_clear(cell: CellSummary) -> bool:
    """Whether the effect of a cell may be claimed."""
    return not cell.structural and is_clear_estimate(cell.effect, cell.q)


def is_beyond_controls(cell: CellSummary) -> bool:
    """Whether the effect of a cell is clear, and clearly more than with every null donor; without one it is not."""
    return is_clear(cell) and cell.effect.n >= FEWEST_PAIRS and bool(cell.beyond) and not near_nulls(cell)


def differs(difference: Tested | None) -> bool:
    """Whether a difference of the summary may be claimed; one that could not be had may not."""
    if difference is None or (isinstance(difference, SetDifference) and difference.structural):
        return False
    return is_clear_estimate(difference, difference.q)


def is_clear_estimate(estimate: Estimate, q: float | None) -> bool:
    """Whether an estimate with its false discovery rate may be claimed."""
    mean, low, high = estimate.mean, estimate.low, estimate.high
    if mean is None or low is None or high is None or q is None:
        return False
    return (low > 0 or high < 0) and estimate.size >= SMALLEST and q <= FALSE_DISCOVERIES


def largest(cells: Iterable[CellSummary]) -> CellSummary:
    """The cell whose mean effect is furthest from zero."""
    return max(cells, key=lambda cell: cell.effect.size)


def nearest(cells: Sequence[CellSummary], noun: str) -> str:
    """Where nothing is clear: the largest mean all the same, and what so many pairs could have shown."""
    best = largest(cells)
    return f"the largest mean {noun} is {share(best.effect)}, at {place(best)}{could_show(best)}"


def could_show(cell: CellSummary) -> str:
    """What this many pairs could have shown, where an interval includes zero."""
    effect, detectable = cell.effect, cell.minimum_detectable_effect
    if effect.low is None or effect.high is None or not detectable or not effect.low <= 0 <= effect.high:
        return ""
    if effect.n < FEWEST_PAIRS:
        return ""
    return f", where {effect.n} pairs would show {written(detectable)} or more four times in five"


def near_nulls(cell: CellSummary) -> list[str]:
    """The null donors whose effect at the same cell is not clearly less."""
    return [
        donor_label(donor)
        for donor, difference in cell.beyond.items()
        if not differs(difference) or difference.sign != cell.effect.sign
    ]


def beyond_nulls(cell: CellSummary) -> str:
    """How the effect compares with that of the null donors at the same cell."""
    if not cell.beyond:
        return ""
    near = near_nulls(cell)
    return f", which is not clearly more than with {listed(near)}" if near else ", more than with any null donor"


def share(estimate: Estimate) -> str:
    """A mean share of the gap with its interval."""
    if estimate.low is None:
        return f"{written(estimate.mean)} of the gap (one pair, no interval)"
    return f"{written(estimate.mean)} of the gap (95 % interval {limits(estimate)})"


def limits(estimate: Estimate) -> str:
    """An interval, low to high."""
    return f"{written(estimate.low)} to {written(estimate.high)}"


def place(cell: Named) -> str:
    """Where a cell is, in words; the hook point is named where it is not `resid_post`."""
    where = kind_of(cell.experiment).place(cell)
    if cell.hook == RESID_POST:
        return where
    return f"{where}, {cell.hook}" if cell.head is None else f"{where}, head {cell.head} of {cell.hook}"


def called(experiment: str) -> str:
    """Name of an experiment within a sentence."""
    return kind_of(experiment).label.lower()


def listed(items: Sequence[str]) -> str:
    """Items with commas and a last "and"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def have_clear(clear: Sequence[CellSummary], cells: Sequence[CellSummary], what: str) -> str:
    """How many of the cells have a clear effect, and how many of these beyond every null donor, if any was run."""
    text = f"{len(clear)} of {len(cells)} {what} {'has' if len(clear) == 1 else 'have'} a clear effect"
    if not any(cell.beyond for cell in clear):
        return text
    return f"{text} ({sum(not near_nulls(cell) for cell in clear)} beyond every null donor)"
