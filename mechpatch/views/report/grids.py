"""The grids of a study: for every experiment, direction and donor, each metric pair by pair."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mechpatch.catalogue import PAIRED, STORED
from mechpatch.stats import groups, select
from mechpatch.stats.cells import DERIVED, Cells, Group
from mechpatch.views.report.arrays import compact
from mechpatch.views.report.strongest import Columns

# In the order of the menu; `effect` is recovery, or what noise destroys. `kept` is what is neither of the first two.
METRICS = ("switched", "neither", *(name for name in DERIVED if name not in ("switched", "neither", "kept")))
METRICS = (*METRICS, *(name for name in STORED if name != "recovery"))
# What other donors carry pair by pair, for single pairs and their distribution.
OF_NULLS = ("effect", "answer_logprob_change", "kl_divergence")


def describe_grids(table: pa.Table, shown: Mapping[Group, Columns] | None = None) -> list[dict[str, Any]]:
    """One entry for every group of records, in reading order: layers, columns, structural cells, pairs and values.

    Args:
        shown: see `shown_columns`; all columns without.
    """
    return [_describe(table, group, None if shown is None else shown[group]) for group in groups(table)]


def _describe(table: pa.Table, group: Group, shown: Columns | None) -> dict[str, Any]:
    cells = select(table, group, include_incorrect=True)
    at = np.arange(len(cells.columns)) if shown is None else shown
    wanted = METRICS if group.donor == PAIRED else OF_NULLS
    names = [name for name in wanted if name in DERIVED or name in table.column_names]
    found = {name: cells.values(name) for name in names if name not in ("switched", "neither")}
    return {
        **group._asdict(),
        "layers": cells.layers.tolist(),
        "columns": [cells.columns[place]._asdict() for place in at],
        "parts": len(cells.heads),
        "structural": np.flatnonzero(cells.structural[:, at]).tolist(),
        "absent": np.flatnonzero(~cells.run[:, at]).tolist(),
        "left_out": cells.left_out,
        "width": cells.width,
        "pairs": cells.pairs.tolist(),
        "values": {name: compact(values[..., at]) for name, values in found.items() if (~np.isnan(values)).any()}
        | {"outcome": compact(cells.values("outcome")[..., at])},
        **_said(cells, at),
    }


def _said(cells: Cells, at: Columns) -> dict[str, Any]:
    """What each pair said after each write: every text once, and the number of each pair's; nothing if not asked."""
    column = cells.rows["said"] if "said" in cells.rows.column_names else None
    if column is None or column.null_count == len(column):
        return {}
    texts = column.combine_chunks().dictionary_encode()
    numbers = np.full((len(cells.pairs), *cells.structural.shape), np.nan)
    numbers.reshape(-1)[cells.address] = texts.indices.to_numpy(zero_copy_only=False)
    return {"texts": texts.dictionary.to_pylist(), "said": compact(numbers[..., at])}
