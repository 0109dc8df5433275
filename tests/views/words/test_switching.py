"""Each sentence about switching, said of records in which it is true, and not said of those in which it is not."""

import re
from typing import Any

import pytest
from records import planted
from run_directories import run_facts

from mechpatch.stats import RunSummary, summarise
from mechpatch.views.words.ending import ending
from mechpatch.views.words.reading import reading
from mechpatch.views.words.switching import switching

D, P, OTHER = "denoise", "paired", "other_pair"


def planted_switches(counts: dict[str, int], of: int, direction: str = D, **more: Any) -> RunSummary:
    """Summary of records in which so many of `of` pairs switch at layer 1, t0, by donor."""
    effects = {
        ("position", direction, donor, 1, "t0"): [0.9] * count + [0.1] * (of - count) for donor, count in counts.items()
    }
    return summarise(planted(effects, **more), seed=0).of_run(run_facts(pairs_total=of, pairs_dropped=0))


def said(summary: RunSummary, direction: str = D) -> tuple[str, str]:
    """The sentence, and the end of a run on a terminal."""
    sentence = switching(summary, direction)
    assert sentence in reading(summary)
    return sentence, "\n".join(ending(summary))


def test_a_switch_beyond_every_control_is_clear():
    sentence, shown = said(planted_switches({P: 8, OTHER: 0, "gaussian": 1, "self": 0}, 10))
    assert sentence.startswith("8 of 10 pairs switch to the clean answer at the best thought of position-wise patching")
    assert "layer 1, t0 (80 %, 95 % interval 44 % to 97 % for that cell alone), and 0 give neither" in sentence
    assert (
        "0 % with vectors of another pair and 10 % with Gaussian vectors; that is clearly more than with each"
        in sentence
    )
    assert "the run's own vectors" not in sentence
    assert "position:1:t0: switch clearly above every control." in shown
    assert re.search(r"position:1:t0 +80 % +0 % +0\.74 +0 % +10 %", shown)


@pytest.mark.parametrize("null", [8, 7, 4])
def test_a_switch_that_a_control_makes_too_is_not_clear(null: int):
    sentence, shown = said(planted_switches({P: 8, OTHER: null, "gaussian": 0}, 10))
    assert "that is not clearly more than with vectors of another pair" in sentence
    assert "position:1:t0: switch not clearly above other pair." in shown
    assert "clearly more than with each" not in sentence


def test_fewer_switches_than_with_a_control_are_not_more():
    sentence, _ = said(planted_switches({P: 2, OTHER: 10}, 10))
    assert "that is not clearly more than with vectors of another pair" in sentence


def test_two_pairs_make_nothing_clear():
    sentence, shown = said(planted_switches({P: 2, OTHER: 0}, 2))
    assert "2 of 2 pairs switch" in sentence
    assert "fewer than 6 pairs cannot make that clear" in sentence
    assert "fewer than 6 pairs can switch, so nothing is clear" in shown
    assert "clearly" not in sentence + shown


@pytest.mark.parametrize("counts", [{P: 8}, {P: 8, "self": 0}])
def test_without_controls_the_words_say_that_none_was_run(counts: dict[str, int]):
    sentence, shown = said(planted_switches(counts, 10))
    assert "no control was run, so nothing says that another vector would not have done the same" in sentence
    assert "No control was run (--nulls other-pair)" in shown
    assert "clearly" not in sentence + shown
    with_one = said(planted_switches({P: 8, OTHER: 0}, 10))
    assert "control was run" not in " ".join(with_one)


def test_nothing_is_told_with_its_bound():
    sentence, shown = said(planted_switches({P: 0, OTHER: 0}, 68))
    assert "no pair switches to the clean answer by a write at thoughts alone: 0 of 68, at most 5.3 %" in sentence
    assert "position:1:t0: no pair switches by thoughts alone: 0 of 68, at most 5.3 %." in shown
    assert "pairs switch to" not in sentence


def test_noise_switches_to_the_corrupted_answer():
    sentence, shown = said(planted_switches({P: 8, OTHER: 0}, 10, "noise"), "noise")
    assert "8 of 10 pairs switch to the corrupted answer" in sentence
    assert "position:1:t0:noise: switch clearly above every control" in shown
    assert re.search(r"position:1:t0:noise +80 % +0 % +0\.74", shown)  # the effect, not the recovery


def test_answers_that_are_neither_are_counted():
    here = ("position", D, P, 1, "t0")
    sentence, shown = said(planted_switches({P: 4}, 8, neither=[(*here, 6), (*here, 7)]))
    assert "and 2 give neither" in sentence
    assert re.search(r"position:1:t0 +50 % +25 %", shown)


def test_where_nothing_can_move_nothing_is_said_of_a_switch():
    summary = planted_switches({P: 0, OTHER: 0}, 8, structural=[("position", D, P, 1, "t0")])
    assert switching(summary, D) == ""
    assert "switch" not in reading(summary)
    assert not any("switch" in line for line in ending(summary))


def test_pairs_that_the_model_gets_wrong_switch_nowhere():
    table = planted({("position", D, P, 1, "t0"): [0.9] * 8})
    wrong = table.set_column(table.column_names.index("both_correct"), "both_correct", [[False] * 8])
    run = run_facts(pairs_total=8, pairs_dropped=0)
    nobody = summarise(wrong, seed=0).of_run(run)
    assert switching(nobody, D) == ""
    assert "answers none of the 8 pairs right" in " ".join(" ".join(ending(nobody)).split())
    asked = summarise(wrong, seed=0, include_incorrect=True).of_run(run)
    sentence, shown = said(asked)
    assert sentence == "No pair has two different answers that are both given right, so none can switch."
    assert "no pair can switch" in shown


def test_a_write_that_is_no_thought_is_not_called_one():
    effects = {("position", D, donor, 1, "answer"): [value] * 8 for donor, value in ((P, 0.9), (OTHER, 0.1))}
    assert "at the best cell of position-wise patching, layer 1, answer" in switching(summarise(planted(effects), 0), D)
    none = {("position", D, P, 1, "answer"): [0.1] * 8}
    assert "no pair switches to the clean answer anywhere: 0 of 8" in switching(summarise(planted(none), 0), D)
