"""The share of pairs that switch, on answers that can be counted by hand."""

import numpy as np
import pytest
from records import make_records, planted
from scipy.stats import binomtest

from mechpatch.stats import CellSummary, Summary, summarise
from mechpatch.stats.switching import mcnemar_p, proportion_limits

D, P = "denoise", "paired"


def moved(switching: int, of: int, to: float = 0.9) -> list[float]:
    """Effects of `of` pairs, the first `switching` of which change the answer."""
    return [to] * switching + [0.1] * (of - switching)


def cell_of(summary: Summary, site: str, donor: str = P, layer: int = 1) -> CellSummary:
    (found,) = [c for c in summary.cells if (c.site, c.donor, c.layer) == (site, donor, layer)]
    return found


@pytest.mark.parametrize(("hits", "n"), [(0, 68), (1, 68), (33, 68), (68, 68), (0, 1), (1, 2)])
def test_limits_are_those_of_clopper_and_pearson(hits: int, n: int):
    expected = binomtest(hits, n).proportion_ci(method="exact")
    low, high = proportion_limits(np.array(hits), np.array(n))
    assert (float(low), float(high)) == pytest.approx((expected.low, expected.high))


def test_nothing_has_its_bound_and_no_pair_has_none():
    low, high = proportion_limits(np.array([0, 0]), np.array([68, 0]))
    assert low.tolist()[:1] == [0.0]
    assert high[0] == pytest.approx(0.053, abs=5e-4)
    assert np.isnan([low[1], high[1]]).all()


@pytest.mark.parametrize(("more", "less"), [(8, 0), (5, 1), (3, 3), (0, 6), (0, 0), (1, 0)])
def test_discordant_pairs_are_tested_exactly(more: int, less: int):
    expected = binomtest(more, more + less).pvalue if more + less else 1.0
    assert float(mcnemar_p(np.array(more), np.array(less))) == pytest.approx(expected)


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_pairs_are_counted_that_change_their_answer(direction: str):
    here = ("position", direction, P, 1, "t0")
    table = planted({here: moved(5, 8), (*here[:2], "other_pair", *here[3:]): moved(1, 8)}, neither=[(*here, 7)])
    entry = cell_of(summarise(table, seed=0), "t0")
    assert (entry.switched.count, entry.switched.n, entry.switched.share) == (5, 8, 5 / 8)
    assert (entry.neither.count, entry.neither.share) == (1, 1 / 8)
    beyond = entry.switched.beyond["other_pair"]
    assert (beyond.share, beyond.more, beyond.less, beyond.p) == (1 / 8, 4, 0, 2 / 2**4)
    assert entry.neither.beyond["other_pair"].more == 1
    assert cell_of(summarise(table, seed=0), "t0", "other_pair").switched.beyond == {}


def test_the_null_is_compared_over_the_pairs_that_had_it():
    here, null = ("position", D, P, 1, "t0"), ("position", D, "same_value", 1, "t0")
    table = planted({here: moved(6, 8), null: moved(0, 4)})
    beyond = cell_of(summarise(table, seed=0), "t0").switched.beyond["same_value"]
    assert (beyond.n, beyond.more, beyond.share) == (4, 4, 0.0)


def test_discoveries_are_those_of_the_map():
    sites = [f"t{at}" for at in range(4)]
    effects = {("position", D, P, 1, site): moved(6 if site == "t0" else 0, 6) for site in sites}
    nulls = {("position", D, "gaussian", 1, site): moved(0, 6) for site in sites}
    found = {site: cell_of(summarise(planted(effects | nulls), seed=0), site).switched for site in sites}
    assert found["t0"].beyond["gaussian"].p == 2 / 2**6
    assert found["t0"].beyond["gaussian"].q == 4 * 2 / 2**6
    assert found["t1"].beyond["gaussian"].q == 1.0
    structural = [("position", D, P, 1, site) for site in sites[1:]]
    alone = cell_of(summarise(planted(effects | nulls, structural=structural), seed=0), "t0")
    assert alone.switched.beyond["gaussian"].q == 2 / 2**6


def test_only_pairs_that_are_right_and_differ_can_switch():
    table = make_records(pairs=9, incorrect=2, layers=2, experiments=("layer",))
    same = {7: "18.0", 8: "18"}  # the clean answer is 18
    answers = [same.get(index, "21") for index in table["pair_index"].to_pylist()]
    table = table.set_column(table.column_names.index("corrupted_answer"), "corrupted_answer", [answers])
    for include in (False, True):
        summary = summarise(table, seed=0, include_incorrect=include)
        assert summary.counts.switchable == 5
        assert {cell.switched.n for cell in summary.cells} == {5}
        assert {cell.effect.n for cell in summary.cells} == {9 if include else 7}


def test_the_best_thought_leads_and_the_others_follow_by_their_switch():
    effects = {
        ("position", D, P, 1, "answer"): moved(8, 8),
        ("position", D, P, 1, "t0"): moved(2, 8, to=3.0),  # a large mean and few switches
        ("position", D, P, 1, "t1"): moved(4, 8, to=0.6),
        ("layer", D, P, 1, "all"): moved(8, 8),
    }
    summary = summarise(planted(effects), seed=0)
    order = [cell.site for cell in summary.top if cell.experiment == "position"]
    assert order == ["t1", "answer", "t0"]
    assert [(cell.experiment, cell.site) for cell in summary.leading()] == [("position", "t1")]
    landmark = summarise(planted({("position", D, P, 1, "answer"): moved(8, 8)}), seed=0)
    assert [cell.site for cell in landmark.leading()] == ["answer"]


def test_equal_switches_are_ranked_by_their_effect():
    effects = {("position", D, P, 1, "t0"): moved(0, 8), ("position", D, P, 1, "t1"): [0.3] * 8}
    assert next(summarise(planted(effects), seed=0).leading()).site == "t1"


def test_each_direction_has_its_leading_cell():
    table = make_records(pairs=6, directions=("denoise", "noise"))
    assert [cell.direction for cell in summarise(table, seed=0).leading()] == ["denoise", "noise"]
    assert [*summarise(table.slice(0, 0), seed=0).leading()] == []
