"""What the statistics say of every cell, for each choice of pairs and each group of every field.

Nothing is estimated in the page: a reader who splits the pairs looks at another of these tables.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial, reduce
from operator import and_, attrgetter
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
from mechpatch.views.report.strongest import Columns
from mechpatch.views.report.studies import Study

TOLD = ("switched", "neither", "effect", "answer_logprob_change", "kl_divergence")  # fields of `CellSummary`
Place = tuple[Group, int, Column]
Table = dict[str, Any]


def describe_tables(
    study: Study, fields: Sequence[Mapping[str, Any]], shown: Mapping[Group, Columns] | None = None
) -> list[Table]:
    """One table for each choice of pairs ("correct", "all"), and one for each group of a field.

    Each is {pairs, field, group, grids: one entry for every grid of `describe_grids`, in its order}; a group of a field
    has none for the null donors.

    Args:
        fields: see `describe_fields`.
        shown: the columns that a table has, see `shown_columns`; its tests are over all cells. All without.
    """
    return [*_tables(study, fields, shown or {})]


def _tables(study: Study, fields: Sequence[Mapping[str, Any]], shown: Mapping[Group, Columns]) -> Iterator[Table]:
    table, summary = study.table, study.summary
    grids = {group: select(table, group, include_incorrect=True) for group in groups(table)}
    indices = np.unique(table["pair_index"].to_numpy())
    hidden = {group for group, cells in grids.items() if len(_at(cells, group, shown)) < len(cells.columns)}
    fewer = _without_columns(table, {group: grids[group] for group in hidden}, shown)
    all_correct = summary.counts.both_correct == summary.counts.pairs
    for chosen in ("all",) if all_correct else ("correct", "all"):
        include = chosen == "all"
        known = all_correct or include == summary.include_incorrect
        cells = summary.cells if known else summarise_cells(table, summary.seed, include)
        entries = _entries(grids, cells, shown)
        for entry, group in zip(entries, grids, strict=True):
            laid_out = select(table, group, include)
            seed = None if is_null(group.donor) else summary.seed
            entry["metrics"] |= _others(laid_out, _at(laid_out, group, shown), seed)
        yield {"pairs": chosen, "field": None, "group": None, "grids": entries}
        # Splits are of the pairs that the summary uses: twice as many tables would take twice as long.
        for at, field in enumerate(fields if known else ()):
            of = np.array(field["of"])
            for number in range(len(field["groups"])):
                part = fewer.filter(pc.field("pair_index").isin(pa.array(indices[of == number])))
                found = _entries(grids, summarise_cells(part, summary.seed, include), shown, hidden)
                # The null donors of a part stand in `beyond`: their own maps would make the page half as long again.
                told = [None if is_null(group.donor) else entry for entry, group in zip(found, grids, strict=True)]
                yield {"pairs": chosen, "field": at, "group": number, "grids": told}


def _without_columns(table: pa.Table, hidden: Mapping[Group, Cells], shown: Mapping[Group, Columns]) -> pa.Table:
    """The records without the neurons that the page does not show."""
    for group, cells in hidden.items():
        heads = {cells.columns[place].head for place in shown[group]}
        same = [pc.field(name) == value for name, value in group._asdict().items()]
        kept = pc.field("head").isin(pa.array(sorted(head for head in heads if head is not None)))
        table = table.filter(~reduce(and_, same) | kept)
    return table


def _at(cells: Cells, group: Group, shown: Mapping[Group, Columns]) -> Columns:
    return shown.get(group, np.arange(len(cells.columns)))


def _entries(
    grids: Mapping[Group, Cells],
    cells: Sequence[CellSummary],
    shown: Mapping[Group, Columns],
    untested: Collection[Group] = (),
) -> list[Table]:
    """Args: untested: groups of which `cells` are a part that was picked: over those alone tests would be wrong."""
    found = {_place(cell): cell for cell in cells}
    return [
        _entry(group, laid_out, _at(laid_out, group, shown), found, group not in untested)
        for group, laid_out in grids.items()
    ]


def _place(cell: CellSummary) -> Place:
    group, column = ([getattr(cell, name) for name in kind._fields] for kind in (Group, Column))
    return Group(*group), cell.layer, Column(*column)


def _entry(group: Group, grid: Cells, at: Columns, found: Mapping[Place, CellSummary], tested: bool) -> Table:
    """A cell that no pair of this part has is undefined in every array."""
    columns = [grid.columns[place] for place in at]
    cells = [found.get((group, int(layer), column)) for layer in grid.layers for column in columns]
    donors = next((tuple(cell.switched.beyond) for cell in cells if cell), ())
    return {
        "metrics": {name: _estimates([cell and getattr(cell, name) for cell in cells]) for name in TOLD},
        "q": _array(cells if tested else [None] * len(cells), attrgetter("q")),
        "clear": {
            name: compact(_values(cells, partial(is_clear, of=name)) * tested) for name in ("switched", "effect")
        },
        "beyond": {donor: _beyond(cells, donor, tested) for donor in donors},
    }


def _estimates(estimates: Sequence[Estimate | Share | None]) -> Table:
    return {
        "mean": _array(estimates, lambda each: each.share if isinstance(each, Share) else each.mean),
        "low": _array(estimates, attrgetter("low")),
        "high": _array(estimates, attrgetter("high")),
        "n": compact(_values(estimates, attrgetter("n"))),
    }


def _beyond(cells: Sequence[CellSummary | None], donor: str, tested: bool) -> Table:
    """The switches of a null donor beside those of the effect, and the effect minus that of the null donor."""
    tests = [cell and cell.switched.beyond.get(donor) for cell in cells]
    differences = [cell and cell.beyond.get(donor) for cell in cells]
    counts = {name: compact(_values(tests, attrgetter(name))) for name in ("n", "more", "less")}
    shares = {name: _array(tests, attrgetter(name)) for name in ("share", "p", "q")}
    difference = {name: _array(differences, attrgetter(name)) for name in ("mean", "low", "high", "q")}
    if not tested:
        undefined = exact(np.full(len(cells), np.nan))
        shares, difference = shares | {"q": undefined}, difference | {"q": undefined}
    return counts | shares | {"difference": difference}


def _others(cells: Cells, shown: Columns, seed: int | None) -> Table:
    """Mean and interval of the metrics that a summary has not; without a seed the mean alone.

    One call for all of them: drawing the resamples is what takes time.
    """
    names = [name for name in METRICS if name not in TOLD and (name in DERIVED or name in cells.rows.column_names)]
    values = {name: cells.values(name)[..., shown] for name in names}
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
