"""The numbers of a page are those of the records' summary."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from records import make_records, planted
from report_arrays import decoded
from run_directories import with_field, write_run

from mechpatch.stats import summarise
from mechpatch.stats.cells import Group
from mechpatch.stats.clear import is_clear
from mechpatch.views.report.comparison import describe_comparisons
from mechpatch.views.report.fields import describe_fields
from mechpatch.views.report.grids import describe_grids
from mechpatch.views.report.studies import Study, read_studies
from mechpatch.views.report.tables import describe_tables


def grids_of(study: Study) -> dict[Group, dict[str, Any]]:
    return {Group(*(grid[name] for name in Group._fields)): grid for grid in describe_grids(study.table)}


def study_of(folder: Path, table: pa.Table) -> Study:
    (study,) = read_studies([write_run(folder / "run", table)])
    return study


def test_every_table_holds_what_a_summary_of_its_pairs_says(tmp_path):
    table = with_field(
        make_records(layers=3, thoughts=3, pairs=9, nulls=("self", "other_pair"), incorrect=2, feedback=False),
        "entry",
        [0, 1],
    )
    study = study_of(tmp_path, table)
    fields = [each for each in describe_fields(table, [*range(9)]) if each["name"] == "entry"]
    tables = describe_tables(study, fields)
    assert [(each["pairs"], each["group"]) for each in tables] == [
        *(("correct", group) for group in (None, 0, 1)),
        ("all", None),
    ]
    for found in tables:
        part = table if found["group"] is None else table.filter(pc.field("field.entry") == found["group"])
        cells = summarise(part, 0, include_incorrect=found["pairs"] == "all").cells
        for entry, (group, grid) in zip(found["grids"], grids_of(study).items(), strict=True):
            if entry is None:
                assert found["group"] is not None
                assert group.donor != "paired"
                continue
            size = len(grid["layers"]) * len(grid["columns"])
            here = [cell for cell in cells if Group(*(getattr(cell, name) for name in Group._fields)) == group]
            assert len(here) == size
            for cell in here:
                column = [(each["site"], each["step"]) for each in grid["columns"]].index((cell.site, cell.step))
                at = grid["layers"].index(cell.layer) * len(grid["columns"]) + column
                assert (at in grid["structural"]) == cell.structural
                expected = {
                    "effect": cell.effect.mean,
                    "kl_divergence": cell.kl_divergence.mean,
                    "switched": cell.switched.share,
                    "neither": cell.neither.share,
                }
                for metric, mean in expected.items():
                    value = decoded(entry["metrics"][metric]["mean"], size)[at]
                    np.testing.assert_allclose(value, np.nan if mean is None else mean, rtol=1e-6)
                for key in ("low", "high"):
                    value = decoded(entry["metrics"]["switched"][key], size)[at]
                    np.testing.assert_allclose(value, getattr(cell.switched, key) or 0.0, rtol=1e-6)
                np.testing.assert_allclose(
                    decoded(entry["q"], size)[at], np.nan if cell.q is None else cell.q, rtol=1e-6
                )
                assert decoded(entry["clear"]["switched"], size)[at] == is_clear(cell)
                assert decoded(entry["clear"]["effect"], size)[at] == is_clear(cell, "effect")
                assert entry["beyond"].keys() == cell.switched.beyond.keys()
                for donor, test in cell.switched.beyond.items():
                    assert decoded(entry["beyond"][donor]["share"], size)[at] == np.float32(test.share)
                    assert decoded(entry["beyond"][donor]["more"], size)[at] == test.more
                    difference = decoded(entry["beyond"][donor]["difference"]["mean"], size)[at]
                    assert difference == pytest.approx(cell.beyond[donor].mean, rel=1e-5)


def test_some_cells_are_clear(tmp_path):
    """The comparison above would hold of a page without a single claim."""
    effects = {
        ("position", "denoise", donor, 0, "t0"): [value] * 8 for donor, value in (("paired", 0.9), ("other_pair", 0.1))
    }
    (whole,) = describe_tables(study_of(tmp_path, planted(effects)), [])
    effect, null = whole["grids"]
    assert (decoded(effect["clear"]["switched"], 1), decoded(effect["clear"]["effect"], 1)) == (1, 1)
    assert (decoded(null["clear"]["switched"], 1), decoded(null["clear"]["effect"], 1)) == (0, 0)


def test_a_cell_that_a_group_has_not_is_undefined_there(tmp_path):
    """Pairs may have unequally many thoughts."""
    table = with_field(make_records(layers=2, thoughts=3, pairs=4, experiments=("position",)), "entry", [0, 1])
    table = table.filter((pc.field("site") != "t2") | (pc.field("field.entry") == 1))
    study = study_of(tmp_path, table)
    fields = [each for each in describe_fields(table, [*range(4)]) if each["name"] == "entry"]
    whole, without, with_all = (each["grids"][0]["metrics"]["effect"]["n"] for each in describe_tables(study, fields))
    assert (decoded(whole, 12) > 0).all()
    assert np.isnan(decoded(without, 12)).sum() == 2
    assert (decoded(with_all, 12) == 2).all()


def test_values_of_pairs_stand_where_they_belong():
    table = make_records(layers=2, thoughts=2, pairs=4, experiments=("position",), landmarks=False)
    (grid,) = describe_grids(table)
    values = decoded(grid["values"]["effect"], 16).reshape(4, 2, 2)
    for row in table.to_pylist():
        column = [column["site"] for column in grid["columns"]].index(row["site"])
        assert values[row["pair_index"], row["layer"], column] == pytest.approx(row["recovery"], abs=1e-4)
    assert "similarity_clean" not in grid["values"]


def test_what_each_pair_gives_is_told_pair_by_pair():
    effects = {("position", "denoise", "paired", 0, site): values for site, values in
               (("t0", [0.9, 0.1, 0.8]), ("t1", [0.1, 0.2, 0.3]))}  # fmt: skip
    table = planted(effects, neither=[("position", "denoise", "paired", 0, "t1", 2)])
    (grid,) = describe_grids(table)
    assert decoded(grid["values"]["outcome"], 6).tolist() == [0, 1, 1, 1, 0, 2]


def test_experiments_are_compared_within_a_pair():
    table = make_records(layers=3, thoughts=2, pairs=8, incorrect=2)
    found = describe_comparisons(table, seed=0)
    assert {(each["metric"], each["pairs"]) for each in found} == {
        (metric, pairs)
        for metric in ("effect", "answer_logprob_change", "kl_divergence")
        for pairs in ("correct", "all")
    }
    (effect,) = [each for each in found if (each["metric"], each["pairs"]) == ("effect", "correct")]
    series = {each["name"]: each for each in effect["series"]}
    rows = [row for row in table.to_pylist() if row["both_correct"] and row["layer"] == 1]

    def mean_of(experiment: str, sites: set[str]) -> float:
        picked = [row["recovery"] for row in rows if row["experiment"] == experiment and row["site"] in sites]
        return sum(picked) / 6

    assert series["together"]["mean"][1] == pytest.approx(mean_of("layer", {"all"}))
    assert not series.keys() & {"sum", "synergy"}  # a sum of shares is no share
    (change,) = [each for each in found if (each["metric"], each["pairs"]) == ("answer_logprob_change", "correct")]
    nats = {each["name"]: each["mean"][1] for each in change["series"]}
    moved = [
        row["answer_logprob_diff"] - row["answer_logprob_diff_corrupted_run"]
        for row in rows
        if row["experiment"] == "position" and row["site"] in ("t0", "t1")
    ]
    assert nats["sum"] == pytest.approx(sum(moved) / 6)
    assert nats["synergy"] == pytest.approx(nats["together"] - nats["sum"])
    assert series["relay_end"]["mean"][1] == pytest.approx(mean_of("relay", {"t1"}))
    assert series["cumulative_end"]["mean"] == pytest.approx(series["together"]["mean"])
    assert series["together"]["n"] == [6, 6, 6]


def test_what_is_zero_by_construction_is_not_compared():
    found = describe_comparisons(make_records(layers=3, thoughts=2, pairs=4, feedback=False), seed=0)
    (effect,) = [each for each in found if (each["metric"], each["pairs"]) == ("effect", "all")]
    series = {each["name"]: each for each in effect["series"]}
    assert "relay_end" not in series  # without feedback nothing is handed on
    assert [mean is None for mean in series["together"]["mean"]] == [False, False, True]
    assert series["largest"]["mean"][2] == 0


def test_one_experiment_alone_is_compared_with_nothing():
    assert describe_comparisons(make_records(pairs=3, experiments=("layer",)), seed=0) == []


def test_a_hook_point_with_heads_has_a_column_for_each(tmp_path):
    effects = {
        (f"position@z.{head}", "denoise", "paired", layer, site): [0.1 * head + layer, 0.1 * head + layer]
        for head in (0, 1, 2)
        for layer in (0, 1)
        for site in ("t0", "answer")
    }
    table = planted(effects | {("position@kv", "denoise", "paired", 1, "t0"): [0.25, 0.75]})
    heads, kv = describe_grids(table)
    assert (heads["hook"], kv["hook"]) == ("z", "kv")
    assert [(each["site"], each["head"]) for each in heads["columns"]] == [
        (site, head) for site in ("t0", "answer") for head in (0, 1, 2)
    ]
    (whole,) = describe_tables(study_of(tmp_path, table), [])
    mean = decoded(whole["grids"][0]["metrics"]["effect"]["mean"], 12)
    assert mean.tolist() == pytest.approx([0, 0.1, 0.2, 0, 0.1, 0.2, 1, 1.1, 1.2, 1, 1.1, 1.2])
