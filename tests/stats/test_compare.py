"""Comparisons of cells and of runs, on numbers that can be subtracted by hand."""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import make_records, planted

from mechpatch.errors import SpecError
from mechpatch.stats.compare import compare_cells, compare_runs, unlike_questions
from mechpatch.stats.comparison import Place, parse_place
from mechpatch.stats.values_json import as_json

SPREAD = np.array([-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01])
HERE, THERE = ("position", "denoise", "paired", 1, "t2"), ("position", "denoise", "paired", 1, "t3")


def edited(table: pa.Table, edit) -> pa.Table:
    return pa.Table.from_pylist([edit(row) for row in table.to_pylist()], schema=table.schema)


def test_two_cells_are_compared_pair_by_pair():
    table = planted({HERE: 0.8 + SPREAD, THERE: 0.5 + SPREAD})
    cell: Any = compare_cells(table, parse_place("position:1:t2"), parse_place("position:1:t3")).cells[0]
    assert (cell.a.mean, cell.b.mean) == (pytest.approx(0.8), pytest.approx(0.5))
    assert cell.difference.mean == pytest.approx(0.3)
    assert cell.difference.high - cell.difference.low == pytest.approx(0.0, abs=1e-9)
    assert cell.difference.p == cell.difference.q == pytest.approx(2 / 2**8)
    nats = compare_cells(table, Place("position", 1, "t2"), Place("position", 1, "t3"), metric="answer_logprob_diff")
    assert nats.cells[0].difference.mean == pytest.approx(12 * 0.3)


def test_cells_of_both_directions_and_of_null_donors_can_be_named():
    effects = {
        HERE: 0.8 + SPREAD,
        ("position", "noise", "paired", 1, "t2"): 0.7 + SPREAD,
        ("position", "denoise", "other_pair", 1, "t2"): 0.1 + SPREAD,
    }
    table = planted(effects)
    one = parse_place("position:1:t2")
    for other, difference in (("position:1:t2:noise", 0.1), ("position:1:t2:denoise:other-pair", 0.7)):
        (cell,) = compare_cells(table, one, parse_place(other)).cells
        assert cell.difference.mean == pytest.approx(difference)


def test_cells_of_other_hook_points_and_of_their_heads_can_be_named():
    effects = {
        ("position@attn_out", *HERE[1:]): 0.8 + SPREAD,
        ("position@z.0", *HERE[1:]): 0.6 + SPREAD,
        ("position@z.5", *HERE[1:]): 0.1 + SPREAD,
    }
    table = planted(effects)
    one = parse_place("position@attn_out:1:t2")
    assert parse_place("leave-one-out@attn-out:1:t2").hook == "attn_out"
    for other, difference in (("position@z.0:1:t2", 0.2), ("position@z.5:1:t2", 0.7)):
        (cell,) = compare_cells(table, one, parse_place(other)).cells
        assert cell.difference.mean == pytest.approx(difference)
    for text, message in (
        ("position@z:1:t2", r"without a head; name one, as in position@z\.0"),
        ("position@z.3:1:t2", "heads 0, 5"),
        ("position:1:t2", "it has position@attn_out, position@z$"),
        ("position@attn_out.1:1:t2", "no cell position@attn_out.1:1:t2"),
    ):
        with pytest.raises(SpecError, match=message):
            compare_cells(table, one, parse_place(text))


def test_two_runs_are_compared_at_every_hook_point_and_head():
    a, b = (
        planted({("position@z.0", *HERE[1:]): first + SPREAD, ("position@z.1", *HERE[1:]): 0.1 - SPREAD, HERE: SPREAD})
        for first in (0.8, 0.3)
    )
    found = {(cell.hook, cell.head): cell.difference.mean for cell in compare_runs(a, b).cells}
    assert found == {
        ("resid_post", None): pytest.approx(0.0),
        ("z", 0): pytest.approx(0.5),
        ("z", 1): pytest.approx(0.0),
    }


@pytest.mark.parametrize(
    "text",
    [
        "position",
        "position:1",
        "position:x:t2",
        "position:-1:t2",
        "position:1:",
        ":1:t2",
        "position:1:t2:a:b:c",
        "position@:1:t2",
        "position@z.:1:t2",
        "position@z.x:1:t2",
        "@z:1:t2",
    ],
)
def test_a_cell_that_is_not_spelt_right_is_refused(text: str):
    with pytest.raises(SpecError, match="is not of the form experiment:layer:site"):
        parse_place(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("position:1:t9", "the layers 1 and the sites t2, t3"),
        ("position:7:t2", "the layers 1 and the sites t2, t3"),
        ("relay:1:t2", "it has position$"),
        ("position:1:t2:noise", "position has the direction denoise$"),
        ("position:1:t2:denoise:self", "position has the donors paired$"),
        ("position:1:t2:noise:self", "position has the direction denoise$"),
    ],
)
def test_a_cell_that_was_not_run_is_named(text: str, message: str):
    table = planted({HERE: 0.8 + SPREAD, THERE: 0.5 + SPREAD})
    with pytest.raises(SpecError, match=f"no cell {text}.*{message}"):
        compare_cells(table, parse_place(text), parse_place("position:1:t3"))


def test_two_runs_are_compared_cell_by_cell():
    a = planted({HERE: 0.8 + SPREAD, THERE: 0.5 + SPREAD, ("layer", "denoise", "paired", 1, "all"): 0.9 + SPREAD})
    b = planted({HERE: 0.6 + SPREAD, THERE: 0.5 - SPREAD, ("position", "denoise", "paired", 2, "t2"): 0.1 + SPREAD})
    found = compare_runs(a, b)
    cells: Any = found.cells
    first, second = cells
    assert [getattr(first, name) for name in ("experiment", "direction", "donor", "layer", "site", "step")] == [
        "position", "denoise", "paired", 1, "t2", 0,
    ]  # fmt: skip
    assert first.difference.mean == pytest.approx(0.2)
    assert first.difference.p == pytest.approx(2 / 2**8)
    assert first.difference.q == pytest.approx(4 / 2**8)  # the least of two cells
    assert second.difference.mean == pytest.approx(0.0, abs=1e-12)
    assert second.minimum_detectable_difference > 0.02
    assert (found.only_in_a, found.only_in_b) == (1, 1)
    assert asdict(found.counts) == {"pairs": 8, "only_in_a": 0, "only_in_b": 0, "unlike": 0, "used_a": 8, "used_b": 8}


def test_pairs_are_matched_by_their_id_and_not_by_their_place():
    effects = np.array([0.1, 0.2, 0.4, 0.8, 0.3, 0.5, 0.7, 0.6])
    a = planted({HERE: effects})
    turned = edited(a, lambda row: row | {"pair_index": 7 - row["pair_index"]})
    (cell,) = compare_runs(a, turned).cells
    assert (cell.difference.mean, cell.difference.low, cell.difference.high) == (0.0, 0.0, 0.0)
    assert cell.difference.p == 1.0


def test_a_pair_that_either_run_gets_wrong_is_left_out():
    a = planted({HERE: 0.8 + SPREAD})
    b = edited(a, lambda row: row | {"both_correct": row["pair_index"] > 2})
    found = compare_runs(a, b)
    assert (found.counts.used_a, found.counts.used_b) == (8, 5)
    assert {getattr(found.cells[0], side).n for side in ("a", "b", "difference")} == {5}
    assert compare_runs(a, b, include_incorrect=True).cells[0].difference.n == 8


def test_runs_with_some_pairs_in_common_are_compared_on_those():
    a = planted({HERE: 0.8 + SPREAD})
    shifted = edited(
        planted({HERE: (0.6 + SPREAD)[:6]}), lambda row: row | {"pair_id": f"pair-{row['pair_index'] + 4:03d}"}
    )
    found = compare_runs(a, shifted)
    assert asdict(found.counts) == {"pairs": 4, "only_in_a": 4, "only_in_b": 2, "unlike": 0, "used_a": 4, "used_b": 4}
    (cell,) = found.cells
    assert {getattr(cell, side).n for side in ("a", "b", "difference")} == {4}
    assert cell.difference.mean == pytest.approx(0.2 + SPREAD[4:].mean() - SPREAD[:4].mean())
    # The same numbers as if nobody had run the other pairs.
    assert compare_runs(a, planted({HERE: (0.6 + SPREAD)[:6]})).cells == (
        compare_runs(planted({HERE: (0.8 + SPREAD)[:6]}), planted({HERE: (0.6 + SPREAD)[:6]})).cells
    )
    other = edited(a, lambda row: row | {"pair_id": f"other-{row['pair_id']}"})
    with pytest.raises(SpecError, match=r"no pair in common: the first has pair-000, .* and 5 more, the second other-"):
        compare_runs(a, other)


def test_equal_ids_of_unequal_questions_are_left_out():
    asked = {f"pair-{index:03d}": {"clean question": f"{index}?", "clean answer": 3} for index in range(8)}
    assert unlike_questions(asked, dict(reversed(asked.items()))) == {}
    changed = asked | {"pair-002": {"clean question": "2?", "clean answer": 4}, "more": {"clean question": "?"}}
    unlike = unlike_questions(asked, changed)
    assert unlike == {"pair-002": ["clean answer"]}
    table = planted({HERE: 0.8 + SPREAD})
    found = compare_runs(table, table, unlike=unlike)
    assert (found.counts.pairs, found.counts.unlike) == (7, 1)
    assert found.cells[0].difference.n == 7
    with pytest.raises(SpecError, match="8 ids agree, but what was asked differs: pair-000 in clean answer"):
        compare_runs(table, table, unlike={pair_id: ["clean answer"] for pair_id in asked})


def test_runs_without_a_common_cell_are_refused():
    with pytest.raises(SpecError, match=r"no cell in common: one has position.*the other layer"):
        compare_runs(planted({HERE: SPREAD}), planted({("layer", "denoise", "paired", 1, "all"): SPREAD}))


@pytest.mark.parametrize("metric", ["pair_id", "layer", "both_correct", "no_such"])
def test_a_metric_that_is_no_measured_number_is_refused(metric: str):
    table = planted({HERE: SPREAD})
    with pytest.raises(SpecError, match=f"--metric: '{metric}'.*expected effect, .*switched, .*kl_divergence"):
        compare_runs(table, table, metric)


def test_a_comparison_is_json_without_nan_and_equal_for_equal_seeds():
    a = make_records(pairs=3, undefined=3, nulls=("self",), directions=("denoise", "noise"))
    b = make_records(pairs=3, incorrect=3, nulls=("self",), directions=("denoise", "noise"))
    texts = [json.dumps(as_json(compare_runs(a, b, seed=4)), allow_nan=False) for _ in (0, 1)]
    assert texts[0] == texts[1]
    assert {cell["difference"]["n"] for cell in json.loads(texts[0])["cells"]} == {0}


def test_structural_cells_are_no_tests():
    table = make_records(pairs=8, feedback=False)
    structural = [cell for cell in compare_runs(table, table).cells if cell.structural]
    assert structural
    assert all(cell.difference.q is None for cell in structural)
