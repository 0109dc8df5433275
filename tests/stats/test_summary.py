import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import make_records

from mechpatch.errors import StorageError
from mechpatch.stats import Summary, groups, select, summarise
from mechpatch.stats.cells import Group
from mechpatch.stats.values_json import as_json


def change(table: pa.Table, column: str, value: object, **where: object) -> pa.Table:
    """`table` with `value` in `column` of the rows that are as `where` says."""
    rows = table.to_pylist()
    hits = [row for row in rows if all(row[name] == wanted for name, wanted in where.items())]
    assert hits
    for row in hits:
        row[column] = value
    return pa.Table.from_pylist(rows, schema=table.schema)


def cell(summary: Summary, **where: object) -> Any:
    (found,) = [each for each in summary.cells if all(getattr(each, name) == wanted for name, wanted in where.items())]
    return found


def check(summary: Summary, name: str) -> Any:
    (found,) = [each for each in summary.checks if each.name == name]
    return found


def test_cells_are_laid_out_in_the_order_of_the_sequence():
    table = make_records(layers=3, thoughts=2, pairs=4, incorrect=1)
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    cells = select(shuffled, Group("position", "denoise", "paired"))
    assert [column.site for column in cells.columns] == ["bot", "t0", "t1", "eot", "answer"]
    assert cells.pairs.tolist() == [1, 2, 3]
    row = next(
        row for row in table.to_pylist()
        if (row["experiment"], row["pair_index"], row["layer"], row["site"]) == ("position", 2, 1, "t1")
    )  # fmt: skip
    assert cells.values("recovery")[1, 1, 2] == row["recovery"]
    baseline = row["answer_logprob_diff_corrupted_run"]
    assert cells.values("answer_logprob_change")[1, 1, 2] == row["answer_logprob_diff"] - baseline
    assert len(select(table, Group("position", "denoise", "paired"), include_incorrect=True).pairs) == 4


def test_pairs_with_fewer_thoughts_share_the_columns_of_the_others():
    table = make_records(layers=1, thoughts=3, pairs=2, experiments=("position",))
    rows = [row for row in table.to_pylist() if row["pair_index"] == 0 or row["site"] != "t2"]
    for row in rows:
        if row["pair_index"] == 1 and row["site"] in ("eot", "answer"):
            row["site_index"] -= 1
    cells = select(pa.Table.from_pylist(rows, schema=table.schema), Group("position", "denoise", "paired"))
    assert [column.site for column in cells.columns] == ["bot", "t0", "t1", "t2", "eot", "answer"]
    assert np.isnan(cells.values("recovery")).sum(axis=(0, 1)).tolist() == [0, 0, 0, 1, 0, 0]


def test_a_cell_has_the_mean_of_its_pairs():
    table = make_records(pairs=20, incorrect=2, undefined=3, directions=("denoise", "noise"))
    summary = summarise(table, seed=0)
    rows = [
        row for row in table.to_pylist()
        if (row["experiment"], row["direction"], row["layer"]) == ("layer", "noise", 2) and row["both_correct"]
    ]  # fmt: skip
    recovery = [row["recovery"] for row in rows if row["recovery"] is not None]
    found = cell(summary, experiment="layer", direction="noise", layer=2)
    assert found.recovery.n == 15
    assert found.recovery.mean == pytest.approx(np.mean(recovery))
    assert found.effect.mean == pytest.approx(1 - np.mean(recovery))
    assert found.effect.low == pytest.approx(1 - found.recovery.high)
    moved = [row["answer_logprob_diff"] - row["answer_logprob_diff_clean_run"] for row in rows]
    assert found.answer_logprob_change.mean == pytest.approx(np.mean(moved))
    assert found.answer_logprob_change.n == 18
    assert asdict(summary.counts) == {
        "pairs": 20,
        "both_correct": 18,
        "used": 18,
        "switchable": 18,
        "undefined_recovery": 3,
    }


def test_a_summary_is_json_without_nan_and_equal_for_equal_seeds():
    table = make_records(pairs=2, undefined=2, strength=0.0, nulls=("self",))
    texts = [json.dumps(as_json(summarise(table, seed=seed)), allow_nan=False) for seed in (0, 0)]
    assert texts[0] == texts[1]


BYTES = """
import hashlib, json, sys
sys.path.insert(0, sys.argv[1])
from records import make_records
from mechpatch.stats import summarise
from mechpatch.stats.compare import compare_runs
from mechpatch.stats.values_json import as_json
tables = [
    make_records(layers=3, thoughts=3, pairs=14, incorrect=1, undefined=1, seed=seed, nulls=("other_pair",),
                 experiments=("layer", "position", "pairwise", "window"), directions=("denoise", "noise"))
    for seed in (0, 1)
]
found = [as_json(each) for each in (summarise(tables[0], seed=0), compare_runs(*tables))]
print(hashlib.sha256(json.dumps(found, allow_nan=False).encode()).hexdigest())
"""


def test_equal_runs_give_equal_bytes_in_any_process():
    digests = set()
    for number in ("1", "2"):  # of the hash seed, and of the threads
        environment = os.environ | {
            name: number for name in ("PYTHONHASHSEED", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        }
        command = [sys.executable, "-c", BYTES, str(Path(__file__).parents[1] / "support")]
        digests.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)
    assert len(digests) == 1


def test_a_planted_effect_is_on_top_and_beyond_its_nulls():
    summary = summarise(make_records(layers=8, pairs=40, nulls=("self", "gaussian")), seed=0)
    best: Any = next(each for each in summary.top if each.experiment == "position")
    assert (best.layer, best.site) == (4, "t2")
    assert best.q <= 0.001
    assert best.beyond.keys() == {"self", "gaussian"}
    assert best.beyond["self"].mean == pytest.approx(best.effect.mean)
    assert best.beyond["gaussian"].low > 0
    assert cell(summary, donor="gaussian", experiment="layer", layer=0).beyond == {}


def test_structural_cells_are_no_tests_and_never_on_top():
    summary = summarise(make_records(feedback=False, strength=0.0, pairs=10), seed=0)
    structural = [each for each in summary.cells if each.structural]
    assert structural
    assert all(each.q is None for each in structural)
    assert not any(each.structural for each in summary.top)


def test_without_a_pair_that_is_answered_right_the_summary_says_so():
    table = make_records(pairs=3, incorrect=3)
    summary = summarise(table, seed=0)
    assert "none of the 3 pairs" in str(summary.note)
    assert summary.top == ()
    assert {each.effect.n for each in summary.cells} == {0}
    asked = summarise(table, seed=0, include_incorrect=True)
    assert asked.note is None
    assert asked.counts.used == 3
    empty = summarise(table.slice(0, 0), seed=0)
    assert (empty.cells, empty.checks) == ((), ())


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("cumulative_end_is_layer_wise", {"experiment": "cumulative", "layer": 1, "step": 4}),
        ("cumulative_start_is_position_0", {"experiment": "cumulative", "layer": 1, "step": 0}),
        ("relay_start_is_position_0", {"experiment": "relay", "layer": 1, "step": 0}),
        ("structural_cells_unmoved", {"experiment": "relay", "layer": 1, "step": 2}),
        ("self_donor_moves_nothing", {"donor": "self", "experiment": "position", "layer": 1, "site": "t1"}),
    ],
)
def test_an_identity_holds_until_one_value_breaks_it(name: str, where: dict):
    table = make_records(pairs=5, feedback=False, nulls=("self",))
    assert check(summarise(table, seed=0), name).holds
    broken = check(summarise(change(table, "answer_logprob_diff", 99.0, pair_index=3, **where), seed=0), name)
    assert broken.holds is False
    assert broken.value > 80


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("pair_of_first_thoughts_is_cumulative_1", {"experiment": "pairwise", "layer": 1, "site": "t0+t1"}),
        ("leaving_out_the_last_is_cumulative", {"experiment": "leave_one_out", "layer": 1, "site": "t4"}),
    ],
)
def test_sets_that_write_alike_agree_until_one_value_breaks_it(name: str, where: dict):
    table = make_records(pairs=5, experiments=("cumulative", "pairwise", "leave_one_out"), spread=0.0, redundant=False)
    assert check(summarise(table, seed=0), name).holds
    assert check(summarise(change(table, "answer_logprob_diff", 99.0, pair_index=3, **where), seed=0), name).value > 80


def test_a_baseline_that_differs_between_experiments_is_noticed():
    table = make_records(pairs=5)
    assert check(summarise(table, seed=0), "baselines_agree").value == 0.0
    broken = change(table, "answer_logit_diff_clean_run", 0.0, experiment="relay", pair_index=1)
    assert check(summarise(broken, seed=0), "baselines_agree").holds is False


def test_relations_are_reported_without_a_verdict():
    table = make_records(layers=6, pairs=20)
    summary = summarise(table, seed=0)
    ratio = check(summary, "kl_sum_of_positions_over_all_positions")
    assert (ratio.kind, ratio.holds, ratio.tolerance) == ("reported", None, None)
    rows = [row for row in table.to_pylist() if row["layer"] == 2]
    single = sum(row["kl_divergence"] for row in rows if row["experiment"] == "position" and row["site"][0] == "t") / 20
    assert ratio.per_layer[2].sum_of_positions == pytest.approx(single)
    assert check(summary, "rank_correlation_of_layers_layer_position").value > 0.8
    constant = summarise(make_records(layers=6, strength=0.0, spread=0.0), seed=0)
    assert check(constant, "rank_correlation_of_layers_layer_position").value is None
    # The last of three layers cannot move layer-wise, and two are too few to rank.
    blocked = summarise(make_records(layers=3, feedback=False), seed=0)
    assert check(blocked, "rank_correlation_of_layers_layer_position").value is None


def test_thoughts_that_a_pair_does_not_have_add_nothing_to_its_divergence():
    table = make_records(layers=1, thoughts=3, pairs=4, experiments=("layer", "position"), landmarks=False)
    rows = table.to_pylist()
    for row in rows:
        row["kl_divergence"] = 6.0 if row["experiment"] == "layer" else 2.0
    rows = [row for row in rows if row["pair_index"] != 3 or row["site"] != "t2"]  # one pair has two thoughts
    ratio = check(
        summarise(pa.Table.from_pylist(rows, schema=table.schema), seed=0), "kl_sum_of_positions_over_all_positions"
    )
    assert ratio.value == pytest.approx((3 * 6 + 4) / (4 * 6))


def test_damaged_records_are_refused():
    table = make_records(pairs=2, experiments=("layer",))
    with pytest.raises(StorageError, match="lack the columns site"):
        groups(table.drop_columns(["site"]))
    with pytest.raises(StorageError, match="16 rows for 8 cells"):
        summarise(pa.concat_tables([table, table]), seed=0)
    with pytest.raises(StorageError, match="no column 'recovery_rate'"):
        select(table, Group("layer", "denoise", "paired")).values("recovery_rate")
