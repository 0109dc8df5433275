"""The largest share of a map: where its interval must be that of one cell, where wider, and that it holds its level."""

import numpy as np
import pytest
from records import planted

from mechpatch.stats import summarise
from mechpatch.stats.maximum import largest_share_limits
from mechpatch.stats.switching import proportion_limits


def draws(shares: list[float], pairs: int, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((pairs, len(shares))) < shares).astype(float)


def alone(values: np.ndarray) -> tuple[float, float]:
    low, high = proportion_limits(np.array(int(values.sum(axis=0).max())), np.array(len(values)))
    return float(low), float(high)


def test_one_cell_has_its_own_interval_and_cells_that_move_together_count_for_less():
    one = draws([0.6], 40, 0)
    assert largest_share_limits(one, 0) == pytest.approx(alone(one))
    together, apart = np.repeat(one, 12, axis=1), draws([0.6] * 12, 40, 0)
    lost = [alone(each)[0] - largest_share_limits(each, 0)[0] for each in (together, apart)]
    assert 0 <= lost[0] < 0.6 * lost[1]


def test_a_cell_that_dominates_has_its_own_interval():
    values = draws([0.9, *[0.05] * 20], 60, 1)
    assert largest_share_limits(values, 0) == pytest.approx(alone(values))


def test_rivals_lower_the_limit_but_never_below_bonferroni():
    values = draws([0.5] * 20, 60, 2)
    low, high = largest_share_limits(values, 0)
    strictest, _ = proportion_limits(np.array(int(values.sum(axis=0).max())), np.array(60), 1 - 0.05 / 20)
    assert strictest <= low < alone(values)[0] - 0.02
    assert high == pytest.approx(alone(values)[1])
    assert largest_share_limits(values, 0) == (low, high)


def test_nothing_keeps_its_bound_and_missing_values_are_no_misses():
    assert largest_share_limits(np.zeros((68, 30)), 0) == pytest.approx((0.0, 0.053), abs=5e-4)
    values = np.ones((10, 2))
    values[4:, 1] = np.nan
    assert largest_share_limits(values, 0)[1] == 1.0


@pytest.mark.parametrize("share", [0.02, 0.5])
def test_it_misses_the_truth_as_rarely_as_promised(share: float):
    found = [draws([share] * 10, 40, seed) for seed in range(150)]
    missed = sum(
        not low <= share <= high for low, high in (largest_share_limits(each, 0, resamples=299) for each in found)
    )
    assert missed <= 15  # of 7.5 expected at most; 17 or more in 0.1 %
    assert sum(alone(each)[0] > share for each in found) > 2 * missed  # the interval of the best cell alone


def test_a_summary_holds_the_best_of_each_map():
    sites = {"t0": 2, "t1": 6, "answer": 8}
    effects = {
        ("position", "denoise", "paired", 1, site): [0.9] * count + [0.1] * (8 - count) for site, count in sites.items()
    }
    effects |= {("layer", "denoise", "paired", 1, "all"): [0.1] * 8}
    structural = [("position", "denoise", "paired", 1, "t2")]
    summary = summarise(planted(effects | {structural[0]: [0.0] * 8}, structural=structural), seed=0)
    layer, position = summary.best
    assert (layer.experiment, layer.cells, layer.share, layer.low) == ("layer", 1, 0.0, 0.0)
    assert (position.site, position.cells, position.share) == ("t1", 2, 0.75)  # neither the answer nor what cannot move
    assert summary.best_of(next(cell for cell in summary.cells if cell.site == "answer")) == position
