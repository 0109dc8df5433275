"""One JSON-ready summary of a run, computed from its records alone."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from mechpatch.stats.cells import Cells, Group, groups, select
from mechpatch.stats.checks import checks
from mechpatch.stats.estimates import (
    Interval,
    benjamini_hochberg,
    bootstrap_mean,
    effect_size,
    minimum_detectable_effect,
    paired_difference,
    sign_flip_p,
    standard_deviation,
)

LEVEL = 0.95
TOP = 5
INTERVALS = ("effect", "recovery", "answer_logprob_change", "kl_divergence")


def summarise(table: pa.Table, seed: int, include_incorrect: bool = False, tolerance: float = 1e-3) -> dict[str, Any]:
    """Means, intervals, tests and checks of every cell; nothing in it is NaN or infinite (null instead).

    A cell's `effect` is the share of the clean-corrupted gap that the patch moved: `recovery` for denoise, 1 − recovery
    for noise. `p` tests `answer_logprob_change`, which is defined for every pair; `q` is its false discovery rate among
    the non-structural cells of the same experiment, direction and donor. `beyond` holds the effect minus that of each
    null donor at the same cell, pair by pair.

    Args:
        table: records of one run.
        seed: of the resamples and sign flips.
        include_incorrect: use pairs that the unpatched model gets wrong, too.
        tolerance: largest difference, in nats or logits, between two computations that must agree.

    Raises:
        StorageError: the records lack a column or hold a cell twice.
    """
    found = groups(table)
    laid_out = {group: select(table, group, include_incorrect) for group in found}
    effects = {group: cells.values("effect") for group, cells in laid_out.items()}
    described = [
        cell
        for group, cells in laid_out.items()
        for cell in _describe(group, cells, _differences(group, laid_out, effects, seed), seed)
    ]
    counts = _counts(table, include_incorrect)
    return {
        "counts": counts,
        "note": _note(counts, include_incorrect),
        "include_incorrect": include_incorrect,
        "seed": seed,
        "level": LEVEL,
        "cells": described,
        "top": [cell for group in found if group.donor == "paired" for cell in _top(group, described)],
        "checks": checks(table, include_incorrect, tolerance),
    }


def _counts(table: pa.Table, include_incorrect: bool) -> dict[str, int]:
    """Pairs, those answered right on both sides, those used, and the used ones without a defined recovery."""

    def distinct(rows: pa.Table) -> int:
        return len(rows["pair_index"].unique())

    correct = table.filter(pc.field("both_correct"))
    used = table if include_incorrect else correct
    return {
        "pairs": distinct(table),
        "both_correct": distinct(correct),
        "used": distinct(used),
        "undefined_recovery": distinct(used.filter(pc.field("recovery").is_null(nan_is_null=True))),
    }


def _note(counts: dict[str, int], include_incorrect: bool) -> str | None:
    if counts["used"]:
        return None
    if include_incorrect:
        return "There are no records: nothing was run."
    return (
        f"The unpatched model answers none of the {counts['pairs']} pairs right on both sides, so no mean is given; "
        "pass include_incorrect to use them all the same."
    )


def _describe(group: Group, cells: Cells, beyond: dict[str, Interval], seed: int) -> list[dict[str, Any]]:
    values = {name: cells.values(name) for name in INTERVALS}
    intervals = {name: bootstrap_mean(value, seed, LEVEL) for name, value in values.items()}
    p = sign_flip_p(values["answer_logprob_change"], seed)
    q = benjamini_hochberg(np.where(cells.structural, np.nan, p))
    size = effect_size(values["effect"])
    detectable = minimum_detectable_effect(standard_deviation(values["effect"]), intervals["effect"].n)
    return [
        {
            **group._asdict(),
            "layer": int(layer),
            **column._asdict(),
            "structural": bool(cells.structural[at]),
            **{name: _entry(interval, at) for name, interval in intervals.items()},
            "p": _number(p, at),
            "q": _number(q, at),
            "effect_size": _number(size, at),
            "minimum_detectable_effect": _number(detectable, at),
            "beyond": {donor: _entry(interval, at) for donor, interval in beyond.items()},
        }
        for row, layer in enumerate(cells.layers)
        for at, column in (((row, index), column) for index, column in enumerate(cells.columns))
    ]


def _differences(
    group: Group, laid_out: dict[Group, Cells], effects: dict[Group, np.ndarray], seed: int
) -> dict[str, Interval]:
    """The effect minus that of each null donor, for the cells of `group`; empty for the nulls themselves."""
    if group.donor != "paired":
        return {}
    cells = laid_out[group]
    return {
        null.donor: paired_difference(effects[group], _aligned(cells, other, effects[null]), seed, LEVEL)
        for null, other in laid_out.items()
        if null[:2] == group[:2] and null.donor != "paired"
    }


def _aligned(
    onto: Cells, cells: Cells, values: Float[np.ndarray, "pair layer column"]
) -> Float[np.ndarray, "pair2 layer2 column2"]:
    """`values` of `cells` in the places of `onto`; NaN where `cells` has none."""
    columns = [onto.columns.index(column) if column in onto.columns else -1 for column in cells.columns]
    kept = np.flatnonzero(np.array(columns) >= 0)
    _, to_pair, from_pair = np.intersect1d(onto.pairs, cells.pairs, return_indices=True)
    _, to_layer, from_layer = np.intersect1d(onto.layers, cells.layers, return_indices=True)
    placed = np.full((len(onto.pairs), *onto.structural.shape), np.nan)
    placed[np.ix_(to_pair, to_layer, np.array(columns)[kept])] = values[np.ix_(from_pair, from_layer, kept)]
    return placed


def _top(group: Group, described: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The cells of the group with the largest mean effect either way; zeros by construction are not findings."""
    own = [
        cell
        for cell in described
        if Group(*(cell[name] for name in Group._fields)) == group
        and not cell["structural"]
        and cell["effect"]["mean"] is not None
    ]
    return sorted(own, key=lambda cell: -abs(cell["effect"]["mean"]))[:TOP]


def _entry(interval: Interval, at: tuple[int, int]) -> dict[str, Any]:
    return {
        "mean": _number(interval.mean, at),
        "low": _number(interval.low, at),
        "high": _number(interval.high, at),
        "n": int(interval.n[at]),
        "method": str(interval.method[at]),
    }


def _number(array: np.ndarray, at: tuple[int, int]) -> float | None:
    value = float(array[at])
    return value if math.isfinite(value) else None
