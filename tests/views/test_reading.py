import json
import re
from collections.abc import Callable

import pyarrow as pa
import pytest
from records import make_records

from mechpatch.stats import summarise
from mechpatch.views.reading import reading


def read(table: pa.Table) -> str:
    return reading(summarise(table, seed=0))


def test_a_planted_effect_is_named_with_its_interval():
    summary = summarise(make_records(layers=8, pairs=30, nulls=("self", "noise"), seed=1), seed=0)
    text = reading(summary)
    best = next(cell for cell in summary["top"] if cell["experiment"] == "layer")
    mean, low, high = (f"{best['effect'][name]:.2f}" for name in ("mean", "low", "high"))
    assert f"layer 4 has the largest clear mean recovery, {mean} of the gap (95 % interval {low} to {high})" in text
    assert "the largest at layer 4, t2" in text
    assert re.search(r"at bot,.* eot and answer no layer has one", text)
    assert "more than with any null donor" in text
    assert "no clear effect anywhere with the run's own vectors and Gaussian noise" in text
    assert "half of it is reached at step 2" in text
    assert 3 <= len(re.findall(r"\.(?= [A-Z]|$)", text)) <= 8


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_null_result_claims_nothing(direction: str):
    text = read(make_records(strength=0.0, spread=0.3, pairs=20, directions=(direction,)))
    assert text.count("has a clear effect") == 4
    assert text.count("no layer has a clear effect") + text.count("no cell has a") + text.count("no step has a") == 4
    assert "20 pairs would show" in text
    assert "No null donors were run" in text


def test_an_effect_that_other_vectors_have_too_is_not_called_more():
    table = make_records(pairs=20)
    rows = table.to_pylist()
    text = read(pa.Table.from_pylist([*rows, *({**row, "donor": "other_pair"} for row in rows)], schema=table.schema))
    assert "which is not clearly more than with vectors of another pair" in text
    assert "Null donors had a clear effect with vectors of another pair in" in text
    assert "more than with any null donor" not in text


def test_an_effect_away_from_the_clean_answer_keeps_its_sign():
    text = read(make_records(pairs=20, strength=-0.5, nulls=("noise",)))
    assert re.search(r"largest clear mean recovery, −0\.\d\d of the gap \(95 % interval −", text)
    assert "more than with any null donor" in text


def test_zeros_by_construction_are_no_findings():
    text = read(make_records(layers=3, thoughts=3, pairs=20, feedback=False, peak=(1, 0)))
    assert "only step 0 has a clear effect" in text
    assert "later steps are zero by construction" in text
    assert "1 of layer-wise patching, 4 of position-wise patching, 7 of relay and 3 of cumulative patching" in text
    assert "construction" not in read(make_records(pairs=20))


def test_few_pairs_make_nothing_clear():
    text = read(make_records(pairs=5))
    assert "fewer than 6 pairs cannot make any effect clear" in text
    assert "largest clear" not in text
    assert "one pair, no interval" in read(make_records(pairs=1))


def test_an_interval_that_includes_zero_is_never_claimed():
    summary = summarise(make_records(pairs=20), seed=0)
    assert "largest clear" in reading(summary)
    for cell in summary["cells"]:
        cell["effect"]["low"] = -0.01
    assert "largest clear" not in reading(summary)


def test_left_out_pairs_are_counted():
    text = read(make_records(pairs=20, incorrect=3, undefined=2))
    assert "answers 17 of 20 pairs right on both sides" in text
    assert "in 2 the gap is too small" in text
    nothing = read(make_records(pairs=3, incorrect=3))
    assert nothing.startswith("The unpatched model answers none of the 3 pairs right")
    assert "effect" not in nothing


def test_a_failed_check_is_a_warning():
    summary = summarise(make_records(pairs=10), seed=0)
    assert "All 4 checks of the records hold." in reading(summary)
    broken = next(check for check in summary["checks"] if check["name"] == "relay_start_is_position_0")
    broken.update(value=0.5, holds=False)
    assert "1 of 4 checks fail, so do not rely on these numbers: relay start is position 0" in reading(summary)


@pytest.mark.parametrize("keep", [lambda row: row["experiment"] == "position", lambda row: row["structural"]])
def test_any_part_of_a_run_can_be_read_from_its_file(keep: Callable[[dict], bool]):
    table = make_records(pairs=8, feedback=False)
    part = pa.Table.from_pylist([row for row in table.to_pylist() if keep(row)], schema=table.schema)
    summary = summarise(part, seed=0)
    assert reading(json.loads(json.dumps(summary))) == reading(summary)
