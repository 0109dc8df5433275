"""Which neurons a page shows: of thousands, those with the strongest cells. Statistics are over all of them."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Int

from mechpatch.catalogue import PAIRED
from mechpatch.points import POINTS
from mechpatch.stats import Cells, groups, select
from mechpatch.stats.cells import Group, at_thoughts
from mechpatch.views.figures.parts import mean_over_pairs

SHOWN = 24  # neurons

Columns = Int[np.ndarray, " _"]


def shown_columns(table: pa.Table, include_incorrect: bool) -> Mapping[Group, Columns]:
    """Of each group, which columns its maps have: all, but of neurons those of the `SHOWN` with the strongest cells.

    A neuron is as strong as its strongest cell: where most pairs switch, or, where equally many do, the larger mean
    effect is. The strongest cell that writes at thoughts alone is among them. Other donors show the same neurons.
    """
    found = groups(table)
    whole = {group: select(table, group, include_incorrect=True) for group in found}
    used = {group: select(table, group, include_incorrect) for group in found if of_neurons(group)}
    kept: dict[Group, Columns] = {}
    for group, cells in whole.items():
        kept[group] = np.arange(len(cells.columns))
        if of_neurons(group):
            ranked = _strongest(used.get(group._replace(donor=PAIRED), used[group]))
            kept[group] = np.array([at for at, column in enumerate(cells.columns) if column.head in ranked])
    return kept


def shown_neurons(table: pa.Table, include_incorrect: bool) -> set[tuple[Group, int | None]]:
    """The neurons that `shown_columns` shows, each with its group."""
    columns = shown_columns(table, include_incorrect)
    laid_out = {group: select(table, group, include_incorrect=True).columns for group in columns if of_neurons(group)}
    return {(group, laid_out[group][at].head) for group in laid_out for at in columns[group]}


def of_neurons(group: Group) -> bool:
    """Whether the cells of a group are those of neurons."""
    return group.hook in POINTS and POINTS[group.hook].of_neurons


def _strongest(cells: Cells) -> set[int | None]:
    """The neurons with the strongest cells."""
    switched, effect = (
        np.nan_to_num(np.where(cells.structural, np.nan, mean_over_pairs(cells.values(name))))
        for name in ("switched", "effect")
    )
    order = np.lexsort((-np.abs(effect).ravel(), -switched.ravel()))
    columns = [cells.columns[int(at) % len(cells.columns)] for at in order]
    first = [column for column in columns if at_thoughts(column.site)][:1]
    return {*[*dict.fromkeys(column.head for column in (*first, *columns))][:SHOWN]}
