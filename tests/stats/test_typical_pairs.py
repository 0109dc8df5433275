"""Which pairs are shown where nobody named any: a typical one that switches, then one that fails; never an extreme."""

import pyarrow as pa
import pytest
from records import make_records, planted

from mechpatch.stats import summarise
from mechpatch.stats.typical_pairs import Choice, typical_pairs

CELL = ("position", "denoise", "paired", 1, "t1")
OTHER = ("position", "denoise", "paired", 0, "t0")


def chosen(records: pa.Table, count: int) -> list[Choice]:
    return typical_pairs(records, next(iter(summarise(records, 0).leading()), None), count)


def test_the_median_pair_that_switches_comes_first_and_then_a_failure():
    # Pair 3 moves most and switches; at another cell pair 0 moves furthest of all, to no answer.
    records = planted(
        {CELL: [0.1, 0.7, 0.9, 3.0, 0.2, 0.8, 0.3], OTHER: [9.0, 0, 0, 0, 0, 0, 0]}, neither=[(*OTHER, 0)]
    )
    first, failure, third, fourth, *rest = chosen(records, 99)
    assert [each.index for each in (first, failure, third, fourth)] == [5, 4, 1, 0]
    assert [each.index for each in rest] == [2, 6, 3]
    assert {each.cell for each in (first, failure, *rest)} == {(1, "t1")}
    assert first.why == (
        "the median one of the 4 pairs that give the clean answer after the write at layer 1, t1; its answer moves by "
        "+9.6 nats"
    )
    assert failure.why.startswith("the median one of the 3 pairs that could give the clean answer")
    assert third.why.startswith("one near the median of the 4 pairs")
    assert chosen(records, 1) == [first]


def test_a_single_pair_is_no_median():
    first, failure = chosen(planted({CELL: [0.9, 0.1]}), 99)
    assert first.why.startswith("the only pair that gives the clean answer after the write at layer 1, t1; its answer")
    assert failure.why.startswith(
        "the only pair that could give the clean answer after the write at layer 1, t1 and does"
    )


def test_where_no_pair_switches_the_one_that_moves_most_is_shown_and_it_is_said():
    records = planted({CELL: [0.1, 0.3, 0.2], OTHER: [0.4, 0.0, 0.0]})
    first, second, _ = chosen(records, 3)
    assert (first.index, second.index, first.cell) == (0, 1, None)
    assert first.why.startswith("an example, for no pair gives the clean answer after the write at layer ")
    assert first.why.endswith("its answer moves furthest of all pairs, by up to 4.8 nats at one cell")
    assert second.why.endswith("; its answer moves by up to 3.6 nats at one cell")  # not furthest
    wrong = records.set_column(
        records.column_names.index("both_correct"),
        "both_correct",
        pa.array([row["pair_index"] > 0 for row in records.to_pylist()]),
    )
    assert "furthest of the pairs that are answered right, by up to 3.6 nats" in chosen(wrong, 1)[0].why


@pytest.mark.parametrize("structural", [False, True])
def test_where_none_could_switch_it_is_said(structural: bool):
    if structural:
        records = planted({CELL: [0.0, 0.0]}, structural=[CELL])
        assert chosen(records, 1) == []
        return
    wrong = make_records(pairs=6, experiments=("position",), nulls=("gaussian",), incorrect=6).to_pandas()
    wrong["answer_logprob_diff"] = wrong["answer_logprob_diff_corrupted_run"]
    paired = (wrong.donor == "paired") & (wrong.site == "t1") & (wrong.layer == 2)
    for index, moved in {2: 3.0, 4: -7.0, 5: 5.0}.items():
        wrong.loc[paired & (wrong.pair_index == index), "answer_logprob_diff"] += moved
    wrong.loc[(wrong.donor == "gaussian") & (wrong.pair_index == 3), "answer_logprob_diff"] += 50
    found = chosen(pa.Table.from_pandas(wrong), 3)
    assert [each.index for each in found] == [4, 5, 2]
    assert found[0].why.startswith("an example, for nothing can be told of any cell; its answer moves furthest")
