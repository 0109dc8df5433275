"""The end of a run on a terminal: the three lines, and a table of the best cells."""

from dataclasses import replace

import pytest
from records import make_records
from run_directories import run_facts

from mechpatch.stats import RunSummary, summarise
from mechpatch.stats.summary_values import RoundingFacts
from mechpatch.views.words.ending import ROWS, WIDTH, ending

NOTE = (
    "No thought was rolled out: the thought positions hold copies of one placeholder token, in one forward pass. What "
    "is measured is how the model uses those positions, not what it thinks there."
)


@pytest.fixture(scope="module")
def summary() -> RunSummary:
    table = make_records(
        pairs=12, layers=2, thoughts=3, incorrect=2, nulls=("other_pair",), directions=("denoise", "noise"),
        experiments=("layer", "position", "relay", "cumulative", "window"), peak=(1, 1),
    )  # fmt: skip
    return summarise(table, seed=0).of_run(run_facts())


def test_the_lines_come_first_and_a_small_table_after_them(summary: RunSummary):
    told = ending(summary)
    assert told[0] == "68 of 72 pairs kept, 12 run, 10 answered right on both sides."
    heads = [line.partition(":")[0] for line in told if line[0].isupper() and ":" in line]
    assert heads == ["Did", "Found", "Distrust"]
    table = told[-ROWS - 2 : -1]
    assert table[0].split() == ["best", "cell", "switch", "(*", "clear)", "neither", "effect", "other", "pair"]
    assert [line.split()[0] for line in table[1:5]] == [
        "position:1:t1", "position:1:t1:noise", "layer:1:all", "layer:1:all:noise",
    ]  # fmt: skip
    assert told[-1] == "… 2 more of experiments, hook points and directions: summary.json, `top`"
    assert max(map(len, told)) <= WIDTH


@pytest.mark.parametrize("failed", [0, 1, 9])
def test_failed_checks_rounding_and_notes_are_told(summary: RunSummary, failed: int):
    rounding = RoundingFacts(dtype="float32", floor=3e-4, difference=4e-4, cells=3, refereed=(), says="")
    checks = tuple(replace(check, holds=at >= failed) for at, check in enumerate(summary.asserted()))
    run = run_facts(notes=(NOTE,), rounding=rounding)
    text = " ".join(" ".join(ending(replace(summary, checks=checks, run=run))).split())
    assert ("FAIL, so do not rely" in text) == (failed > 0)
    assert "Plain float32 runs differ by 3.0e-04 in a logit, engine and hooks by 4.0e-04" in text
    assert f"Note: {NOTE}" in " ".join(text.split())  # to its end: it may say that intervals are too narrow
    assert "Plain" not in " ".join(ending(summary))
