"""The numbers of a page are those of the records' summary."""

import numpy as np
import pytest
from records import make_records, planted
from report_arrays import decoded

from mechpatch.stats import summarise
from mechpatch.views.report.comparison import describe_comparisons
from mechpatch.views.report.grids import describe_grids


def test_means_intervals_and_q_are_those_of_the_summary():
    table = make_records(
        layers=3, thoughts=3, pairs=9, nulls=("self", "other_pair"), incorrect=2, undefined=1, feedback=False
    )
    grids = {(grid["experiment"], grid["donor"]): grid for grid in describe_grids(table, seed=3)}
    for chosen, include in (("correct", False), ("all", True)):
        for cell in summarise(table, 3, include_incorrect=include).cells:
            grid = grids[cell.experiment, cell.donor]
            columns = [list(column) for column in grid["columns"]]
            at = grid["layers"].index(cell.layer) * len(columns) + columns.index([cell.site, cell.step])
            size = len(grid["layers"]) * len(columns)
            assert (at in grid["structural"]) == cell.structural
            found = grid["tables"][chosen]
            for metric, name in (("effect", "effect"), ("kl_divergence", "kl_divergence")):
                for key in ("mean", "low", "high", "n"):
                    expected = getattr(getattr(cell, name), key)
                    expected = np.nan if expected is None else expected
                    value = decoded(found["metrics"][metric][key], size)[at]
                    np.testing.assert_allclose(value, np.float32(expected), rtol=1e-6, err_msg=f"{cell} {key}")
            q = np.nan if cell.q is None else cell.q
            np.testing.assert_allclose(decoded(found["q"], size)[at], np.float32(q), rtol=1e-6)


def test_values_of_pairs_stand_where_they_belong():
    table = make_records(layers=2, thoughts=2, pairs=4, experiments=("position",), landmarks=False)
    (grid,) = describe_grids(table, seed=0)
    values = decoded(grid["values"]["effect"], 16).reshape(4, 2, 2)
    for row in table.to_pylist():
        column = [site for site, _ in grid["columns"]].index(row["site"])
        assert values[row["pair_index"], row["layer"], column] == pytest.approx(row["recovery"], abs=1e-4)
    assert "similarity_clean" not in grid["values"]


def test_what_each_pair_gives_is_told_pair_by_pair():
    effects = {("position", "denoise", "paired", 0, site): values for site, values in
               (("t0", [0.9, 0.1, 0.8]), ("t1", [0.1, 0.2, 0.3]))}  # fmt: skip
    table = planted(effects, neither=[("position", "denoise", "paired", 0, "t1", 2)])
    (grid,) = describe_grids(table, seed=0)
    assert decoded(grid["values"]["outcome"], 6).tolist() == [0, 1, 1, 1, 0, 2]
    assert decoded(grid["values"]["switched"], 6).tolist() == [1, 0, 0, 0, 1, 0]
    assert decoded(grid["values"]["neither"], 6).tolist() == [0, 0, 0, 0, 0, 1]
    means = {name: decoded(grid["tables"]["all"]["metrics"][name]["mean"], 2) for name in ("switched", "neither")}
    assert means["switched"].tolist() == pytest.approx([2 / 3, 0])
    assert means["neither"].tolist() == pytest.approx([0, 1 / 3])


def test_all_pairs_right_need_one_table():
    (grid,) = describe_grids(make_records(pairs=3, experiments=("layer",)), seed=0)
    assert list(grid["tables"]) == ["all"]


def test_experiments_are_compared_within_a_pair():
    table = make_records(layers=3, thoughts=2, pairs=8, incorrect=2)
    found = describe_comparisons(table, seed=0)
    assert {(each["metric"], each["pairs"]) for each in found} == {
        (metric, pairs) for metric in ("effect", "kl_divergence") for pairs in ("correct", "all")
    }
    (effect,) = [each for each in found if (each["metric"], each["pairs"]) == ("effect", "correct")]
    series = {each["name"]: each for each in effect["series"]}
    rows = [row for row in table.to_pylist() if row["both_correct"] and row["layer"] == 1]

    def mean_of(experiment: str, sites: set[str]) -> float:
        picked = [row["recovery"] for row in rows if row["experiment"] == experiment and row["site"] in sites]
        return sum(picked) / 6

    assert series["together"]["mean"][1] == pytest.approx(mean_of("layer", {"all"}))
    assert series["sum"]["mean"][1] == pytest.approx(mean_of("position", {"t0", "t1"}))
    assert series["synergy"]["mean"][1] == pytest.approx(series["together"]["mean"][1] - series["sum"]["mean"][1])
    assert series["relay_end"]["mean"][1] == pytest.approx(mean_of("relay", {"t1"}))
    assert series["cumulative_end"]["mean"] == pytest.approx(series["together"]["mean"])
    assert series["together"]["n"] == [6, 6, 6]


def test_what_is_zero_by_construction_is_not_compared():
    found = describe_comparisons(make_records(layers=3, thoughts=2, pairs=4, feedback=False), seed=0)
    (effect,) = [each for each in found if (each["metric"], each["pairs"]) == ("effect", "all")]
    series = {each["name"]: each for each in effect["series"]}
    assert "relay_end" not in series  # without feedback nothing is handed on
    assert [mean is None for mean in series["together"]["mean"]] == [False, False, True]
    assert series["sum"]["mean"][2] == 0


def test_one_experiment_alone_is_compared_with_nothing():
    assert describe_comparisons(make_records(pairs=3, experiments=("layer",)), seed=0) == []


def test_every_position_of_a_hook_point_with_heads_has_a_map_of_its_own():
    effects = {
        (f"position@z.{head}", "denoise", "paired", layer, site): [0.1 * head + layer, 0.1 * head + layer]
        for head in (0, 1, 2)
        for layer in (0, 1)
        for site in ("t0", "answer")
    }
    table = planted(effects | {("position@kv", "denoise", "paired", 1, "t0"): [0.25, 0.75]})
    grids = {grid["experiment"]: grid for grid in describe_grids(table, seed=0)}
    assert [*grids] == ["position@z:t0", "position@z:answer", "position@kv"]
    assert [grid["label"] for grid in grids.values()] == [
        "Position-wise patching, head output (z), t0",
        "Position-wise patching, head output (z), answer",
        "Position-wise patching, keys and values (kv)",
    ]
    heads = grids["position@z:t0"]
    assert heads["columns"] == [["head 0", 0], ["head 1", 0], ["head 2", 0]]
    mean = decoded(heads["tables"]["all"]["metrics"]["effect"]["mean"], 6)
    assert mean.tolist() == pytest.approx([0, 0.1, 0.2, 1, 1.1, 1.2])
