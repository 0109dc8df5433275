from dataclasses import replace

import pytest

from mechpatch.kinds.cells import Frame, spelt
from mechpatch.kinds.chained import cumulative_cells, relay_cells
from mechpatch.kinds.layer import layer_cells
from mechpatch.kinds.position import position_cells
from mechpatch.points import POINTS

SITES = ("bot", "t0", "t1", "eot", "answer")


def frame(feedback: bool, layers=(0, 1)) -> Frame:
    return Frame(n_layers=2, layers=layers, sites=SITES, thoughts=("t0", "t1"), feedback=feedback)


def structural(cells):
    return {(cell.layer, cell.site, cell.step) for cell in cells if cell.structural}


def test_counts():
    assert len(layer_cells(frame(True))) == 2
    assert len(position_cells(frame(True))) == 10
    assert len(relay_cells(frame(True))) == len(cumulative_cells(frame(True))) == 4
    assert {cell.layer for cell in position_cells(frame(True, layers=(1,)))} == {1}


def test_structural_with_feedback():
    # The last layer of the last thought and of eot is read by nothing.
    assert structural(position_cells(frame(True))) == {(1, "t1", 0), (1, "eot", 0)}
    assert structural(layer_cells(frame(True))) == set()
    assert structural(relay_cells(frame(True))) == {(1, "t1", 1)}
    assert structural(cumulative_cells(frame(True))) == set()


def test_structural_without_feedback():
    zeros = {(1, site, 0) for site in ("bot", "t0", "t1", "eot")}
    assert structural(position_cells(frame(False))) == zeros
    assert structural(layer_cells(frame(False))) == {(1, "all", 0)}
    assert structural(relay_cells(frame(False))) == {(0, "t1", 1), (1, "t0", 0), (1, "t1", 1)}
    assert structural(cumulative_cells(frame(False))) == {(1, "t0", 0), (1, "t1", 1)}


def test_cumulative_writes_every_thought_so_far():
    assert [cell.sites for cell in cumulative_cells(frame(True, layers=(0,)))] == [("t0",), ("t0", "t1")]
    assert [cell.sites for cell in relay_cells(frame(True, layers=(0,)))] == [("t0",), ("t1",)]


LAST = {(1, site, 0) for site in ("t1", "eot")}
SILENT = {(1, site, 0) for site in ("bot", "t0", "t1", "eot")}


@pytest.mark.parametrize("hook", [name for name, point in POINTS.items() if point.hooks])
def test_structural_at_every_hook_point(hook):
    """Keys, values and what they are made of are read by later positions, in the last layer too; the rest is not."""
    for feedback, zeros in ((True, LAST), (False, SILENT)):
        found = structural(position_cells(replace(frame(feedback), hook=hook)))
        assert found == (set() if hook in ("resid_pre", "k", "v", "kv") else zeros)


def test_a_vector_that_is_made_of_a_fixed_token_is_alike_in_all_questions():
    of_tokens = replace(frame(True), fixed=("bot", "eot", "answer"))
    for hook in POINTS:
        found = {(cell.layer, cell.site) for cell in position_cells(replace(of_tokens, hook=hook)) if cell.alike}
        expected = {(0, site) for site in ("bot", "eot", "answer")} if hook in ("resid_pre", "k", "v", "kv") else set()
        assert found == expected, hook
    learned = replace(of_tokens, hook="resid_pre", learned_positions=True)
    assert not any(cell.alike for cell in position_cells(learned))


def test_without_feedback_no_hook_point_hands_on():
    for hook in POINTS:
        steps = [cell for cell in relay_cells(replace(frame(False), hook=hook)) if cell.step > 0]
        assert steps
        assert all(cell.structural for cell in steps)


def test_a_hook_point_is_named_where_it_is_not_the_usual_one():
    assert spelt("position", "resid_post", None) == "position"
    assert spelt("position", "attn_out", None) == "position@attn_out"
    assert spelt("relay", "z", 5) == "relay@z.5"
