"""Several studies side by side: the best cell that each found, experiment by experiment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mechpatch.formats import probability, written
from mechpatch.kinds import kind_of
from mechpatch.points import POINTS, RESID_POST, part_named
from mechpatch.stats import CellSummary
from mechpatch.views.report.parts import Part, Row, entry
from mechpatch.views.report.studies import Study
from mechpatch.views.words.claims import portion

HEADS = ("Runs", "Model", "Experiment", "Direction", "Leading cell", "Switched", "Effect", "95 % interval", "n", "q")


@dataclass(frozen=True, slots=True)
class Overview:
    """A table with one row for the best cell of every study, experiment and direction."""

    rows: list[Row]
    heads: tuple[str, ...] = HEADS


def overview(studies: Sequence[Study]) -> Overview | None:
    """The table of several studies; None for a single one."""
    if len(studies) < 2:
        return None
    return Overview([_row(study, cell) for study in studies for cell in _best(study)])


def _best(study: Study) -> Iterator[CellSummary]:
    """The first cell of each experiment and direction: the best thought, if thoughts were written."""
    seen = set()
    for cell in study.summary.top:
        group = cell.experiment, cell.hook, cell.direction
        if group not in seen:
            seen.add(group)
            yield cell


def _row(study: Study, cell: CellSummary) -> Row:
    effect = cell.effect
    fingerprint = study.runs[0].spec.get("model", {}).get("fingerprint", "")
    part = "".join(f", {part}" for part in [part_named(cell.hook, cell.head)] if part)
    return [
        entry(study.name, "foreign"),
        Part(str(fingerprint)[:8], "foreign code", fingerprint),
        entry(_label(cell)),
        entry(cell.direction),
        entry(f"layer {cell.layer}{part}, {cell.site}" + (f", step {cell.step}" if cell.step else "")),
        Part(portion(cell.switched), value=cell.switched.share),
        Part(written(effect.mean), value=effect.mean),
        entry(f"{written(effect.low)} to {written(effect.high)}"),
        entry(effect.n),
        Part(probability(cell.q), value=cell.q),
    ]


def _label(cell: CellSummary) -> str:
    """The experiment, and the hook point where it is not `resid_post`."""
    label = kind_of(cell.experiment).label
    return label if cell.hook == RESID_POST else f"{label}, {POINTS[cell.hook].label}"
