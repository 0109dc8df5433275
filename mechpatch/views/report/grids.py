"""The grids of a study: each metric of every experiment, hook point, direction and donor, by pair and in the mean.

Means, intervals and q come from `mechpatch.stats` with the seed of the run's summary, for the pairs that the unpatched
model answers right and for all pairs.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from mechpatch.catalogue import PAIRED, STORED
from mechpatch.kinds import kind_of
from mechpatch.kinds.cells import spelt
from mechpatch.points import POINTS, RESID_POST
from mechpatch.stats import Cells, bootstrap_mean, groups, select, sign_flip_p
from mechpatch.stats.cells import DERIVED, Group
from mechpatch.stats.estimates import benjamini_hochberg
from mechpatch.views.report.arrays import compact, exact

# In the order of the menu; `effect` is recovery, or what noise destroys.
METRICS = (*DERIVED, *(name for name in STORED if name != "recovery"))
# What null donors carry pair by pair, for splits and single pairs; their means are those of every metric.
OF_NULLS = ("effect", "answer_logprob_change", "kl_divergence", "switched", "neither")
TESTED = "answer_logprob_change"  # defined for every pair, and zero where nothing moved


def describe_grids(table: pa.Table, seed: int) -> list[dict[str, Any]]:
    """One entry for every map, in reading order: layers, columns, structural cells, pairs and metrics.

    A group of records is one map; where its hook point has heads, every position has a map of layers × heads.
    """
    return [grid for group in groups(table) for grid in _describe(table, group, seed)]


def label_of(group: Group, site: str | None = None) -> str:
    """What a map is called: the hook point is named where it is not `resid_post`, the position where it has one."""
    words = [kind_of(group.experiment).label, *([] if group.hook == RESID_POST else [POINTS[group.hook].label])]
    return ", ".join([*words, *([] if site is None else [site])])


def _describe(table: pa.Table, group: Group, seed: int) -> Iterator[dict[str, Any]]:
    cells = select(table, group, include_incorrect=True)
    correct = np.isin(cells.pairs, select(table, group).pairs)
    found = {name: cells.values(name) for name in METRICS if name in DERIVED or name in table.column_names}
    found = {name: values for name, values in found.items() if (~np.isnan(values)).any()}
    chosen = {"all": np.ones_like(correct)} if correct.all() else {"correct": correct, "all": np.ones_like(correct)}
    q = {name: _q(found[TESTED][rows], cells.structural, seed) for name, rows in chosen.items()}
    for key, label, at, columns in _maps(group, cells):
        kept = {
            name: compact(values[:, :, at])
            for name, values in found.items()
            if group.donor == PAIRED or name in OF_NULLS
        }
        if group.donor == PAIRED:
            kept["outcome"] = compact(cells.values("outcome")[:, :, at])
        yield {
            "experiment": key,
            "label": label,
            "direction": group.direction,
            "donor": group.donor,
            "layers": cells.layers.tolist(),
            "columns": columns,
            "structural": np.flatnonzero(cells.structural[:, at]).tolist(),
            "pairs": cells.pairs.tolist(),
            "values": kept,
            "tables": {
                name: {
                    "q": exact(q[name][:, at]),
                    "metrics": _estimates({metric: each[rows][:, :, at] for metric, each in found.items()}, seed),
                }
                for name, rows in chosen.items()
            },
        }


def _maps(group: Group, cells: Cells) -> Iterator[tuple[str, str, list[int], list[list[str | int]]]]:
    """Key, label, indices of the columns, and their (name, step), of each map of a group."""
    key, every = spelt(group.experiment, group.hook, None), range(len(cells.columns))
    if not cells.heads:
        yield key, label_of(group), [*every], [[column.site, column.step] for column in cells.columns]
        return
    for site, step in dict.fromkeys((column.site, column.step) for column in cells.columns):
        at = [index for index in every if cells.columns[index][:2] == (site, step)]
        yield f"{key}:{site}", label_of(group, site), at, [[f"head {cells.columns[index].head}", step] for index in at]


def _q(values: np.ndarray, structural: np.ndarray, seed: int) -> np.ndarray:
    return benjamini_hochberg(np.where(structural, np.nan, sign_flip_p(values, seed)))


def _estimates(values: dict[str, np.ndarray], seed: int) -> dict[str, Any]:
    """Mean, low, high and n of every metric, in one call: drawing the resamples is what takes time."""
    interval = bootstrap_mean(np.stack(list(values.values()), axis=-1), seed)
    return {
        metric: {name: exact(getattr(interval, name)[..., at]) for name in ("mean", "low", "high", "n")}
        for at, metric in enumerate(values)
    }
