"""Sufficiency beside necessity, on numbers that can be subtracted by hand."""

from typing import Any

import numpy as np
import pytest
from records import make_records, planted

from mechpatch.stats import summarise

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01])


def test_the_two_shares_stand_side_by_side_with_their_difference():
    effects = {
        ("position", "denoise", "paired", 1, "t0"): 0.8 + SPREAD,
        ("position", "noise", "paired", 1, "t0"): 0.3 + SPREAD,
        ("position", "denoise", "paired", 1, "t1"): 0.5 + SPREAD,
        ("position", "noise", "paired", 1, "t1"): 0.5 - SPREAD,
    }
    found: Any = summarise(planted(effects), seed=0).directions
    first, second = found
    assert (first.experiment, first.layer, first.site, first.structural) == ("position", 1, "t0", False)
    assert first.sufficiency.mean == pytest.approx(0.8)
    assert first.necessity.mean == pytest.approx(0.3)
    assert first.difference.mean == pytest.approx(0.5)
    assert first.difference.high - first.difference.low == pytest.approx(0.0, abs=1e-9)  # pair by pair
    assert first.difference.p == pytest.approx(2 / 2**8)
    assert first.difference.q == pytest.approx(4 / 2**8)
    assert second.difference.mean == pytest.approx(0.0, abs=1e-12)
    assert second.difference.low < 0 < second.difference.high


def test_every_experiment_has_both_and_one_direction_alone_has_none():
    names = ("layer", "position", "relay", "cumulative", "leave_one_out", "pairwise", "subset", "window")
    table = make_records(experiments=names, directions=("denoise", "noise"), pairs=3, layers=2, thoughts=2)
    summary = summarise(table, seed=0)
    assert {each.experiment for each in summary.directions} == set(names)
    paired = [cell for cell in summary.cells if (cell.donor, cell.direction) == ("paired", "denoise")]
    assert len(summary.directions) == len(paired)
    assert summarise(make_records(pairs=3, directions=("noise",), experiments=("layer",)), seed=0).directions == ()


def test_effects_stand_beyond_nulls_in_every_experiment_and_direction():
    names = ("layer", "position", "relay", "cumulative", "leave_one_out", "pairwise", "subset", "window")
    nulls = ("self", "other_pair")
    table = make_records(experiments=names, directions=("denoise", "noise"), pairs=8, nulls=nulls, layers=2, thoughts=2)
    paired = [cell for cell in summarise(table, seed=0).cells if cell.donor == "paired"]
    assert {(cell.experiment, cell.direction) for cell in paired} == {
        (name, direction) for name in names for direction in ("denoise", "noise")
    }
    for cell in paired:
        assert list(cell.beyond) == list(nulls)
        assert cell.beyond["self"].mean == pytest.approx(cell.effect.mean)
        assert all(each.n == 8 and each.p is not None for each in cell.beyond.values())


def test_the_effect_minus_a_null_is_tested_pair_by_pair():
    effects = {
        ("layer", "noise", "paired", 1, "all"): 0.8 + SPREAD,
        ("layer", "noise", "noise", 1, "all"): 0.5 + SPREAD,
        ("layer", "noise", "paired", 2, "all"): 0.5 + SPREAD,
        ("layer", "noise", "noise", 2, "all"): 0.5 - SPREAD,
    }
    cells = [cell for cell in summarise(planted(effects), seed=0).cells if cell.donor == "paired"]
    found: Any = [cell.beyond["noise"] for cell in cells]
    sure, unsure = found
    assert sure.mean == pytest.approx(0.3)
    assert (sure.p, sure.q) == (pytest.approx(2 / 2**8), pytest.approx(4 / 2**8))
    assert unsure.q > 0.5
