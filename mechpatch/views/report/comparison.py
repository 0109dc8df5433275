"""Experiments against each other, layer by layer: do single thoughts add up, does a chain end where it must?

Each series is one number per pair and layer, so sums and differences are taken within a pair before the mean; synergy
is what all thoughts do together beyond the sum of each alone, in nats: a sum of shares of the gap is no share.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from mechpatch.catalogue import PAIRED
from mechpatch.points import RESID_POST
from mechpatch.stats import Cells, bootstrap_mean, groups, select
from mechpatch.stats.checks import last_step, sum_of_thoughts

Slice = Float[np.ndarray, "pair layer"]
COMPARED = ("effect", "answer_logprob_change", "kl_divergence")
LABELS = {
    "together": "all thoughts at once (layer-wise)",
    "sum": "sum of single thoughts (position-wise)",
    "largest": "largest single thought (position-wise)",
    "synergy": "synergy: all at once − sum",
    "relay_end": "last step of the relay",
    "cumulative_end": "last cumulative step",
}


def describe_comparisons(table: pa.Table, seed: int) -> list[dict[str, Any]]:
    """Series of `resid_post` by layer, for every direction, metric and choice of pairs in which two can be compared.

    Each is {direction, pairs: "correct" | "all", metric, layers, series: {name, label, mean, low, high, n}}.
    """
    paired = [group for group in groups(table) if (group.donor, group.hook) == (PAIRED, RESID_POST)]
    found = []
    for direction in sorted({group.direction for group in paired}):
        for chosen in ("correct", "all"):
            cells = {
                group.experiment: select(table, group, include_incorrect=chosen == "all")
                for group in paired
                if group.direction == direction
            }
            for metric in COMPARED:
                layers, series = _series(cells, metric)
                if len(series) > 1:
                    about = {"direction": direction, "pairs": chosen, "metric": metric}
                    found.append({**about, "layers": layers.tolist(), "series": _estimates(series, seed)})
    return found


def _series(cells: Mapping[str, Cells], metric: str) -> tuple[np.ndarray, dict[str, Slice]]:
    known = {name: each for name, each in cells.items() if name in ("layer", "position", "relay", "cumulative")}
    if not known:
        return np.array([]), {}
    layers = _common([each.layers for each in known.values()])
    pairs = _common([each.pairs for each in known.values()])
    values = {
        name: each.values(metric)[np.isin(each.pairs, pairs)][:, np.isin(each.layers, layers)]
        for name, each in known.items()
    }
    # What is zero by construction at its end is no finding, and has no point.
    structural = {name: each.structural[np.isin(each.layers, layers), -1] for name, each in known.items()}
    series = {}
    if "layer" in values:
        series["together"] = np.where(structural["layer"], np.nan, values["layer"][:, :, 0])
    if "position" in values:
        thoughts = known["position"].thoughts
        if thoughts:
            singles = values["position"][:, :, thoughts]
            series["sum"] = sum_of_thoughts(singles)
            largest = np.where(np.isnan(singles), -np.inf, singles).max(axis=2)
            series["largest"] = np.where(np.isnan(series["sum"]), np.nan, largest)
    if metric == "effect":
        series.pop("sum", None)
    elif metric == "answer_logprob_change" and {"together", "sum"} <= series.keys():
        series.pop("largest")  # of noise all are negative
        series["synergy"] = series["together"] - series["sum"]
    for name in ("relay", "cumulative"):
        if name in values:
            series[f"{name}_end"] = np.where(structural[name], np.nan, last_step(values[name]))
    return layers, {name: each for name, each in series.items() if (~np.isnan(each)).any()}


def _estimates(series: Mapping[str, Slice], seed: int) -> list[dict[str, Any]]:
    interval = bootstrap_mean(np.stack(list(series.values()), axis=-1), seed)
    return [
        {
            "name": name,
            "label": LABELS[name],
            **{key: _plain(getattr(interval, key)[:, at]) for key in ("mean", "low", "high")},
            "n": interval.n[:, at].tolist(),
        }
        for at, name in enumerate(series)
    ]


def _common(arrays: list[np.ndarray]) -> np.ndarray:
    common = arrays[0]
    for array in arrays[1:]:
        common = np.intersect1d(common, array)
    return common


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
