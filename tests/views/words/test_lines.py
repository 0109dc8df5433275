"""The three lines, of records in which each claim is true and of records in which the opposite is."""

from collections.abc import Mapping

from records import planted

from mechpatch.catalogue import PAIRED
from mechpatch.stats import Summary, summarise
from mechpatch.views.words.lines import lines

OTHER = "other_pair"
Switches = Mapping[tuple[int, str], int]


def a_run(switches: Switches, control: Switches, of: int = 20, direction: str = "denoise", **more) -> Summary:
    """A position-wise run in which so many of `of` pairs switch at each (layer, site)."""
    effects = {
        ("position", direction, donor, layer, site): [0.9] * count + [0.1] * (of - count)
        for donor, counts in ((PAIRED, switches), (OTHER, control))
        for (layer, site), count in counts.items()
    }
    return summarise(planted(effects, **more), seed=0)


SWITCHES = {(0, "t0"): 3, (0, "t1"): 18, (0, "answer"): 0, (1, "t0"): 18, (1, "t1"): 18, (1, "answer"): 20}
FEW = dict.fromkeys(SWITCHES, 0) | {(1, "t0"): 1}


def test_what_was_found_names_every_best_thought_and_the_strongest_control():
    said = lines(a_run(SWITCHES, FEW))
    assert said.did == (
        "Wrote one clean vector at a time into the corrupted run: 2 layers × 3 positions, 20 pairs. "
        "Controls: vectors of another pair."
    )
    assert said.found == (
        "Writing one clean vector into the corrupted run makes up to 90 % of 20 pairs give the clean answer, at t1 "
        "(layers 0–1) and t0 (layer 1). No control exceeds 5 % at any cell (vectors of another pair, layer 1, t0)."
    )
    assert "90 % is the best of 6 cells; its interval, 68 % to 99 %" in said.distrust


def test_the_other_direction_is_told_with_its_own_answer():
    said = lines(a_run(SWITCHES, FEW, direction="noise"))
    assert (
        "Writing one corrupted vector into the clean run makes up to 90 % of 20 pairs give the corrupted" in said.found
    )


def test_an_effect_that_a_control_has_too_is_not_claimed():
    said = lines(a_run(SWITCHES, SWITCHES))
    assert "Writing one" not in said.found
    assert "not clearly more than with vectors of another pair" in said.found


def test_positions_through_which_nothing_passes_are_named_with_their_bound():
    silent = SWITCHES | {(0, "eot"): 0, (1, "eot"): 0}
    said = lines(a_run(silent, dict.fromkeys(silent, 0)))
    assert "With the controls none does, at any cell." in said.found
    assert said.found.endswith("Nothing passes through eot (no pair at any layer; at most 17 % in each cell).")
    passing = silent | {(1, "eot"): 1}
    assert "Nothing passes" not in lines(a_run(passing, dict.fromkeys(passing, 0))).found


def test_two_pairs_no_control_and_structural_cells_are_reasons_to_distrust():
    said = lines(a_run({(0, "t0"): 2}, {(0, "t0"): 0}, of=2))
    assert "Writing one" not in said.found
    assert "Fewer than 6 pairs can switch, which makes nothing clear." in said.distrust
    alone = lines(a_run(SWITCHES, {}))
    assert "No control was run." in alone.did
    assert "Without a control any vector might do the same" in alone.distrust
    structural = [("position", "denoise", PAIRED, 1, "t1")]
    assert "1 cell cannot move by construction" in lines(a_run(SWITCHES, FEW, structural=structural)).distrust
    everything = [("position", "denoise", PAIRED, layer, site) for layer, site in SWITCHES]
    assert lines(a_run(SWITCHES, {}, structural=everything)).found.startswith("Nothing can move")


def test_answers_that_are_neither_and_pairs_that_are_wrong_are_told():
    neither = [("position", "denoise", PAIRED, 0, "t1", pair) for pair in range(18, 20)]
    said = lines(a_run(SWITCHES | {(1, "t0"): 0, (1, "t1"): 0}, FEW, neither=neither))
    assert "There 10 % of the pairs give neither answer." in said.distrust
    assert "answers" not in lines(a_run(SWITCHES, FEW)).distrust
