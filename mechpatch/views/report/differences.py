"""Two runs on one page: at each cell that both have, what the first does beyond the other, pair by pair.

Every other run is compared with the first one that was named, on the pairs that both have and can use. Numbers and
words are those of `mechpatch compare`.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow.compute as pc

from mechpatch.catalogue import PAIRED
from mechpatch.errors import SpecError
from mechpatch.stats.cell_values import Estimate
from mechpatch.stats.cells import Column, Group
from mechpatch.stats.clear import differs
from mechpatch.stats.compare import compare_runs, unlike_questions
from mechpatch.stats.comparison import ComparedCell, RunComparison
from mechpatch.views.report.arrays import compact, exact
from mechpatch.views.report.strongest import of_neurons, shown_neurons
from mechpatch.views.report.studies import Study
from mechpatch.views.report.tables import TOLD
from mechpatch.views.words.comparison import describe_runs

HEADLINE, *OTHERS = TOLD
GROUP = attrgetter("hook", "experiment", "direction")
Grid = list[ComparedCell | None]


def describe_differences(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """The first study against each other one: {a, b: numbers of the studies, said, pairs: ids, grids}.

    A grid is {hook, experiment, direction, layers, columns, width, structural, absent, metrics}; each metric has
    the means of a and b, and of the difference mean, low, high, n, q and whether it is clear. Cells that a screen
    left out of one of the runs are absent. Without a pair or a cell that both have there is no grid, and `said`
    says why.
    """
    return [{"a": 0, "b": number, **_against(studies[0], studies[number])} for number in range(1, len(studies))]


def _against(one: Study, other: Study) -> dict[str, Any]:
    incorrect = one.summary.include_incorrect or other.summary.include_incorrect
    unlike = unlike_questions(one.questions, other.questions)
    tables = [study.table for study in (one, other)]
    effects = [table.filter(pc.field("donor") == PAIRED) for table in tables]

    def compared(metric: str, a: Any, b: Any) -> RunComparison:
        return compare_runs(a, b, metric, one.summary.seed, incorrect, unlike)

    try:
        headline = compared(HEADLINE, *tables)
    except SpecError as error:
        return {"said": [f"{one.name} and {other.name} are not compared: {error}."], "pairs": [], "grids": []}
    found = {HEADLINE: headline} | {metric: compared(metric, *effects) for metric in OTHERS}
    used = [set(_used(study, incorrect)) for study in (one, other)]
    return {
        "said": describe_runs(headline, one.name, other.name),
        "pairs": sorted((used[0] & used[1]) - unlike.keys()),
        "grids": _grids(found, shown_neurons(one.table, incorrect)),
    }


def _used(study: Study, incorrect: bool) -> list[str]:
    """Ids of the pairs that a comparison may use."""
    rows = study.table if incorrect else study.table.filter(pc.field("both_correct"))
    return rows["pair_id"].unique().to_pylist()


def _grids(found: dict[str, RunComparison], neurons: AbstractSet[tuple[Group, int | None]]) -> list[dict[str, Any]]:
    """Args: neurons: those that the page shows of the first run."""
    cells = {
        metric: {
            key: [*group] for key, group in groupby((cell for cell in each.cells if _is_shown(cell, neurons)), GROUP)
        }
        for metric, each in found.items()
    }
    grids = []
    for key, group in cells[HEADLINE].items():
        layers, columns = _axes(group)
        laid_out = {metric: _laid_out(cells[metric][key], layers, columns) for metric in cells}
        metrics = {metric: _metric(each) for metric, each in laid_out.items()}
        grids.append(_place(group[0], layers, columns, laid_out[HEADLINE]) | {"metrics": metrics})
    return grids


def _is_shown(cell: ComparedCell, neurons: AbstractSet[tuple[Group, int | None]]) -> bool:
    """Of the effect's cells all, but of neurons those that are shown."""
    group = Group(cell.experiment, cell.direction, cell.donor, cell.hook)
    return cell.donor == PAIRED and (not of_neurons(group) or (group, cell.head) in neurons)


def _axes(cells: Sequence[ComparedCell]) -> tuple[list[int], list[Column]]:
    """The layers and columns of one grid, of which not every cell need be there: screens leave cells out."""
    sites = {site: at for at, site in enumerate(dict.fromkeys((cell.step, cell.site) for cell in cells))}
    columns = {Column(cell.site, cell.step, cell.head) for cell in cells}
    return (
        sorted({cell.layer for cell in cells}),
        sorted(columns, key=lambda each: (sites[each.step, each.site], each.head or 0)),
    )


def _laid_out(cells: Sequence[ComparedCell], layers: Sequence[int], columns: Sequence[Column]) -> Grid:
    """Each cell of the grid, layers outermost; None for one that both runs do not have."""
    found = {(cell.layer, Column(cell.site, cell.step, cell.head)): cell for cell in cells}
    return [found.get((layer, column)) for layer in layers for column in columns]


def _place(first: ComparedCell, layers: Sequence[int], columns: Sequence[Column], cells: Grid) -> dict[str, Any]:
    """Where the cells of one grid are."""
    return {
        "hook": first.hook,
        "experiment": first.experiment,
        "direction": first.direction,
        "width": first.width,
        "layers": layers,
        "columns": [column._asdict() for column in columns],
        "structural": [at for at, cell in enumerate(cells) if cell and cell.structural],
        "absent": [at for at, cell in enumerate(cells) if cell is None],
    }


def _metric(cells: Grid) -> dict[str, Any]:
    differences = [cell and cell.difference for cell in cells]
    numbers = {name: _array(differences, name) for name in ("mean", "low", "high", "q")}
    counts = np.array([each.n if each else np.nan for each in differences], dtype=np.float64)
    return {
        **{side: _array([cell and getattr(cell, side) for cell in cells], "mean") for side in ("a", "b")},
        **numbers,
        "n": compact(counts),
        "clear": compact(np.array([np.nan if cell is None else float(_is_clear(cell)) for cell in cells])),
    }


def _is_clear(cell: ComparedCell) -> bool:
    return not cell.structural and differs(cell.difference)


def _array(estimates: Sequence[Estimate | None], name: str) -> dict[str, Any]:
    values = (None if each is None else getattr(each, name) for each in estimates)
    return exact(np.array([np.nan if value is None else value for value in values], dtype=np.float64))
