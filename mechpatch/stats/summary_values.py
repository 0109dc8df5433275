"""What a summary holds, as values; the names of their fields are those of `summary.json`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields

from mechpatch.reprs import short_repr
from mechpatch.stats.answers import AnswerCell
from mechpatch.stats.cell_values import CellPlace, CellSummary, Estimate, Held
from mechpatch.stats.maximum import Best
from mechpatch.stats.others import PLACE, OtherAnswer
from mechpatch.stats.screens import Screened


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionPair(CellPlace):
    """One cell that was patched in both directions.

    Attributes:
        sufficiency: the share of the gap that clean vectors restore.
        necessity: the share of the gap that corrupted vectors destroy.
        difference: sufficiency − necessity, pair by pair; held against the same difference of each null donor.
    """

    structural: bool
    sufficiency: Estimate
    necessity: Estimate
    difference: Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Standard deviations of the effect over pairs: that of the median cell, and the largest of any cell."""

    typical: float
    worst: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Detectable:
    """The smallest mean effects that `pairs` pairs find four times in five; see `mechpatch.stats.power`."""

    pairs: int
    typical: float | None
    worst: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """What pairs can find in one experiment, direction and hook point.

    Attributes:
        cells: how many cells are tested: those that have a spread, and those that a screen left out.
        detectable: the first entry is for the pairs that have a recovery.
    """

    experiment: str
    direction: str
    hook: str
    cells: int
    spread: Spread
    detectable: tuple[Detectable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSum:
    """KL divergences of one layer, nats: the sum over single thoughts, and all thoughts at once."""

    layer: int
    sum_of_positions: float | None
    all_positions: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """An identity that must hold, or a relation that is worth knowing.

    Attributes:
        direction, hook: None for a check of all of them.
        kind: "asserted" for an identity, "reported" for a relation.
        tolerance, holds: None for a relation.
        per_layer: the two numbers of each layer, for a check that compares layers.
    """

    name: str
    direction: str | None
    hook: str | None
    kind: str
    value: float | None
    tolerance: float | None
    holds: bool | None
    explanation: str
    per_layer: tuple[LayerSum, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Numbers of pairs.

    Attributes:
        pairs: pairs that were run.
        both_correct: pairs whose two answers the unpatched model gives.
        used: pairs that means are taken over.
        switchable: pairs that can switch: `both_correct`, and the two answers differ.
        undefined_recovery: used pairs whose gap is too small for a share.
    """

    pairs: int
    both_correct: int
    used: int
    switchable: int
    undefined_recovery: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What the records of a run say; `mechpatch.stats.summarise` makes it.

    Attributes:
        note: why there are no means; None where there are.
        include_incorrect: whether pairs that the unpatched model gets wrong are used, too.
        seed: the seed of resamples and sign flips.
        level: the level of every interval.
        tolerance: the largest difference between two computations that must agree.
        cells: every cell with every donor.
        answers: the cells of experiments that ask for answers, see `mechpatch.stats.answers`.
        top: the cells at which most pairs switch, for each experiment and direction.
        best: the largest share of each map, with an interval that knows that it was chosen.
        others: what is said most often by pairs that give neither answer, at the leading cells; none without `--say`.
        sets_notes: which differences of sets are missing, and what to run for them.
        screens: what each screen chose and missed; none where all cells were run.
        planning: what so many pairs would find, for each experiment and direction.
    """

    counts: Counts
    note: str | None
    include_incorrect: bool
    seed: int
    level: float
    tolerance: float
    cells: tuple[CellSummary, ...]
    answers: tuple[AnswerCell, ...]
    top: tuple[CellSummary, ...]
    best: tuple[Best, ...]
    directions: tuple[DirectionPair, ...]
    sets_notes: tuple[str, ...]
    planning: tuple[Power, ...]
    checks: tuple[Check, ...]
    others: tuple[OtherAnswer, ...] = ()
    screens: tuple[Screened, ...] = ()

    __repr__ = short_repr

    def of_run(self, run: "RunFacts") -> "RunSummary":
        """This summary together with how the run went."""
        return RunSummary(**{each.name: getattr(self, each.name) for each in fields(Summary)}, run=run)

    def asserted(self) -> list[Check]:
        """The identities that the records allow."""
        return [check for check in self.checks if check.kind == "asserted"]

    def failed(self) -> list[Check]:
        """The identities that do not hold."""
        return [check for check in self.checks if check.holds is False]

    def other_at(self, cell: CellSummary) -> OtherAnswer | None:
        """What is said most often at a leading cell by pairs that give neither answer; None where that is not known."""
        return next(
            (each for each in self.others if all(getattr(each, name) == getattr(cell, name) for name in PLACE)), None
        )

    def best_of(self, cell: CellSummary) -> Best | None:
        """The largest share of the map that a cell is in; None where no pair can switch."""
        of = cell.experiment, cell.direction, cell.hook
        return next((each for each in self.best if (each.experiment, each.direction, each.hook) == of), None)

    def screen_of(self, cell: CellSummary) -> Screened | None:
        """The screen of the map that a cell is in; None where all of it was run."""
        of = cell.experiment, cell.direction, cell.hook
        return next((each for each in self.screens if (each.experiment, each.direction, each.hook) == of), None)

    def leading(self) -> Iterator[CellSummary]:
        """The cell by which each direction is told: the first of `top` of position-wise, else of what was run."""
        by_direction: dict[str, list[CellSummary]] = {}
        for cell in self.top:
            by_direction.setdefault(cell.direction, []).append(cell)
        for cells in by_direction.values():
            yield next((cell for cell in cells if cell.experiment == "position"), cells[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How long a run was expected to take.

    Attributes:
        of: what the prediction was made from, in words.
    """

    of: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingFacts:
    """What the cells that were computed both ways say of rounding.

    Attributes:
        floor: the largest difference of a logit between two plain computations.
        difference: the largest difference of a logit between engine and plain hooks.
        cells: how many cells were compared.
        refereed: the cells that float64 was asked about.
        says: all this in a sentence.
    """

    dtype: str
    floor: float
    difference: float
    cells: int
    refereed: tuple[str, ...]
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """How a run went.

    Attributes:
        seconds: the time of the whole run, with loading of records, summary and figures.
        run_seconds: the time of the patched and unpatched runs.
        sections: seconds of each part of them, by name.
        expected: None where nothing was predicted.
        peak_memory_bytes: the largest memory of the process; None where it is not known.
        pairs_total, pairs_dropped: pairs of the file, and those that screening dropped.
        rounding: None where nothing was computed both ways.
        notes: what must be known before the numbers are read.
    """

    seconds: float
    run_seconds: float
    sections: Mapping[str, float]
    expected: Prediction | None
    peak_memory_bytes: int | None
    pairs_total: int
    pairs_dropped: int
    rounding: RoundingFacts | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary(Summary):
    """What `summary.json` holds: the summary of the records, and how the run went."""

    run: RunFacts

    __repr__ = short_repr
