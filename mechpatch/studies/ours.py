"""Our figure of a published one, read from the files that its step has left."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mechpatch.errors import SpecError
from mechpatch.kinds import kind_of
from mechpatch.stats.answers import AnswerCell
from mechpatch.stats.cell_values import CellSummary, Share
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.lens import LensCell, summarise_lens
from mechpatch.stats.switching import share_of
from mechpatch.storage.answered import read_answered
from mechpatch.storage.readings import read_reading
from mechpatch.studies.study import Ours, Study

LANDMARKS = ("bot", "eot", "answer")
STEP = "step"  # how the targets of a lens that are values of steps begin


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Our figure.

    Attributes:
        share: with its interval; None where the run has no such cell, and `where` says so.
        where: the cell that was chosen, in words; empty where there was no choice.
    """

    share: Share | None
    where: str = ""


def fingerprint(study: Study, folder: Path) -> str:
    """The model that was run, as the first step with a figure has recorded it. Raises `StorageError`."""
    ours = study.figures[0].ours
    if ours.experiment is None and ours.reading is None:
        return read_answered(folder / f"{ours.step}.json")[0]["--model"]
    return str(FinishedRun(folder / ours.step).spec["model"]["fingerprint"])


def measured(ours: Ours, folder: Path) -> Measured:
    """Read a figure from the folder of a reproduction. Raises `StorageError`: the step has left nothing whole."""
    if ours.reading is not None:
        stored = read_reading(folder / ours.step, ours.reading)
        return read_at(ours, summarise_lens(stored.table).of("clean"))
    if ours.experiment is None:
        _, rows = read_answered(folder / f"{ours.step}.json")
        return Measured(share=share_of([row["right"] for row in rows]))
    summary = FinishedRun(folder / ours.step).summary
    return chosen(ours, (*summary.answers, *summary.cells))


def chosen(ours: Ours, of: Sequence[AnswerCell | CellSummary]) -> Measured:
    """The figure in the cells of a run. Raises `SpecError`: several cells fit a figure that is of one."""
    cells = _cells(ours, of)
    if ours.share == "structural":
        later = [cell for cell in cells if cell.step > 0]
        return Measured(share=share_of([cell.structural for cell in later]) if later else None)
    return _best(ours, [(_share(cell, ours), kind_of(cell.experiment).place(cell)) for cell in cells])


def read_at(ours: Ours, of: Sequence[LensCell]) -> Measured:
    """The figure in the cells of a lens. Raises `SpecError`: several cells fit a figure that is of one."""
    cells = [
        cell
        for cell in of
        if (cell.target == ours.target or (ours.target is None and cell.target.startswith(STEP)))
        and ours.site in (None, cell.site)
        and not (ours.sites == "thoughts" and cell.site in LANDMARKS)
    ]
    return _best(ours, [(cell.hits, f"{cell.target}, {cell.hook}, layer {cell.layer}, {cell.site}") for cell in cells])


def _best(ours: Ours, cells: Sequence[tuple[Share, str]]) -> Measured:
    """The share that is asked for among some, each with its place in words."""
    known = [(share, place) for share, place in cells if share.n]
    if not known:
        return Measured(share=None, where="no pair that counts" if cells else "no such cell in the run")
    if ours.over == "only" and len(known) > 1:
        raise SpecError(f"{len(known)} cells of the run fit {ours}, expected one: it has several hook points or layers")
    sign = -1 if ours.over == "smallest" else 1
    share, place = max(known, key=lambda each: sign * (each[0].share or 0.0))
    return Measured(share=share, where=f"{place}, of {len(known)} cells" if len(known) > 1 else "")


def _share(cell: AnswerCell | CellSummary, ours: Ours) -> Share:
    return getattr(cell, ours.share)


def _cells(ours: Ours, of: Sequence[AnswerCell | CellSummary]) -> Sequence[AnswerCell | CellSummary]:
    return [
        cell
        for cell in of
        if cell.experiment == ours.experiment
        and (ours.share == "structural" or hasattr(cell, ours.share))
        and ours.site in (None, cell.site)
        and ours.donor in (None, cell.donor)
        and not (ours.sites == "thoughts" and cell.site in LANDMARKS)
    ]
