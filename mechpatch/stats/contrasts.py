"""Differences between cells, taken pair by pair. Each has an interval, and a test of the difference itself.

Arrays have the axes of `Cells.values`: pair × layer × column.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mechpatch.catalogue import role_of
from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import Estimate, Held, JointTest, SetDifference, Tested
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
    difference: Float[np.ndarray, " pair *cell"], structural: Bool[np.ndarray, "*cell"], seed: int, left_out: int = 0
) -> Contrast:
    """Test the difference in every cell.

    Args:
        structural: cells in which the difference is zero by construction; they are no tests and do not count for q.
        left_out: cells that a screen left out; they count for q, see `benjamini_hochberg`.
    """
    p = sign_flip_p(difference, seed)
    return Contrast(
        interval=bootstrap_mean(difference, seed, LEVEL),
        p=p,
        q=benjamini_hochberg(np.where(structural, np.nan, p), left_out),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Against:
    """One mean for each cell, held against the null donors.

    Attributes:
        own: the mean with its test.
        beyond: the values minus those of each null donor, by name.
        p, q: the joint test that the mean is not zero and is beyond every control; NaN where none was run.
    """

    own: Contrast
    beyond: Mapping[str, Contrast]
    p: Float[np.ndarray, "*cell"]
    q: Float[np.ndarray, "*cell"]

    __repr__ = short_repr


def against(
    values: Float[np.ndarray, " pair *cell"],
    nulls: Mapping[str, Float[np.ndarray, " pair *cell"]],
    structural: Bool[np.ndarray, "*cell"],
    seed: int,
    left_out: int = 0,
) -> Against:
    """Test the mean in every cell, and how far it is beyond that of each null donor, pair by pair.

    Args:
        nulls: the values of each null donor at the same pairs and cells, by name.
        structural, left_out: see `contrast`.
    """
    own = contrast(values, structural, seed, left_out)
    beyond = {donor: contrast(values - other, structural, seed, left_out) for donor, other in nulls.items()}
    sign = np.sign(own.interval.mean)
    tests = [
        np.where(np.sign(each.interval.mean) == sign, each.p, np.where(np.isnan(each.p), np.nan, 1.0))
        for donor, each in beyond.items()
        if role_of(donor) == "control"
    ]
    p = joint_p(tests, own.p)
    return Against(own=own, beyond=beyond, p=p, q=benjamini_hochberg(np.where(structural, np.nan, p), left_out))


def joint_p(tests: Sequence[Float[np.ndarray, "*cell"]], own: Float[np.ndarray, "*cell"]) -> Float[np.ndarray, "*cell"]:
    """p of "`own` and every control's test hold": the largest of them; NaN in cells where no control has a test.

    Each must hold, so the number of controls needs no correction (Berger's intersection–union test).
    """
    if not tests:
        return np.full(own.shape, np.nan)
    stacked = np.stack(tests)
    untested = np.isnan(stacked).all(axis=0)
    return np.where(untested, np.nan, np.maximum(own, np.where(np.isnan(stacked), 0.0, stacked).max(axis=0)))


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


def held_at(found: Against, at: tuple[int, ...]) -> Held:
    """The mean, held against the null donors, for the cell with index `at`."""
    return Held(**_held(found, at))


def set_difference_at(
    found: Against, at: tuple[int, ...], structural: bool, whole: float | None, parts: float | None
) -> SetDifference:
    """What the set in the cell with index `at` does beyond its parts."""
    return SetDifference(**_held(found, at), structural=structural, whole=whole, parts=parts)


def joint_at(p: Float[np.ndarray, "*cell"], q: Float[np.ndarray, "*cell"], at: tuple[int, ...]) -> JointTest | None:
    """A joint test in the cell with index `at`; None where there was nothing to test against."""
    return None if math.isnan(p[at]) else JointTest(p=number(p, at), q=number(q, at))


def _held(found: Against, at: tuple[int, ...]) -> dict[str, Any]:
    return {
        **_numbers(found.own.interval, at),
        "p": number(found.own.p, at),
        "q": number(found.own.q, at),
        "beyond": {donor: tested_at(each, at) for donor, each in found.beyond.items()},
        "beyond_every": joint_at(found.p, found.q, at),
    }


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
