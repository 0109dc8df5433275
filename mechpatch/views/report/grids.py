"""The grids of a study: for every experiment, direction and donor, each metric pair by pair and in the mean.

Means, intervals and q come from `mechpatch.stats` with the seed of the run's summary, for the pairs that the unpatched
model answers right and for all pairs.
"""

from typing import Any

import numpy as np
import pyarrow as pa

from mechpatch.catalogue import PAIRED, STORED
from mechpatch.stats import bootstrap_mean, groups, select, sign_flip_p
from mechpatch.stats.cells import DERIVED
from mechpatch.stats.estimates import benjamini_hochberg
from mechpatch.views.report.arrays import compact, exact

# In the order of the menu; `effect` is recovery, or what noise destroys.
METRICS = (*DERIVED, *(name for name in STORED if name != "recovery"))
# What null donors carry pair by pair, for splits and single pairs; their means are those of every metric.
OF_NULLS = ("effect", "answer_logprob_change", "kl_divergence", "switched", "neither")
TESTED = "answer_logprob_change"  # defined for every pair, and zero where nothing moved


def describe_grids(table: pa.Table, seed: int) -> list[dict[str, Any]]:
    """One entry for every group of records, in reading order: layers, columns, structural cells, pairs and metrics."""
    return [_describe(table, group, seed) for group in groups(table)]


def _describe(table: pa.Table, group: Any, seed: int) -> dict[str, Any]:
    cells = select(table, group, include_incorrect=True)
    correct = np.isin(cells.pairs, select(table, group).pairs)
    found = {name: cells.values(name) for name in METRICS if name in DERIVED or name in table.column_names}
    found = {name: values for name, values in found.items() if (~np.isnan(values)).any()}
    chosen = {"all": np.ones_like(correct)} if correct.all() else {"correct": correct, "all": np.ones_like(correct)}
    return {
        **group._asdict(),
        "layers": cells.layers.tolist(),
        "columns": [list(column) for column in cells.columns],
        "structural": np.flatnonzero(cells.structural).tolist(),
        "pairs": cells.pairs.tolist(),
        "values": {name: compact(values) for name, values in found.items() if group.donor == PAIRED or name in OF_NULLS}
        | ({"outcome": compact(cells.values("outcome"))} if group.donor == PAIRED else {}),
        "tables": {
            name: {
                "q": exact(_q(found[TESTED][rows], cells.structural, seed)),
                "metrics": _estimates({metric: values[rows] for metric, values in found.items()}, seed),
            }
            for name, rows in chosen.items()
        },
    }


def _q(values: np.ndarray, structural: np.ndarray, seed: int) -> np.ndarray:
    return benjamini_hochberg(np.where(structural, np.nan, sign_flip_p(values, seed)))


def _estimates(values: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """Mean, low, high and n of every metric, in one call: drawing the resamples is what takes time."""
    interval = bootstrap_mean(np.stack(list(values.values()), axis=-1), seed)
    return {
        metric: {name: exact(getattr(interval, name)[..., at]) for name in ("mean", "low", "high", "n")}
        for at, metric in enumerate(values)
    }
