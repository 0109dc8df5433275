"""The three lines, of records in which each claim is true and of records in which the opposite is."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from records import planted
from run_directories import run_facts

from mechpatch.catalogue import PAIRED
from mechpatch.stats import RunSummary, summarise
from mechpatch.views.words.ending import ending
from mechpatch.views.words.lines import NOBODY_RIGHT, Lines, lines
from mechpatch.views.words.reading import reading

OTHER = "other_pair"
Switches = Mapping[tuple[int, str], int]


def a_run(switches: Switches, control: Switches, of: int = 20, direction: str = "denoise", **more: Any) -> RunSummary:
    """A position-wise run in which so many of `of` pairs switch at each (layer, site)."""
    effects = {
        ("position", direction, donor, layer, site): [0.9] * count + [0.1] * (of - count)
        for donor, counts in ((PAIRED, switches), (OTHER, control))
        for (layer, site), count in counts.items()
    }
    return summarise(planted(effects, **more), seed=0).of_run(run_facts(pairs_total=of, pairs_dropped=0))


def said(summary: RunSummary) -> Lines:
    """The three lines, which text and terminal say word for word."""
    told = lines(summary)
    text = " ".join(" ".join(ending(summary)).split())
    for head, line in (("Did", told.did), ("Found", told.found), ("Distrust", told.distrust)):
        assert f"{head}: {line}" in text
        assert f"{head}: {line}\n" in f"{reading(summary)}\n"
    return told


def at_one(effect: int, control: int | None, of: int = 10, direction: str = "denoise", **more: Any) -> Lines:
    """The lines of a run of one cell, layer 1, t0."""
    beside = {} if control is None else {(1, "t0"): control}
    return said(a_run({(1, "t0"): effect}, beside, of, direction, **more))


SWITCHES = {(0, "t0"): 3, (0, "t1"): 18, (0, "answer"): 0, (1, "t0"): 18, (1, "t1"): 18, (1, "answer"): 20}
FEW = dict.fromkeys(SWITCHES, 0) | {(1, "t0"): 1}


def test_what_was_found_names_every_best_thought_and_the_strongest_control():
    summary = a_run(SWITCHES, FEW)
    told = said(summary)
    assert told.did == (
        "Wrote one clean vector at a time into the corrupted run: 2 layers × 3 positions, 20 pairs. "
        "Controls: vectors of another pair."
    )
    (best,) = summary.best
    assert (best.cells, best.share, best.high) == (4, 0.9, pytest.approx(0.98765, abs=1e-4))
    assert best.low == pytest.approx(0.6830, abs=1e-4)  # in three cells the same pairs switch: they count as one
    low, high = (round(100 * limit) for limit in (best.low, best.high))
    assert told.found == (
        f"Writing one clean vector at a thought of the corrupted run makes up to 90 % of 20 pairs (95 % interval {low} "
        f"% to {high} %, of the best of 4 cells) give the clean answer, at t1 (layers 0–1) and t0 (layer 1). No "
        "control exceeds 5 % at any cell (vectors of another pair, layer 1, t0)."
    )
    assert "picked" not in told.distrust
    assert re.search(r"position:0:t1 +90 % \* +0 % +0\.82 +0 %", "\n".join(ending(summary)))


def test_the_other_direction_is_told_with_its_own_answer():
    found = said(a_run(SWITCHES, FEW, direction="noise")).found
    assert "Writing one corrupted vector at a thought of the clean run makes up to 90 % of 20 pairs" in found
    assert "give the corrupted answer" in found
    assert "clean answer" not in found


@pytest.mark.parametrize("control", [8, 7, 4])
def test_a_switch_that_a_control_makes_too_is_not_claimed(control: int):
    found = at_one(8, control).found
    assert found.startswith("With position-wise patching at most 8 of 10 pairs give the clean answer, 80 % (95 %")
    assert f"that is not clearly more than with vectors of another pair ({10 * control} %)" in found
    assert "Writing one" not in found


def test_what_is_told_of_thoughts_is_not_said_of_all_positions():
    """At `answer` more pairs switch than at any thought: "at most" and "up to" are told of thoughts alone."""
    few = SWITCHES | {(0, "t1"): 4, (1, "t0"): 4, (1, "t1"): 4}
    alone = "at most 4 of 20 pairs give the clean answer by a write at thoughts alone, 20 %"
    assert alone in said(a_run(few, dict.fromkeys(few, 4))).found
    assert "alone" not in at_one(8, 8).found  # nothing but a thought was written
    answer = said(a_run({(1, "answer"): 20}, {(1, "answer"): 0})).found
    assert answer.startswith("Writing one clean vector into the corrupted run makes up to 100 % of 20 pairs")


def at_hooks(switches: Mapping[str, int], control: int = 0, of: int = 20, direction: str = "denoise") -> Lines:
    """The lines of a run that wrote at several hook points, `z.1` for head 1, at layer 1, t0."""
    effects = {
        (f"position@{hook}", direction, donor, 1, "t0"): [0.9] * count + [0.1] * (of - count)
        for hook, switching in switches.items()
        for donor, count in ((PAIRED, switching), (OTHER, control))
    }
    return said(summarise(planted(effects), seed=0).of_run(run_facts(pairs_total=of, pairs_dropped=0)))


def test_of_several_hook_points_each_is_named_and_has_its_largest_share():
    told = at_hooks({"attn_out": 0, "mlp_out": 18, "z.1": 2})
    assert told.did.startswith("Wrote one clean vector of attn_out at a time into the corrupted run: 1 layer × 1 pos")
    assert "20 pairs. The same was done at mlp_out and z (head 1). Controls" in told.did
    assert told.found.startswith("With position-wise patching of attn_out no pair switches to the clean answer by a w")
    assert told.found.endswith(
        " At the other hook points, by a write at thoughts alone: at most 90 % at layer 1, t0, mlp_out (clear) and at "
        "most 10 % at layer 1, t0, head 1 of z (not clear)."
    )
    told = at_hooks({"mlp_out": 18, "post.3": 0, "post.7": 0}, direction="noise")
    assert "Wrote one corrupted vector of mlp_out at a time into the clean run" in told.did
    assert "The same was done at post (2 neurons)." in told.did
    assert told.found.startswith("Writing one corrupted vector of mlp_out into the clean run makes up to 90 % of 20")
    assert told.found.endswith("At the other hook point, by a write at thoughts alone: no pair at post.")


def test_a_single_head_that_is_clear_is_named_with_its_number():
    told = at_hooks({"z.0": 0, "z.3": 18})
    assert "1 layer × 1 position × 2 heads, 20 pairs" in told.did
    assert "Writing one clean vector of z into the corrupted run makes up to 90 % of 20 pairs" in told.found
    assert "give the clean answer, at t0, head 3 (layer 1)." in told.found
    assert "other hook" not in told.found
    assert "same was done" not in told.did
    assert "1 layer × 1 position × head 3, 20 pairs" in at_hooks({"z.3": 18}).did


def test_nothing_passes_is_said_of_the_hook_point_that_was_written():
    effects = {
        ("position@kv", "denoise", donor, 1, site): [0.9] * count + [0.1] * (20 - count)
        for site, switching in (("t0", 18), ("t1", 0))
        for donor, count in ((PAIRED, switching), (OTHER, 0))
    }
    found = lines(summarise(planted(effects), seed=0)).found
    assert found.endswith("Nothing passes through kv at t1 (no pair at any layer; at most 17 % in each cell).")


def test_a_share_that_only_the_size_of_the_map_makes_unclear_has_its_q():
    """7 of 8 pairs beside 0 of 8: p = 0.016, and over eight cells q = 0.125."""
    switches = {(layer, f"t{at}"): 0 for layer in range(2) for at in range(4)} | {(1, "t1"): 7}
    found = said(a_run(switches, dict.fromkeys(switches, 0), of=8)).found
    assert "not clearly more than with vectors of another pair (0 %), q = 0.125 over the map." in found
    assert "over the map" not in at_one(2, 10).found  # here the control does more: no question of the map


def test_a_switch_below_its_controls_is_not_claimed():
    assert "not clearly more than with vectors of another pair (100 %)" in at_one(2, 10).found


def test_positions_through_which_nothing_passes_are_named_with_their_bound():
    silent = SWITCHES | {(0, "eot"): 0, (1, "eot"): 0}
    found = said(a_run(silent, dict.fromkeys(silent, 0))).found
    assert "With the controls none does, at any cell." in found
    assert found.endswith("Nothing passes through eot (no pair at any layer; at most 17 % in each cell).")
    passing = silent | {(1, "eot"): 1}
    assert "Nothing passes" not in said(a_run(passing, dict.fromkeys(passing, 0))).found


def test_nothing_is_told_with_its_bound():
    found = at_one(0, 0, of=68).found
    assert "no pair switches to the clean answer by a write at thoughts alone: 0 of 68, at most 5.3 %" in found
    assert "up to" not in found
    answer = said(a_run({(1, "answer"): 0}, {})).found
    assert "no pair switches to the clean answer anywhere: 0 of 20" in answer


def test_where_no_pair_switches_a_clear_mean_is_still_told():
    effects = {
        ("position", "denoise", donor, 1, "t0"): [value + 0.001 * at for at in range(8)]
        for donor, value in ((PAIRED, 0.3), (OTHER, 0.0))
    }
    found = lines(summarise(planted(effects), seed=0)).found
    assert "The mean recovery is clear in 1 of 1 cell, the largest at layer 1, t0: 0.30 of the gap" in found
    assert "mean recovery" not in at_one(0, 0).found


def test_two_pairs_make_nothing_clear():
    told = at_one(2, 0, of=2)
    assert "at most 2 of 2 pairs" in told.found
    assert "fewer than 6 pairs have it, which makes nothing clear" in told.found
    assert "Fewer than 6 pairs can switch, which makes nothing clear." in told.distrust
    assert "Writing one" not in told.found


def test_without_a_control_the_words_say_that_none_was_run():
    told = at_one(8, None)
    assert "No control was run." in told.did
    assert told.found.endswith("no control was run, so any vector might do the same.")
    assert "Without a control any vector might do the same; run --nulls other-pair." in told.distrust
    assert "ontrol was run" not in " ".join((at_one(8, 0).found, at_one(8, 0).did))


def test_structural_cells_are_reasons_to_distrust_and_no_findings():
    structural = [("position", "denoise", PAIRED, 1, "t1")]
    told = said(a_run(SWITCHES, FEW, structural=structural))
    assert "1 cell cannot move by construction (hatched), which is no finding." in told.distrust
    assert "construction" not in said(a_run(SWITCHES, FEW)).distrust
    everything = [("position", "denoise", PAIRED, layer, site) for layer, site in SWITCHES]
    assert said(a_run(SWITCHES, {}, structural=everything)).found.startswith("Nothing can move")


def test_a_control_that_moves_the_mean_is_a_reason_to_distrust():
    assert "With vectors of another pair the mean effect is off zero, too, in 1 of 1 cell" in at_one(8, 4).distrust
    effects = {("position", "denoise", donor, 0, "t0"): [0.9] * 10 for donor in (PAIRED, "other_pair", "gaussian")}
    both = said(summarise(planted(effects), seed=0).of_run(run_facts())).distrust
    assert "in 1 of 1 cell, most in position-wise patching at layer 0, t0: 0.90 of the gap" in both
    assert "; with Gaussian vectors in 1 of 1 cell, by 0.90 at most." in both
    assert "off zero" not in said(a_run(SWITCHES, {})).distrust


def test_answers_that_are_neither_are_told():
    neither = [("position", "denoise", PAIRED, 0, "t1", pair) for pair in range(18, 20)]
    told = said(a_run(SWITCHES | {(1, "t0"): 0, (1, "t1"): 0}, FEW, neither=neither))
    assert told.found.endswith("At layer 0, t1 10 % of the pairs give neither answer.")
    assert "neither answer" not in said(a_run(SWITCHES, FEW)).found


def test_where_nobody_is_right_nothing_is_found():
    table = planted({("position", "denoise", PAIRED, 1, "t0"): [0.9] * 8})
    wrong = table.set_column(table.column_names.index("both_correct"), "both_correct", [[False] * 8])
    nobody = said(summarise(wrong, seed=0).of_run(run_facts()))
    assert nobody.found.startswith("The unpatched model answers none of the 8 pairs right")
    assert "answers 0 of 8 pairs right on both sides; the others cannot switch and are left out." in nobody.distrust
    asked = said(summarise(wrong, seed=0, include_incorrect=True).of_run(run_facts()))
    assert asked.found == "No pair has two different answers that are both given right, so none can switch."
    assert "used all the same" in asked.distrust
    assert "right on both sides" not in said(a_run(SWITCHES, FEW)).distrust


def test_where_no_map_was_run_and_nobody_is_right_nothing_is_said_to_be_unable_to_move():
    told = lines(replace(a_run({(1, "t1"): 9}, {(1, "t1"): 0}), cells=(), top=(), best=()))
    assert told.found == NOBODY_RIGHT
    assert "construction" not in told.found
    assert "control" not in told.did


def with_said(summary_of: dict[int, str | None], neither: int = 4) -> str:
    """The finding of a run of ten pairs, of which the last ones give neither answer, with what each pair says."""
    cell, control = (("position", "denoise", donor, 1, "t0") for donor in (PAIRED, OTHER))
    wrecked = [(*cell, pair) for pair in range(10 - neither, 10)] + [(*control, pair) for pair in range(10)]
    table = planted({cell: [0.9] * 10, control: [0.1] * 10}, neither=wrecked)
    of_control = "77" if any(summary_of.get(pair, "18") for pair in range(10)) else None
    texts = [
        summary_of.get(row["pair_index"], "18") if row["donor"] == PAIRED else of_control for row in table.to_pylist()
    ]
    spoken = table.append_column("said", pa.array(texts, pa.string()))
    return said(summarise(spoken, seed=0).of_run(run_facts(pairs_total=10, pairs_dropped=0))).found


def test_the_most_frequent_other_answer_is_named():
    """Of pairs that give neither answer alone; the six others say 18."""
    beginning = "give neither answer"
    assert f"{beginning} (3 of these 4 say ‘29’, and nothing is said more often)." in with_said(
        {6: "31", 7: "29", 8: "29", 9: "29"}
    )
    assert f"{beginning} (2 of these 4 say ‘31’, and nothing is said more often)." in with_said(
        {6: "31", 7: "29", 8: "29", 9: "31"}
    )
    assert f"{beginning} (all 4 say ‘29’)." in with_said(dict.fromkeys((6, 7, 8, 9), "29"))
    assert f"{beginning} (no two of these 4 say the same; one says ‘26’)." in with_said(
        {pair: f"2{pair}" for pair in (6, 7, 8, 9)}
    )
    assert f"{beginning} (one pair, which says nothing)." in with_said({9: ""}, neither=1)
    assert f"{beginning}." in with_said(dict.fromkeys(range(10)))  # the run was not asked
    assert beginning not in with_said({9: "29"}, neither=0)
    strange = with_said({9: "\x1b[2J" + "9" * 60}, neither=1)
    assert "says ‘\N{REPLACEMENT CHARACTER}[2J" in strange
    assert f"{'9' * 35}…’)." in strange
