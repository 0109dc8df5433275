"""The grids of a study: for every experiment, direction and donor, each metric pair by pair."""

from typing import Any

import numpy as np
import pyarrow as pa

from mechpatch.catalogue import PAIRED, STORED
from mechpatch.stats import groups, select
from mechpatch.stats.cells import DERIVED, Cells, Group
from mechpatch.views.report.arrays import compact

# In the order of the menu; `effect` is recovery, or what noise destroys. `kept` is what is neither of the first two.
METRICS = ("switched", "neither", *(name for name in DERIVED if name not in ("switched", "neither", "kept")))
METRICS = (*METRICS, *(name for name in STORED if name != "recovery"))
# What other donors carry pair by pair, for single pairs and their distribution.
OF_NULLS = ("effect", "answer_logprob_change", "kl_divergence")


def describe_grids(table: pa.Table) -> list[dict[str, Any]]:
    """One entry for every group of records, in reading order: layers, columns, structural cells, pairs and values."""
    return [_describe(table, group) for group in groups(table)]


def _describe(table: pa.Table, group: Group) -> dict[str, Any]:
    cells = select(table, group, include_incorrect=True)
    wanted = METRICS if group.donor == PAIRED else OF_NULLS
    names = [name for name in wanted if name in DERIVED or name in table.column_names]
    found = {name: cells.values(name) for name in names if name not in ("switched", "neither")}
    return {
        **group._asdict(),
        "layers": cells.layers.tolist(),
        "columns": [column._asdict() for column in cells.columns],
        "structural": np.flatnonzero(cells.structural).tolist(),
        "width": cells.width,
        "pairs": cells.pairs.tolist(),
        "values": {name: compact(values) for name, values in found.items() if (~np.isnan(values)).any()}
        | {"outcome": compact(cells.values("outcome"))},
        **_said(cells),
    }


def _said(cells: Cells) -> dict[str, Any]:
    """What each pair said after each write: every text once, and the number of each pair's; nothing if not asked."""
    column = cells.rows["said"] if "said" in cells.rows.column_names else None
    if column is None or column.null_count == len(column):
        return {}
    texts = column.combine_chunks().dictionary_encode()
    numbers = np.full((len(cells.pairs), *cells.structural.shape), np.nan)
    numbers.reshape(-1)[cells.address] = texts.indices.to_numpy(zero_copy_only=False)
    return {"texts": texts.dictionary.to_pylist(), "said": compact(numbers)}
