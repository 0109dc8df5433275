"""Differences between cells, taken pair by pair. Each has an interval, and a test of the difference itself.

Arrays have the axes of `Cells.values`: pair × layer × column.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import Estimate, SetDifference, Tested
from mechpatch.stats.cells import Cells
from mechpatch.stats.estimates import Interval, benjamini_hochberg, bootstrap_mean, sign_flip_p

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contrast:
    """One difference for each cell, with its test.

    Attributes:
        interval: the mean over pairs with its confidence interval.
        p: the two-sided p value of a sign-flip test of the same values.
        q: the false discovery rate among the cells that were tested together; NaN for cells that were not tested.
    """

    interval: Interval
    p: Float[np.ndarray, "*cell"]
    q: Float[np.ndarray, "*cell"]

    __repr__ = short_repr


def contrast(
    difference: Float[np.ndarray, " pair *cell"], structural: Bool[np.ndarray, "*cell"], seed: int
) -> Contrast:
    """Test the difference in every cell.

    Args:
        structural: cells in which the difference is zero by construction; they are no tests and do not count for q.
    """
    p = sign_flip_p(difference, seed)
    return Contrast(
        interval=bootstrap_mean(difference, seed, LEVEL),
        p=p,
        q=benjamini_hochberg(np.where(structural, np.nan, p)),
    )


def aligned(
    onto: Cells, cells: Cells, values: Float[np.ndarray, "pair layer column"]
) -> Float[np.ndarray, "pair2 layer2 column2"]:
    """Rearrange `values` of `cells` to the pairs, layers and columns of `onto`; NaN where `cells` does not have one."""
    columns = [onto.columns.index(column) if column in onto.columns else -1 for column in cells.columns]
    kept = np.flatnonzero(np.array(columns) >= 0)
    _, to_pair, from_pair = np.intersect1d(onto.pairs, cells.pairs, return_indices=True)
    _, to_layer, from_layer = np.intersect1d(onto.layers, cells.layers, return_indices=True)
    placed = np.full((len(onto.pairs), *onto.structural.shape), np.nan)
    placed[np.ix_(to_pair, to_layer, np.array(columns)[kept])] = values[np.ix_(from_pair, from_layer, kept)]
    return placed


def estimate_at(interval: Interval, at: tuple[int, ...]) -> Estimate:
    """The estimate for the cell with index `at`."""
    return Estimate(**_numbers(interval, at))


def tested_at(found: Contrast, at: tuple[int, ...]) -> Tested:
    """The tested difference for the cell with index `at`."""
    return Tested(**_numbers(found.interval, at), p=number(found.p, at), q=number(found.q, at))


def set_difference_at(found: Contrast, at: tuple[int, ...], structural: bool) -> SetDifference:
    """What the set in the cell with index `at` does beyond its parts."""
    numbers = _numbers(found.interval, at)
    return SetDifference(**numbers, p=number(found.p, at), q=number(found.q, at), structural=structural)


def _numbers(interval: Interval, at: tuple[int, ...]) -> dict[str, Any]:
    return {
        "mean": number(interval.mean, at),
        "low": number(interval.low, at),
        "high": number(interval.high, at),
        "n": int(interval.n[at]),
        "method": str(interval.method[at]),
    }


def number(array: np.ndarray, at: tuple[int, ...]) -> float | None:
    """One number of an array as a Python float; None where it is not finite."""
    value = float(array[at])
    return value if math.isfinite(value) else None
