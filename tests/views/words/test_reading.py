import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import make_records, planted

from mechpatch.stats import Summary, summarise
from mechpatch.stats.cell_values import Gain
from mechpatch.stats.values_json import as_json, from_json
from mechpatch.views.words.claims import is_clear, near_nulls
from mechpatch.views.words.reading import reading


def read(table: pa.Table) -> str:
    return reading(summarise(table, seed=0))


def test_a_planted_effect_is_named_with_its_interval():
    summary = summarise(make_records(layers=8, pairs=30, nulls=("self", "gaussian"), seed=1), seed=0)
    text = reading(summary)
    best = next(cell for cell in summary.top if cell.experiment == "layer")
    mean, low, high = (f"{getattr(best.effect, name):.2f}" for name in ("mean", "low", "high"))
    assert f"layer 4 has the largest clear mean recovery, {mean} of the gap (95 % interval {low} to {high})" in text
    assert "the largest at layer 4, t2" in text
    assert re.search(r"at bot,.* eot and answer no layer has one", text)
    assert "more than with any null donor" in text
    assert "no clear effect anywhere with the run's own vectors and Gaussian vectors" in text
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
    text = read(make_records(pairs=20, strength=-0.5, nulls=("gaussian",)))
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
    cells = tuple(replace(cell, effect=replace(cell.effect, low=-0.01)) for cell in summary.cells)
    assert "largest clear" not in reading(replace(summary, cells=cells))


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
    checks = tuple(
        replace(check, value=0.5, holds=False) if check.name == "relay_start_is_position_0" else check
        for check in summary.checks
    )
    said = reading(replace(summary, checks=checks))
    assert "1 of 4 checks fail, so do not rely on these numbers: relay start is position 0" in said


@pytest.mark.parametrize("keep", [lambda row: row["experiment"] == "position", lambda row: row["structural"]])
def test_any_part_of_a_run_can_be_read_from_its_file(keep: Callable[[dict], bool]):
    table = make_records(pairs=8, feedback=False)
    part = pa.Table.from_pylist([row for row in table.to_pylist() if keep(row)], schema=table.schema)
    summary = summarise(part, seed=0)
    assert reading(from_json(Summary, json.loads(json.dumps(as_json(summary))))) == reading(summary)


SPREAD = [-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01]  # of 8 pairs
SETS = ("layer", "position", "leave_one_out", "pairwise", "subset", "window")


def around(mean: float, sign: int = 1) -> list[float]:
    return [mean + sign * each for each in SPREAD]


def said_of(effects: dict[tuple[str, str], float]) -> str:
    """Reading of effects by (experiment, site) at layer 1 of the denoise direction."""
    table = planted({(name, "denoise", "paired", 1, site): around(mean) for (name, site), mean in effects.items()})
    return reading(summarise(table, seed=0))


def test_cells_that_are_beyond_every_null_are_counted():
    summary = summarise(make_records(layers=8, pairs=30, nulls=("self", "gaussian"), seed=1), seed=0)
    cells = [c for c in summary.cells if (c.experiment, c.donor) == ("position", "paired") and is_clear(c)]
    sure = sum(not near_nulls(cell) for cell in cells)
    assert 0 < sure < len(cells)
    assert f"have a clear effect ({sure} beyond every null donor)" in reading(summary)
    assert "beyond every null" not in read(make_records(pairs=20))


def test_a_thought_that_is_missed_is_named_and_one_that_is_not_too():
    text = said_of({("layer", "all"): 0.9, ("leave_one_out", "t0"): 0.3, ("leave_one_out", "t1"): 0.9})
    assert "2 of 2 cells have a clear effect, the largest at layer 1 without t1" in text
    assert "most at layer 1 without t0, where 0.60 of the gap is lost (95 % interval 0.60 to 0.60)" in text
    assert "t1 can be left out at every layer without a clear change" in text
    spare = said_of({("layer", "all"): 0.9, ("leave_one_out", "t0"): 0.9, ("leave_one_out", "t1"): 0.9})
    assert "no single one is clearly missed" in spare
    alone = said_of({("leave_one_out", "t0"): 0.3})
    assert "leave_one_out was run without layer, so its lost is not given" in alone
    assert "missed" not in alone


@pytest.mark.parametrize(
    ("both", "said"),
    [
        (0.9, "in 1 they do clearly more than the sum of each alone, most at layer 1, t0 and t1, by 0.40 of the gap"),
        (
            0.3,
            "in 1 they do clearly less than the sum of each alone .*, most at layer 1, t0 and t1, by 0.20 of the gap",
        ),
        (0.5, "nowhere is that clearly more or less than the sum of each alone"),
    ],
)
def test_synergy_is_said_with_its_sign(both: float, said: str):
    text = said_of({("position", "t0"): 0.2, ("position", "t1"): 0.3, ("pairwise", "t0+t1"): both})
    assert "Written two at a time, 1 of 1 cells has a clear effect" in text
    assert re.search(said, text)


def test_a_window_is_praised_only_if_it_beats_every_layer():
    table = planted(
        {
            ("position", "denoise", "paired", 1, "t0"): around(0.2),
            ("position", "denoise", "paired", 2, "t0"): around(0.5),
            ("window", "denoise", "paired", 1, "t0"): around(0.6),
        }
    )
    text = reading(summarise(table, seed=0))
    assert "1 of 1 do clearly more than each of their layers alone, most at layers 1 to 2, t0: 0.25 of the gap" in text
    even = planted(
        {
            ("position", "denoise", "paired", 1, "t0"): around(0.2),
            ("position", "denoise", "paired", 2, "t0"): around(0.6, -1),
            ("window", "denoise", "paired", 1, "t0"): around(0.6),
        }
    )
    assert "no window does clearly more than each of its layers alone" in reading(summarise(even, seed=0))


def test_sufficiency_and_necessity_are_claimed_only_where_they_differ():
    same = read(make_records(pairs=20, directions=("denoise", "noise")))
    assert re.search(r"In \d+ of 76 cells both directions are clear", same)
    assert "nowhere do the two shares clearly differ" in same
    table = planted(
        {
            ("position", "denoise", "paired", 1, "t0"): around(0.8),
            ("position", "noise", "paired", 1, "t0"): around(0.3, -1),
        }
    )
    text = reading(summarise(table, seed=0))
    assert "in 1 the two shares clearly differ, most at position-wise patching, layer 1, t0: 0.80 restored" in text
    assert "0.30 destroyed (difference 0.50, 95 % interval 0.4" in text
    assert "both directions" not in read(make_records(pairs=20))


def test_a_plan_says_what_these_pairs_and_more_would_find():
    summary = summarise(make_records(pairs=24, layers=3), seed=0)
    plan = next(each for each in summary.planning if each.experiment == "position")
    by_pairs = {each.pairs: each for each in plan.detectable}
    text = reading(summary)
    assert f"For planning: 24 pairs find, four times in five, a mean recovery of {by_pairs[24].typical:.2f}" in text
    assert f"60 pairs would find {by_pairs[60].typical:.2f} and {by_pairs[60].worst:.2f}" in text
    assert "For planning" not in read(make_records(pairs=5))


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_sets_without_an_effect_claim_nothing(direction: str):
    table = make_records(strength=0.0, spread=0.3, pairs=20, directions=(direction,), experiments=SETS)
    text = reading(summarise(table, seed=0))
    assert "the others have no clear effect in any cell" in text
    assert text.count("no sites have a clear effect") == 2
    assert "no site has a clear effect" in text
    assert "largest clear" not in text


def test_pairs_in_number_cannot_be_claimed_from_an_interval_alone():
    """The share of false discoveries must agree, for differences as for effects."""
    summary = summarise(make_records(pairs=20, directions=("denoise", "noise"), experiments=SETS), seed=0)
    cells = []
    for cell in summary.cells:
        unsure: dict[str, Any] = {
            name: replace(each, over_every_layer=replace(each.over_every_layer, q=0.2))
            if isinstance(each, Gain)
            else replace(each, q=0.2)
            for name, each in cell.sets.items()
            if each is not None
        }
        cells.append(replace(cell, sets=unsure))
    text = reading(replace(summary, cells=tuple(cells)))
    assert "nowhere is that clearly more or less" in text
    assert "no single one is clearly missed" in text
    assert "no window does clearly more" in text


def test_a_hook_point_and_a_head_are_named_where_they_are_not_the_usual_ones():
    pairs = np.linspace(0.7, 0.9, 8)
    effects = {
        ("position@z.0", "denoise", "paired", 1, "t2"): pairs,
        ("position@z.1", "denoise", "paired", 1, "t2"): 0 * pairs,
        ("position@mlp_out", "denoise", "paired", 1, "t2"): 0.5 * pairs,
    }
    text = read(planted(effects))
    assert "At head output (z): position-wise, 1 of 2 cells has a clear effect" in text
    assert "the largest at layer 1, t2, head 0 of z: 0.80 of the gap" in text
    assert "At MLP output: position-wise, 1 of 1 cells has a clear effect" in text
    assert "head 1 of z" not in text
    usual = read(planted({("position", *at[1:]): values for at, values in effects.items() if "mlp" in at[0]}))
    assert "At " not in usual
    assert "resid_post" not in usual
