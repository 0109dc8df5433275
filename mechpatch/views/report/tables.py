"""What the statistics say of every cell, for each choice of pairs and each group of every field.

Nothing is estimated in the page: a reader who splits the pairs looks at another of these tables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.catalogue import is_null
from mechpatch.stats import Cells, CellSummary, bootstrap_mean, groups, select, summarise_cells
from mechpatch.stats.cell_values import Estimate, Share
from mechpatch.stats.cells import DERIVED, Column, Group
from mechpatch.stats.clear import is_clear
from mechpatch.views.report.arrays import compact, exact
from mechpatch.views.report.grids import METRICS
from mechpatch.views.report.studies import Study

TOLD = ("switched", "neither", "effect", "answer_logprob_change", "kl_divergence")  # fields of `CellSummary`
Place = tuple[Group, int, Column]
Table = dict[str, Any]


def describe_tables(study: Study, fields: Sequence[Mapping[str, Any]]) -> list[Table]:
    """One table for each choice of pairs ("correct", "all"), and one for each group of a field.

    Each is {pairs, field, group, grids: one entry for every grid of `describe_grids`, in its order}; a group of a field
    has none for the null donors.

    Args:
        fields: see `describe_fields`.
    """
    return [*_tables(study, fields)]


def _tables(study: Study, fields: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    table, summary = study.table, study.summary
    grids = {group: select(table, group, include_incorrect=True) for group in groups(table)}
    indices = np.unique(table["pair_index"].to_numpy())
    all_correct = summary.counts.both_correct == summary.counts.pairs
    for chosen in ("all",) if all_correct else ("correct", "all"):
        include = chosen == "all"
        known = all_correct or include == summary.include_incorrect
        cells = summary.cells if known else summarise_cells(table, summary.seed, include)
        entries = _entries(grids, cells)
        for entry, group in zip(entries, grids, strict=True):
            entry["metrics"] |= _others(select(table, group, include), None if is_null(group.donor) else summary.seed)
        yield {"pairs": chosen, "field": None, "group": None, "grids": entries}
        # Splits are of the pairs that the summary uses: twice as many tables would take twice as long.
        for at, field in enumerate(fields if known else ()):
            of = np.array(field["of"])
            for number in range(len(field["groups"])):
                part = table.filter(pc.field("pair_index").isin(pa.array(indices[of == number])))
                found = _entries(grids, summarise_cells(part, summary.seed, include))
                # The null donors of a part stand in `beyond`: their own maps would make the page half as long again.
                shown = [None if is_null(group.donor) else entry for entry, group in zip(found, grids, strict=True)]
                yield {"pairs": chosen, "field": at, "group": number, "grids": shown}


def _entries(grids: Mapping[Group, Cells], cells: Sequence[CellSummary]) -> list[Table]:
    found = {_place(cell): cell for cell in cells}
    return [_entry(group, laid_out, found) for group, laid_out in grids.items()]


def _place(cell: CellSummary) -> Place:
    group, column = ([getattr(cell, name) for name in kind._fields] for kind in (Group, Column))
    return Group(*group), cell.layer, Column(*column)


def _entry(group: Group, grid: Cells, found: Mapping[Place, CellSummary]) -> Table:
    """A cell that no pair of this part has is undefined in every array."""
    cells = [found.get((group, int(layer), column)) for layer in grid.layers for column in grid.columns]
    donors = next((tuple(cell.switched.beyond) for cell in cells if cell), ())
    return {
        "metrics": {name: _estimates([cell and getattr(cell, name) for cell in cells]) for name in TOLD},
        "q": _array(cells, attrgetter("q")),
        "clear": {name: compact(_values(cells, partial(is_clear, of=name))) for name in ("switched", "effect")},
        "beyond": {donor: _beyond(cells, donor) for donor in donors},
    }


def _estimates(estimates: Sequence[Estimate | Share | None]) -> Table:
    return {
        "mean": _array(estimates, lambda each: each.share if isinstance(each, Share) else each.mean),
        "low": _array(estimates, attrgetter("low")),
        "high": _array(estimates, attrgetter("high")),
        "n": compact(_values(estimates, attrgetter("n"))),
    }


def _beyond(cells: Sequence[CellSummary | None], donor: str) -> Table:
    """The switches of a null donor beside those of the effect, and the effect minus that of the null donor."""
    tests = [cell and cell.switched.beyond.get(donor) for cell in cells]
    differences = [cell and cell.beyond.get(donor) for cell in cells]
    counts = {name: compact(_values(tests, attrgetter(name))) for name in ("n", "more", "less")}
    shares = {name: _array(tests, attrgetter(name)) for name in ("share", "p", "q")}
    difference = {name: _array(differences, attrgetter(name)) for name in ("mean", "low", "high", "q")}
    return counts | shares | {"difference": difference}


def _others(cells: Cells, seed: int | None) -> Table:
    """Mean and interval of the metrics that a summary has not; without a seed the mean alone.

    One call for all of them: drawing the resamples is what takes time.
    """
    names = [name for name in METRICS if name not in TOLD and (name in DERIVED or name in cells.rows.column_names)]
    values = {name: cells.values(name) for name in names}
    values = {name: each for name, each in values.items() if (~np.isnan(each)).any()}
    if not values:
        return {}
    if seed is None:
        return {metric: _mean(each) for metric, each in values.items()}
    interval = bootstrap_mean(np.stack(list(values.values()), axis=-1), seed)
    return {
        metric: {name: exact(getattr(interval, name)[..., at]) for name in ("mean", "low", "high")}
        | {"n": compact(interval.n[..., at].astype(np.float64))}
        for at, metric in enumerate(values)
    }


def _mean(values: np.ndarray) -> Table:
    """The mean over pairs, with limits that are undefined."""
    known = (~np.isnan(values)).sum(axis=0).astype(np.float64)
    total = np.where(np.isnan(values), 0.0, values).sum(axis=0)
    mean = np.divide(total, known, out=np.full_like(total, np.nan), where=known > 0)
    undefined = exact(np.full_like(mean, np.nan))
    return {"mean": exact(mean), "low": undefined, "high": undefined, "n": compact(known)}


def _array(items: Sequence[Any], read: Callable[[Any], float | None]) -> Table:
    return exact(_values(items, read))


def _values(items: Sequence[Any], read: Callable[[Any], float | None]) -> np.ndarray:
    read_all = (None if item is None else read(item) for item in items)
    return np.array([np.nan if value is None else float(value) for value in read_all])
