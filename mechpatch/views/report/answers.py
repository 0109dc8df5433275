"""Tables of experiments that ask for answers: thoughts taken away, counted and swapped."""

from collections.abc import Sequence
from dataclasses import dataclass

from mechpatch.catalogue import donor_label
from mechpatch.formats import capital
from mechpatch.kinds import kind_of
from mechpatch.kinds.cells import ALL
from mechpatch.points import POINTS
from mechpatch.stats.answers import AnswerCell
from mechpatch.stats.cell_values import Share
from mechpatch.stats.summary_values import Summary
from mechpatch.views.report.parts import Part, Row, entry
from mechpatch.views.words.answers import RUN, maps

CAPTIONS = {
    "necessity": "Pairs that keep their answer when thoughts are taken away, by what is written in their place.",
    "count": "What pairs answer when fewer or more thoughts are rolled out than the model was trained with.",
    "early": "What pairs answer when they are asked after each thought.",
    "swap": "Pairs whose answer follows another question’s thoughts: all at once, its answer; one at a time, the "
    "answer that the own question has with the other’s value of one step. Beside it the same answers with Gaussian "
    "vectors, and pairs that keep their own answer with a question whose value of that step, or whose answer, is "
    "equal.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTable:
    """One table: its file's name, its title, what it shows, and its entries."""

    name: str
    title: str
    caption: str
    heads: Sequence[str]
    rows: Sequence[Row]


def answer_tables(summary: Summary) -> list[AnswerTable]:
    """A table for each experiment that asks for answers, direction and hook point."""
    found = []
    for cells in maps(summary.answers):
        first = cells[0]
        if first.experiment not in CAPTIONS:
            continue
        where = f", {POINTS[first.hook].label}" if first.experiment in ("necessity", "swap") else ""
        heads, rows = {"necessity": _necessity, "swap": _swap}.get(first.experiment, _by_number)(cells)
        found.append(
            AnswerTable(
                name="-".join((first.experiment, first.direction, first.hook)),
                title=f"{kind_of(first.experiment).label}{where}, {RUN[first.direction]} run",
                caption=CAPTIONS[first.experiment],
                heads=heads,
                rows=rows,
            )
        )
    return found


def _necessity(cells: Sequence[AnswerCell]) -> tuple[list[str], list[Row]]:
    donors = list(dict.fromkeys(cell.donor for cell in cells))
    places = dict.fromkeys((cell.layer, cell.site) for cell in cells)
    by_place = {(cell.layer, cell.site, cell.donor): cell for cell in cells}
    rows: list[Row] = [
        [*_place(cells, layer, site), *(_share(by_place.get((layer, site, donor)), "kept") for donor in donors)]
        for layer, site in places
    ]
    return [*_heads(cells, "Thoughts"), *(capital(donor_label(donor)) for donor in donors)], rows


def _by_number(cells: Sequence[AnswerCell]) -> tuple[list[str], list[Row]]:
    rows: list[Row] = [
        [entry(cell.step), _share(cell, "kept"), _share(cell, "switched"), _share(cell, "neither")] for cell in cells
    ]
    return ["Thoughts", "Keep their answer", "Give the other side’s", "Give neither"], rows


def _swap(cells: Sequence[AnswerCell]) -> tuple[list[str], list[Row]]:
    by_place = {(cell.layer, cell.site, cell.step, cell.donor): cell for cell in cells}
    places = dict.fromkeys((cell.layer, cell.site, cell.step) for cell in cells)
    rows: list[Row] = []
    for layer, site, step in sorted(places, key=lambda each: (each[0], each[1] != ALL)):  # thought by thought below
        written, drawn, equal_step, equal_answer = (
            by_place.get((layer, site, step, donor)) for donor in ("other_value", "gaussian", "same_step", "same_value")
        )
        rows.append(
            [
                *_place(cells, layer, site),
                Part("its answer" if site == ALL else f"step {step}", value=step),
                _share(written, "followed"),
                _share(drawn, "followed"),
                _share(equal_step, "kept"),
                _share(equal_answer, "kept"),
            ]
        )
    heads = ("What is followed", "Follow it", "With Gaussian vectors", "Keep: equal step", "Keep: equal answer")
    return [*_heads(cells, "Thought"), *heads], rows


def _heads(cells: Sequence[AnswerCell], thoughts: str) -> list[str]:
    return [*(["Layer"] if POINTS[cells[0].hook].hooks else []), thoughts]


def _place(cells: Sequence[AnswerCell], layer: int, site: str) -> list[Part]:
    named = "all" if site == ALL else site.replace("+", " ")
    return [*([entry(layer)] if POINTS[cells[0].hook].hooks else []), entry(named)]


def _share(cell: AnswerCell | None, name: str) -> Part:
    share: Share | None = None if cell is None else getattr(cell, name)
    if share is None or not share.n:
        return Part("–")
    return Part(share, "share", share.share)
