"""The words that every sentence about a cell shares. What may be claimed, `mechpatch.stats.clear` says."""

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from mechpatch.catalogue import donor_label
from mechpatch.formats import equals, percent, written
from mechpatch.kinds import kind_of
from mechpatch.kinds.kind import Placed
from mechpatch.points import RESID_POST, hook_named
from mechpatch.stats.cell_values import CellSummary, Estimate, Held, Share, ShareTest
from mechpatch.stats.clear import FALSE_DISCOVERIES, FEWEST_PAIRS, controls, unbeaten

QUOTED = 40  # characters of what a model said
GIVEN = {"denoise": "clean", "noise": "corrupted"}  # the answer that a pair switches to
NOUN = {"denoise": "recovery", "noise": "destruction"}


@runtime_checkable
class Named(Placed, Protocol):
    """A cell with the names of its experiment and hook point, and its head or neuron where it has one."""

    @property
    def experiment(self) -> str: ...
    @property
    def hook(self) -> str: ...
    @property
    def head(self) -> int | None: ...


def can_move(cells: Iterable[CellSummary]) -> list[CellSummary]:
    """Cells that could have moved and have a mean."""
    return [cell for cell in cells if not cell.structural and cell.effect.mean is not None]


def largest(cells: Iterable[CellSummary]) -> CellSummary:
    """The cell whose mean effect is furthest from zero."""
    return max(cells, key=lambda cell: cell.effect.size)


def most(cells: Iterable[CellSummary]) -> CellSummary:
    """The cell at which the largest share of pairs switches; among equals, that with the largest mean effect."""
    return max(cells, key=lambda cell: (cell.switched.share or 0.0, cell.effect.size))


def could_show(cell: CellSummary) -> str:
    """What this many pairs could have shown, where an interval includes zero."""
    effect, detectable = cell.effect, cell.minimum_detectable_effect
    if effect.low is None or effect.high is None or not detectable or not effect.low <= 0 <= effect.high:
        return ""
    if effect.n < FEWEST_PAIRS:
        return ""
    return f", where {effect.n} pairs would show {written(detectable)} or more four times in five"


def why_not(found: Share | Held) -> str:
    """Why what is no claim is none: too few pairs, no control, or the controls that do it too."""
    if found.n < FEWEST_PAIRS:
        return f"; fewer than {FEWEST_PAIRS} pairs have it, which makes nothing clear"
    if not controls(found):
        return "; no control was run, so any vector might do the same"
    return near(found)


def near(found: Share | Held) -> str:
    """The controls that do it too, with their numbers; where there are none, nothing."""
    controls_near = unbeaten(found) if found.n >= FEWEST_PAIRS else []
    if not controls_near:
        return ""
    joint = found.beyond_every
    # A share of 88 % beside one of 0 % may be no finding where pairs are few and cells many: q says so.
    missed = joint is not None and joint.q is not None and FALSE_DISCOVERIES < joint.q < 1
    over = f", {equals('q', joint.q)} over the map" if joint is not None and missed else ""
    return f"; that is not clearly more than with {listed([beside(found, donor) for donor in controls_near])}{over}"


def beside(found: Share | Held, donor: str) -> str:
    """A control with its number: "vectors of another pair (7.4 %)"; how many pairs have it, where that is too few."""
    test = found.beyond[donor]
    number = portion(test) if isinstance(test, ShareTest) else f"a difference of {written(test.mean)}"
    few = f" of the {test.n} pairs that have it" if test.n < FEWEST_PAIRS <= found.n else ""
    return f"{donor_label(donor)} ({number}{few})"


def portion(entry: Share | ShareTest) -> str:
    """A share in percent; a dash where no pair has it."""
    return percent(entry.share)


def share(estimate: Estimate, unit: str = "of the gap") -> str:
    """A mean in its unit with its interval."""
    if estimate.low is None:
        return f"{written(estimate.mean)} {unit} (one pair, no interval)"
    return f"{written(estimate.mean)} {unit} (95 % interval {limits(estimate)})"


def alone(estimate: Estimate) -> str:
    """The largest of several means, with its own interval, which does not know that it was chosen."""
    return share(estimate).replace("interval", "interval for that cell alone,")


def limits(estimate: Estimate) -> str:
    """An interval, low to high."""
    return f"{written(estimate.low)} to {written(estimate.high)}"


def place(cell: Named) -> str:
    """Where a cell is, in words; the hook point is named where it is not `resid_post`."""
    where = kind_of(cell.experiment).place(cell)
    if cell.hook == RESID_POST:
        return where
    return f"{where}, {hook_named(cell.hook, cell.head)}"


def called(experiment: str) -> str:
    """Name of an experiment within a sentence."""
    return kind_of(experiment).label.lower()


def listed(items: Sequence[str]) -> str:
    """Items with commas and a last "and"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def quoted(text: str) -> str:
    """What a model said, as it can stand in a sentence: short, and without signs that a terminal would obey."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown if len(shown) <= QUOTED else f"{shown[: QUOTED - 1]}…"


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 pair", "2 pairs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
