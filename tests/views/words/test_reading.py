"""What each experiment says, of records in which it is true and of records in which it is not."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import make_records, planted

from mechpatch.stats import Summary, summarise
from mechpatch.stats.cell_values import Gain
from mechpatch.stats.clear import is_clear
from mechpatch.stats.values_json import as_json, from_json
from mechpatch.views.words.reading import reading

SETS = ("layer", "position", "leave_one_out", "pairwise", "subset", "window")
SPREAD = [-0.02, -0.01, 0.0, 0.01, 0.02, 0.0, 0.01, -0.01]  # of 8 pairs


def read(table: pa.Table) -> str:
    return reading(summarise(table, seed=0))


def around(mean: float, sign: int = 1) -> list[float]:
    return [mean + sign * each for each in SPREAD]


def with_control(effects: Mapping[tuple[str, str, int, str], list[float]], control: float | None = 0.0) -> pa.Table:
    """Records of effects by (experiment, direction, layer, site), beside a control that moves so much everywhere."""
    table = {(name, direction, "paired", layer, site): each for (name, direction, layer, site), each in effects.items()}
    if control is not None:
        beside = around(control, -1)
        table |= {(name, direction, "other_pair", layer, site): beside for name, direction, layer, site in effects}
    return planted(table)


def said_of(effects: dict[tuple[str, str], float], control: float | None = 0.0) -> str:
    """Reading of effects by (experiment, site) at layer 1 of the denoise direction."""
    found = {(name, "denoise", 1, site): around(mean) for (name, site), mean in effects.items()}
    return read(with_control(found, control))


def test_a_planted_effect_is_named_with_its_interval_and_its_number_of_cells():
    summary = summarise(make_records(layers=4, pairs=20, nulls=("self", "gaussian"), seed=1), seed=0)
    text = reading(summary)
    best = next(cell for cell in summary.top if cell.experiment == "layer")
    mean, low, high = (f"{getattr(best.effect, name):.2f}" for name in ("mean", "low", "high"))
    (single,) = (each for each in summary.best if each.experiment == "layer")
    reached = f"100 % of 20 pairs (95 % interval {100 * single.low:.0f} % to 100 %, of the best of 4 cells)"
    assert f"Layer-wise, the switch is clear in 1 of 4 cells, most at layer 2: {reached}" in text
    assert f"the largest at layer 2: {mean} of the gap (95 % interval for that cell alone, {low} to {high})" in text
    clear = [c for c in summary.cells if c.experiment == "position" and is_clear(c, "effect")]
    assert f"the mean recovery is clear in {len(clear)} of 32 cells, the largest at layer 2, t2" in text
    assert re.search(r"at bot,.* eot and answer nothing is clear", text)
    assert "half of that largest mean is reached at step 2" in text


@pytest.mark.parametrize("direction", ["denoise", "noise"])
def test_a_null_result_claims_nothing(direction: str):
    table = make_records(
        strength=0.0, spread=0.3, pairs=20, layers=2, directions=(direction,), nulls=("other_pair",), seed=3,
        experiments=("layer", "position", "relay", "cumulative", *SETS[2:]),
    )  # fmt: skip
    text = read(table)
    assert "is clear in" not in text
    assert text.count("no pair switches (0 of 20 in each of") == 8
    assert text.count(f"no mean {'recovery' if direction == 'denoise' else 'destruction'} is clear") == 8
    assert "last step" not in text
    assert "20 pairs would show" in text


def test_without_a_control_nothing_is_claimed_of_any_experiment():
    table = make_records(pairs=12, layers=2, experiments=("layer", "position", "relay", "cumulative", *SETS[2:]))
    text = read(table)
    assert "is clear in" not in text
    assert "last step" not in text
    assert "clearly more than each of their layers" not in text
    assert re.search(r"no switch is clear: at most \d+ % of 12 pairs", text)
    assert "No control was run" in text


def test_an_effect_that_other_vectors_have_too_is_not_claimed():
    table = make_records(pairs=12, layers=2, experiments=("layer", "relay"))
    rows = table.to_pylist()
    text = read(pa.Table.from_pylist([*rows, *({**row, "donor": "other_pair"} for row in rows)], schema=table.schema))
    assert "is clear in" not in text
    assert "that is not clearly more than with vectors of another pair (a difference of 0.00)" in text
    assert "last step" not in text


def test_an_effect_away_from_the_clean_answer_keeps_its_sign():
    text = said_of({("layer", "all"): -0.5})
    assert re.search(r"the largest at layer 1: −0\.50 of the gap \(95 % interval for that cell alone, −", text)


def test_the_last_step_of_the_relay_needs_a_control():
    steps = {("relay", f"t{step}"): mean for step, mean in enumerate((0.9, 0.6, 0.3, 0.0))}
    assert "the last step at which anything is clear is 2 of 0 to 3, at layer 1" in said_of(steps)
    assert "the last step" not in said_of(steps, None)
    assert "is clear is 1 of 0 to 3" in said_of(steps, 0.3)


def test_zeros_by_construction_are_no_findings():
    text = read(make_records(layers=3, thoughts=3, pairs=12, feedback=False, peak=(1, 0), nulls=("other_pair",)))
    assert "is clear is 0 of 0 to 2, at layer" in text
    assert "later steps are zero by construction and say nothing about the thoughts" in text
    assert "1 of layer-wise patching, 4 of position-wise patching, 7 of relay and 3 of cumulative patching" in text


def test_few_pairs_make_nothing_clear():
    table = make_records(pairs=5, layers=2, nulls=("other_pair",), experiments=("layer", "position"))
    assert "is clear in" not in read(table)
    assert "one pair, no interval" in read(make_records(pairs=1, layers=2, experiments=("layer",)))


def test_left_out_pairs_are_counted():
    text = read(make_records(pairs=20, incorrect=3, undefined=2, layers=2, experiments=("layer",)))
    assert "answers 17 of 20 pairs right on both sides" in text
    assert "In 2 pairs the gap is too small for a recovery." in text
    few = read(make_records(pairs=20, undefined=18, layers=2, experiments=("layer",), nulls=("other_pair",)))
    assert "In 18 pairs the gap is too small for a recovery; fewer than 6 are left, which makes no mean" in few
    assert "no mean recovery is clear" in few
    nothing = read(make_records(pairs=3, incorrect=3, layers=2, experiments=("layer",)))
    assert "answers none of the 3 pairs right" in nothing
    assert "recovery" not in nothing


def test_a_failed_check_is_a_warning():
    summary = summarise(make_records(pairs=10, layers=2, thoughts=2), seed=0)
    assert "All 4 checks of the records hold." in reading(summary)
    checks = tuple(
        replace(check, value=0.5, holds=False) if check.name == "relay_start_is_position_0" else check
        for check in summary.checks
    )
    said = reading(replace(summary, checks=checks))
    assert "1 of 4 checks FAIL, so do not rely on these numbers: relay start is position 0, denoise (0.5" in said
    assert "checks of the records hold" not in said


@pytest.mark.parametrize("keep", [lambda row: row["experiment"] == "position", lambda row: row["structural"]])
def test_any_part_of_a_run_can_be_read_from_its_file(keep: Callable[[dict], bool]):
    table = make_records(pairs=8, layers=3, feedback=False, nulls=("other_pair",))
    part = pa.Table.from_pylist([row for row in table.to_pylist() if keep(row)], schema=table.schema)
    summary = summarise(part, seed=0)
    assert reading(from_json(Summary, json.loads(json.dumps(as_json(summary))))) == reading(summary)


def test_a_thought_that_is_missed_is_named_and_one_that_is_not_too():
    effects = {("layer", "all"): 0.9, ("leave_one_out", "t0"): 0.3, ("leave_one_out", "t1"): 0.9}
    text = said_of(effects)
    assert "With one thought left out, the switch is clear in 1 of 2 cells, most at layer 1 without t1" in text
    assert "most at layer 1 without t0, where 0.60 of the gap is lost (95 % interval 0.60 to 0.60)" in text
    assert "t1 can be left out at every layer without a clear change" in text
    spare = said_of(effects | {("leave_one_out", "t0"): 0.9})
    assert "no single one is clearly missed" in spare
    assert "no single one is clearly missed: at most 0.60 of the gap" in said_of(effects, None)
    alone = said_of({("leave_one_out", "t0"): 0.3})
    assert "leave_one_out was run without layer, so its lost is not given" in alone
    assert "missed" not in alone


@pytest.mark.parametrize(
    ("both", "said"),
    [
        (0.9, "in 1 cell they do clearly more than the sum of each alone, most at {}: 10.8 nats instead of 6.0 .*4.8,"),
        (0.3, "in 1 cell they do clearly less than the sum of each alone, most at {}: 3.6 nats instead of 6.0 .*−2.4,"),
        (0.5, "nowhere is that clearly more or less than the sum of each alone, at most 6.0 nats instead of 6.0"),
    ],
)  # fmt: skip
def test_synergy_is_said_in_nats_with_its_sign(both: float, said: str):
    effects = {("position", "t0"): 0.2, ("position", "t1"): 0.3, ("pairwise", "t0+t1"): both}
    assert re.search(said.format("layer 1, t0 and t1"), said_of(effects))
    assert "clearly more than the sum" not in said_of(effects, None)


def test_a_window_is_praised_only_if_it_beats_every_layer():
    def windows(second: list[float], control: float | None = 0.0) -> str:
        effects = {("position", 1): around(0.2), ("position", 2): second, ("window", 1): around(0.6)}
        return read(with_control({(name, "denoise", at, "t0"): each for (name, at), each in effects.items()}, control))

    better = "1 of 1 do clearly more than each of their layers alone, most at layers 1 to 2, t0: 0.25 of the gap"
    assert better in windows(around(0.5))
    assert "no window does clearly more than each of its layers alone" in windows(around(0.6, -1))
    assert better not in windows(around(0.5), None)


def test_sufficiency_and_necessity_are_claimed_only_where_they_differ():
    def both(necessity: float, control: float | None = 0.0) -> str:
        effects = {("position", "denoise", 1, "t0"): around(0.8), ("position", "noise", 1, "t0"): around(necessity, -1)}
        return read(with_control(effects, control))

    text = both(0.3)
    assert "In 1 of 1 cells both directions are clear" in text
    assert "in 1 the two shares clearly differ, most at position-wise patching, layer 1, t0: 0.80 restored" in text
    assert "0.30 destroyed (difference 0.50, 95 % interval 0.4" in text
    assert "nowhere do the two shares clearly differ" in both(0.8)
    unheld = both(0.3, None)
    assert "In 0 of 1 cells both directions are clear; nowhere do the two shares clearly differ" in unheld
    assert "both directions" not in said_of({("position", "t0"): 0.8})


def test_a_plan_says_what_these_pairs_and_more_would_find():
    summary = summarise(make_records(pairs=24, layers=2, undefined=4, experiments=("position",)), seed=0)
    (plan,) = summary.planning
    by_pairs = {each.pairs: each for each in plan.detectable}
    text = reading(summary)
    assert f"For planning: 20 pairs find, four times in five, a mean recovery of {by_pairs[20].typical:.2f}" in text
    assert f"60 pairs would find {by_pairs[60].typical:.2f} and {by_pairs[60].worst:.2f}" in text
    assert "For planning" not in read(make_records(pairs=24, undefined=19, layers=2, experiments=("position",)))


def test_pairs_in_number_cannot_be_claimed_from_an_interval_alone():
    """The share of false discoveries must agree, for differences as for effects."""
    table = make_records(pairs=12, layers=2, thoughts=3, peak=(1, 1), experiments=SETS, nulls=("other_pair",))
    summary = summarise(table, seed=0)
    assert "clearly less than the sum" in reading(summary)

    def unsure(found: Any) -> Any:
        return replace(found, beyond_every=found.beyond_every and replace(found.beyond_every, q=0.2))

    cells = []
    for cell in summary.cells:
        sets: dict[str, Any] = {
            name: replace(each, over_mean=unsure(each.over_mean)) if isinstance(each, Gain) else unsure(each)
            for name, each in cell.sets.items()
            if each is not None
        }
        cells.append(replace(cell, sets=sets, effect=unsure(cell.effect), switched=unsure(cell.switched)))
    text = reading(replace(summary, cells=tuple(cells), top=()))
    assert "nowhere is that clearly more or less" in text
    assert "no single one is clearly missed" in text
    assert "no window does clearly more" in text
    assert "is clear in" not in text


def test_a_hook_point_and_a_head_are_named_where_they_are_not_the_usual_ones():
    pairs = list(np.linspace(0.7, 0.9, 8))
    effects = {
        ("position@z.0", "denoise", 1, "t2"): pairs,
        ("position@z.1", "denoise", 1, "t2"): [0.0] * 8,
        ("position@mlp_out", "denoise", 1, "t2"): [each / 2 for each in pairs],
    }
    text = read(with_control(effects))
    assert (
        "At head output (z): position-wise, the switch is clear in 1 of 2 cells, most at layer 1, t2, head 0 of z"
        in text
    )
    assert "At MLP output: position-wise, no pair switches" in text
    assert "head 1 of z" not in text
    usual = read(with_control({("position", "denoise", 1, "t2"): pairs}))
    assert "At " not in usual
    assert "resid_post" not in usual
