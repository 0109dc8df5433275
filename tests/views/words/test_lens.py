"""What is said of a lens, against tables in which the opposite is true."""

import numpy as np
from lens_tables import lens_table
from records import planted

from mechpatch.stats import summarise
from mechpatch.stats.lens import summarise_lens
from mechpatch.views.words.lens import NO_ABSENCE, NO_CAUSE, lens_lines

HIT = ("clean", "step1", 1, "t0")
SPREAD = np.linspace(-0.02, 0.02, 12)


def said(*args, run=None, top: int = 1, include_incorrect: bool = False, **options):
    return lens_lines(summarise_lens(lens_table(*args, **options), top, include_incorrect), run)


def test_what_is_beyond_every_control_can_be_read_there_and_nowhere_else():
    found = said({HIT: 12, ("corrupted", "step1", 1, "t0"): 12}).found
    assert "Step 1 can be read at 1 of 4 places of thoughts, most at layer 1, t0: 12 of 12 pairs (100 %" in found
    assert "in the corrupted questions at 1 of the same 1" in found
    assert "Step 2 can be read at no thought beyond every control; it is hit nowhere." in found
    assert "in the corrupted questions at 0 of the same 1" in said({HIT: 12}).found


def test_a_control_that_is_hit_as_often_takes_the_claim_away():
    for control in ("other_question", "shuffled_values"):
        others = {"other_question": {}, "shuffled_values": {}} | {control: {HIT: 12}}
        found = said({HIT: 12}, others).found
        assert "Step 1 can be read at no thought beyond every control; most hits at layer 1, t0, 12 of 12" in found
        assert "that is not clearly more than with" in found
    assert "can be read at 1 of 4" in said({HIT: 12}, {"other_question": {HIT: 1}, "shuffled_values": {}}).found


def test_without_a_control_or_with_five_pairs_nothing_is_readable():
    alone = said({HIT: 12}, {})
    assert "No control was run." in alone.did
    assert "can be read at 1" not in alone.found
    assert "; no control was run." in alone.found
    assert "Without a control any value might be hit as often" in alone.distrust
    few = said({HIT: 5}, pairs=5)
    assert "can be read at 1" not in few.found
    assert "Fewer than 6 pairs are used" in few.distrust


def test_a_hit_is_never_called_a_cause():
    for hits in ({}, {HIT: 12}):
        distrust = said(hits).distrust
        assert NO_CAUSE in distrust
        assert NO_ABSENCE in distrust


def test_what_was_left_out_is_counted():
    distrust = said({HIT: 12}, wrong=2, shared=3, tokens=2).distrust
    assert "2 of 12 pairs that the model gets wrong on either side are left out." in distrust
    assert "6 of 80 targets are left out: another value" in distrust
    assert "80 of 80 targets have several tokens" in distrust
    whole = said({HIT: 12}).distrust
    assert "left out" not in whole
    assert "several tokens" not in whole
    assert "both questions of 12 pairs" in said({HIT: 12}, wrong=2, include_incorrect=True).did


def test_a_twin_is_asked_for_until_there_is_one():
    twin = {"other_question": {}, "shuffled_values": {}, "twin": {}}
    assert "No twin was read" in said({HIT: 12}).distrust
    assert "No twin was read" not in said({HIT: 12}, twin).distrust
    assert "the twin model" in said({HIT: 12}, twin).did
    assert "can be read at no thought" in said({HIT: 12}, twin | {"twin": {HIT: 12}}).found


def causal(moving: set[str]):
    """A run in which the vectors of some thoughts of layer 1 switch every pair."""
    effects = {
        ("position", "denoise", donor, layer, site): (
            (1.0 if donor == "paired" and layer == 1 and site in moving else 0.0) + SPREAD
        )
        for donor in ("paired", "other_pair")
        for layer in (0, 1)
        for site in ("t0", "t1")
    }
    return summarise(planted(effects), seed=0)


def test_read_and_moving_are_told_apart():
    apart = said({HIT: 12}, run=causal({"t1"})).found
    assert "1 can be read and 1 move the answer; 0 do both" in apart
    assert "Read, and no clear switch: layer 1, t0. Moving, and nothing to be read: layer 1, t1." in apart
    same = said({HIT: 12}, run=causal({"t0"})).found
    assert "1 can be read and 1 move the answer; 1 do both." in same
    assert "no clear switch" not in same
    assert "none can be read, and none moves the answer clearly" in said({}, run=causal(set())).found
    assert "move the answer" not in said({HIT: 12}).found
