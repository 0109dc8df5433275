import math

import pyarrow as pa
import pytest
from records import make_records
from run_directories import with_field

from mechpatch.views.report.fields import describe_fields, split


def test_few_values_are_groups_of_their_own_in_their_order():
    assert split([10, 2, 10, None]) == (["2", "10", "none"], [1, 0, 1, 2])
    assert split([True, False]) == (["no", "yes"], [1, 0])
    assert split(["b", "a"]) == (["a", "b"], [1, 0])


def test_many_numbers_are_cut_into_ranges_of_about_equal_size():
    labels, of = split([*range(100), None, math.nan])
    assert labels == ["0 – 24", "25 – 49", "50 – 74", "75 – 99", "none"]
    assert [of[:100].count(group) for group in range(4)] == pytest.approx([25] * 4, abs=1)
    assert of[100] == of[101] == 4


def test_of_many_texts_the_most_frequent_are_kept():
    values = [text for n, text in enumerate("abcdefghijklm") for _ in range(20 - n)]
    labels, of = split(values)
    assert labels == [*"abcdefg", "6 other values"]
    assert of[values.index("m")] == 7


def test_a_field_that_splits_nothing_is_left_out():
    table = with_field(make_records(pairs=4, experiments=("layer",)), "kind", ["x", "y"])  # field.steps is constant
    assert describe_fields(table, [0, 1, 2, 3]) == [{"name": "kind", "groups": ["x", "y"], "of": [0, 1, 0, 1]}]


def test_a_field_that_both_sides_share_is_one_field():
    table = make_records(pairs=4, experiments=("layer",))
    same = with_field(with_field(table, "clean.n", [2, 3]), "corrupted.n", [2, 3])
    apart = with_field(with_field(table, "clean.n", [2, 3]), "corrupted.n", [3, 2])
    assert [field["name"] for field in describe_fields(same, [0, 1, 2, 3])] == ["n"]
    assert [field["name"] for field in describe_fields(apart, [0, 1, 2, 3])] == ["clean.n", "corrupted.n"]


def test_fields_follow_the_pairs_whatever_the_order_of_rows():
    table = with_field(make_records(pairs=4, experiments=("layer",)), "kind", ["x", "y"])
    backwards = table.take(pa.array(range(table.num_rows - 1, -1, -1)))
    assert describe_fields(backwards, [0, 1, 2, 3]) == describe_fields(table, [0, 1, 2, 3])
