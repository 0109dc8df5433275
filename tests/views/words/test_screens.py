"""What is said of a screen, against records in which the opposite is true."""

from dataclasses import replace

import numpy as np
from screened import screened_records

from mechpatch.stats import Summary, summarise
from mechpatch.stats.screens import Screened
from mechpatch.views.words.lines import lines
from mechpatch.views.words.reading import reading
from mechpatch.views.words.screens import screen_told, screens_in_short

TOP = [0.9, 0.5, 0.4, 0.3, 0.2]
GOOD = [*TOP, *np.linspace(0, 0.01, 50)]


def summary(*args, **settings) -> Summary:
    table, choices = screened_records(*args, **settings)
    return summarise(table, 0, choices=choices)


def in_short(found: Summary, *screens: Screened) -> list[str]:
    """What "Distrust" says of screens."""
    told = [*screens_in_short(screens)]
    assert all(each in lines(replace(found, screens=screens)).distrust for each in told)
    return told


def told(found: Summary) -> str:
    return " ".join(screen_told(*found.screens))


def test_a_good_screen():
    found = summary(TOP, [0.0] * 50, GOOD)
    text = told(found)
    assert text.startswith(
        "Of 1,000 cells of z that can move, position-wise patching (denoise), 55 were run: the 5 with"
    )
    assert "first-order estimates, means over 12 pairs, and 50 random ones of the others" in text
    assert "None of 50 random cells has a clear effect, so at most 5.8 % of the 995 that it did not choose do" in text
    assert "effects of the top cells have a median size of 0.40, and the smallest is 0.20" in text
    assert "a rank correlation (Spearman) over the top cells of 1.00, and over the random ones of " in text
    assert "failed" not in text
    assert "No control" not in text
    distrust = lines(found).distrust
    run = "5 that a screen chose and 50 random ones"
    assert f"Of 1,000 cells of z 55 were run: {run}. None of 50 random cells has a clear effect" in distrust
    assert f"Wrote one clean vector of z at a time into the corrupted run: 55 of 1,000 cells ({run}), 12 pairs." in (
        lines(found).did
    )
    assert "the largest of 55 cells that were run; the screen left 945 of the map out" in reading(found)
    assert text in reading(found)


def test_one_that_missed_something():
    text = told(summary(TOP, [0.1] + [0.0] * 49, GOOD))
    assert "1 of 50 random cells has a clear effect, so at most 9.1 % of the 995" in text
    assert "The largest effect of a random one is 0.10 of the gap (95 % interval" in text
    assert "at layer 1, t0, head 5 of z; effects of the top" in text
    assert "2 of 50 random cells have a clear effect" in told(summary(TOP, [0.1, 0.1] + [0.0] * 48, GOOD))


def test_one_that_failed():
    found = summary([0.0] * 5, np.linspace(0.5, 0.05, 50), [1.0] * 5 + list(np.linspace(0.5, 0.95, 50)))
    text = told(found)
    assert text.startswith(
        "The screen of z failed: a random cell, layer 1, t0, head 5 of z, has a clear effect of 0.50, which is more "
        "than half of the chosen ones have"
    )
    assert "and over the random cells its estimates do not rank as the effects do (Spearman −" in text
    assert "What was not run may do as much: raise --screen in another folder, or run all." in text
    assert "and the screen that chose them failed" in lines(found).distrust


def test_screens_that_missed_equally_much_share_their_sentences():
    one = summary(TOP, [0.0] * 50, GOOD)
    (z,) = one.screens
    shared = (
        "Of 1,000 cells of z 55 were run, of 4,000 cells of post 55: 5 that a screen chose and 50 random ones of each "
        "map. In each none of 50 random cells has a clear effect, so at most 5.8 % of the cells that it did not choose "
        "do (95 %)."
    )
    assert in_short(one, z, replace(z, hook="post", candidates=4000), replace(z, direction="noise")) == [shared]
    noise = in_short(one, z, replace(z, direction="noise"))
    assert noise[0].startswith("Of 1,000 cells of z 55 were run: 5 that a screen chose and 50 random ones of each map.")
    unknown = replace(z, limit=None, told=0)
    assert " of each map. In each what it missed is not known: no random" in in_short(one, unknown, unknown)[0]


def test_screens_that_missed_unequally_much_have_sentences_of_their_own():
    one = summary(TOP, [0.0] * 50, GOOD)
    (good,), (missed,) = one.screens, summary(TOP, [0.1] + [0.0] * 49, GOOD).screens
    (failed,) = summary([0.0] * 5, np.linspace(0.5, 0.05, 50), [1.0] * 5 + list(np.linspace(0.5, 0.95, 50))).screens
    found = in_short(
        one, good, replace(missed, hook="post", rank_random=0.5), failed, replace(failed, direction="noise")
    )
    assert len(found) == 4
    assert "None of 50 random cells has a clear effect, so at most 5.8 % of the 995 that" in found[0]
    assert "post 55 were run: 5 that a screen chose and 50 random ones. 1 of 50 random cells has a clear" in found[1]
    assert all("and the screen that chose them failed" in each for each in found[2:])


def test_one_that_left_nothing_out():
    found = summary(TOP, [], TOP, candidates=5)
    assert told(found) == (
        "All 5 cells of z that can move, position-wise patching (denoise), were run, so the screen left nothing out."
    )
    assert "screen" not in " ".join(text for _, text in lines(found).named())
    assert "so the screen left nothing out" in told(summary(TOP, [0.0] * 3, [*TOP, 0.0, 0.0, 0.0], candidates=8))
    assert "left nothing out" not in told(summary(TOP, [0.0] * 3, [*TOP, 0.0, 0.0, 0.0], candidates=9))


def test_with_few_pairs_or_without_a_control_that_is_said():
    text = told(summary(TOP, [0.0] * 50, GOOD, pairs=5))
    assert "What it missed is not known: no random cell has a value in 6 pairs" in text
    assert "No control was run, so an effect that is off zero" in told(summary(TOP, [0.0] * 50, GOOD, control=False))


def test_a_rank_that_is_undefined_is_no_number():
    text = told(summary(TOP[:2], [0.0] * 50, [0.9, 0.5, *GOOD[5:]]))
    assert "over the top cells of undefined, and over the random ones of " in text
    assert "Spearman" not in told(summary(TOP[:2], [0.0] * 2, [0.9, 0.5, 0.0, 0.1]))


def test_nothing_is_said_of_positions_that_were_not_all_run():
    given = [0.9, 0.0], [], [0.9, 0.0]
    everything, chosen = (summary(*given, candidates=count, sites=("t0", "t1")) for count in (2, 50))
    assert "Nothing passes through z at t1" in reading(everything)
    assert "were not run" not in reading(everything)
    assert "48 cells of this map were not run" in reading(chosen)
    assert "Nothing passes" not in reading(chosen)
    assert "none does, at any cell." in reading(everything)
    assert "none does, at any cell that was run." in reading(chosen)
    nothing = summary([0.0, 0.0], [], [0.9, 0.0], candidates=500)
    assert "no pair switches to the clean answer by a write at thoughts alone, of the cells that were run: 0 of 12" in (
        reading(nothing)
    )
