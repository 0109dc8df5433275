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


def describe_differences(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """The first study against each other one: {a, b: numbers of the studies, said, pairs: ids, grids}.

    A grid is {hook, experiment, direction, layers, columns, width, structural, metrics}; each metric has the means of a
    and b, and of the difference mean, low, high, n, q and whether it is clear. Without a pair or a cell that both have
    there is no grid, and `said` says why.
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
    return [
        _place(group) | {"metrics": {metric: _metric(cells[metric][key]) for metric in cells}}
        for key, group in cells[HEADLINE].items()
    ]


def _is_shown(cell: ComparedCell, neurons: AbstractSet[tuple[Group, int | None]]) -> bool:
    """Of the effect's cells all, but of neurons those that are shown."""
    group = Group(cell.experiment, cell.direction, cell.donor, cell.hook)
    return cell.donor == PAIRED and (not of_neurons(group) or (group, cell.head) in neurons)


def _place(cells: Sequence[ComparedCell]) -> dict[str, Any]:
    """Where the cells of one grid are: the layers × columns that both runs have, layers outermost."""
    first = cells[0]
    columns = dict.fromkeys(Column(cell.site, cell.step, cell.head) for cell in cells)
    return {
        "hook": first.hook,
        "experiment": first.experiment,
        "direction": first.direction,
        "width": first.width,
        "layers": [*dict.fromkeys(cell.layer for cell in cells)],
        "columns": [column._asdict() for column in columns],
        "structural": [at for at, cell in enumerate(cells) if cell.structural],
    }


def _metric(cells: Sequence[ComparedCell]) -> dict[str, Any]:
    differences = [cell.difference for cell in cells]
    numbers = {name: _array(differences, name) for name in ("mean", "low", "high", "q")}
    counts = np.array([each.n for each in differences], dtype=np.float64)
    return {
        **{side: _array([getattr(cell, side) for cell in cells], "mean") for side in ("a", "b")},
        **numbers,
        "n": compact(counts),
        "clear": compact(np.array([float(not cell.structural and differs(cell.difference)) for cell in cells])),
    }


def _array(estimates: Sequence[Estimate], name: str) -> dict[str, Any]:
    values = (getattr(each, name) for each in estimates)
    return exact(np.array([np.nan if value is None else value for value in values], dtype=np.float64))
