"""The end of a run on a terminal: short, the finding first, and only what failed of the checks."""

from dataclasses import replace

import pytest
from records import make_records
from run_directories import run_facts

from mechpatch.stats import RunSummary, summarise
from mechpatch.stats.summary_values import RoundingFacts
from mechpatch.views.words.ending import LINES, WIDTH, ending

NULLS = ("self", "other_pair", "same_value", "gaussian")
EVERYTHING = ("layer", "position", "relay", "cumulative", "leave_one_out", "pairwise", "subset", "window")
NOTES = (
    "No thought was rolled out: the thought positions hold copies of one placeholder token, in one forward pass. What "
    "is measured is how the model uses those positions, not what it thinks there.",
    "512 of 2048 rows (layer, position) are zero by construction, whatever the model has learnt; they are flagged.",
    "Without feedback a write at one thought cannot reach the same layer at the next, so every relay step after the "
    "first writes the patched run's own vector. That says nothing about whether thoughts depend on each other.",
)


def finish(table, **run) -> RunSummary:
    return summarise(table, seed=0).of_run(run_facts(**run))


def test_the_finding_is_a_small_table_led_by_the_best_thought():
    table = make_records(pairs=12, layers=4, incorrect=2, nulls=("other_pair",), directions=("denoise", "noise"))
    lines = ending(finish(table))
    assert lines[0] == "68 of 72 pairs kept, 12 run, 10 answered right on both sides."
    assert lines[1].split() == ["best", "cell", "switch", "neither", "effect", "other", "pair"]
    assert [line.split()[0] for line in lines[2:6]] == [
        "position:2:t2", "position:2:t2:noise", "layer:2:all", "layer:2:all:noise",
    ]  # fmt: skip


@pytest.mark.parametrize("failed", [0, 1, 9])
def test_it_is_short_whatever_was_run_and_found(failed: int):
    table = make_records(
        pairs=8, layers=3, feedback=False, nulls=NULLS, experiments=EVERYTHING, directions=("denoise", "noise")
    )
    rounding = RoundingFacts(dtype="float32", floor=3e-4, difference=4e-4, cells=3, refereed=(), says="")
    summary = finish(table, notes=NOTES, rounding=rounding)
    checks = tuple(replace(check, holds=at >= failed) for at, check in enumerate(summary.asserted()))
    summary = replace(summary, checks=checks)
    lines = ending(summary)
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= WIDTH
    text = " ".join(" ".join(lines).split())
    assert ("FAILED: do not rely" in text) == (failed > 0)
    assert "Plain float32 runs differ by 3.0e-04 in a logit, engine and hooks by 4.0e-04" in text
    assert "Note: No thought was rolled out: " in text
    assert any(line.startswith("…") and "summary.json" in line for line in lines)


def test_checks_that_hold_and_a_floor_that_was_not_measured_are_not_told():
    text = " ".join(ending(finish(make_records(pairs=8, layers=3))))
    assert "heck" not in text
    assert "Two plain" not in text
