from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from records import make_records, planted
from scipy import stats

from mechpatch.stats import summarise


def test_the_plan_says_what_so_many_pairs_would_find():
    narrow, wide = np.array([-0.1, 0.1] * 10), np.array([-0.3, 0.3] * 10)
    effects = {
        ("layer", "denoise", "paired", 0, "all"): 0.5 + narrow,
        ("layer", "denoise", "paired", 1, "all"): 0.5 + narrow,
        ("layer", "denoise", "paired", 2, "all"): 0.5 + wide,
        ("layer", "denoise", "paired", 3, "all"): [0.0] * 20,
    }
    (plan,) = summarise(planted(effects, structural=[("layer", "denoise", "paired", 3, "all")]), seed=0).planning
    assert (plan.experiment, plan.direction, plan.cells) == ("layer", "denoise", 3)
    assert asdict(plan.spread) == {
        "typical": pytest.approx(0.1 * (20 / 19) ** 0.5),
        "worst": pytest.approx(0.3 * (20 / 19) ** 0.5),
    }
    assert [each.pairs for each in plan.detectable] == [20, 10, 20, 30, 60, 100, 200, 500]
    by_pairs = {each.pairs: each for each in plan.detectable}
    for name, alpha in (("typical", 0.05), ("worst", 0.05 / 3)):
        shift = getattr(by_pairs[60], name) / getattr(plan.spread, name) * 60**0.5
        found = 1 - stats.nct.cdf(stats.t.ppf(1 - alpha / 2, 59), 59, shift)
        assert found == pytest.approx(0.8, abs=1e-4)
    falling: list[Any] = [by_pairs[pairs].worst for pairs in (10, 20, 30, 60, 100, 200, 500)]
    assert falling == sorted(falling, reverse=True)


def test_without_a_spread_there_is_no_plan():
    assert summarise(make_records(pairs=1), seed=0).planning == ()
    assert summarise(make_records(pairs=4, strength=0.0, spread=0.0), seed=0).planning == ()
