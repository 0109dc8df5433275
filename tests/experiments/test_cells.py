from dataclasses import replace

import pytest

from mechpatch.errors import SpecError
from mechpatch.experiments.spec import require_runnable
from mechpatch.kinds import Kind
from mechpatch.kinds.cells import Frame, spelt
from mechpatch.kinds.chained import cumulative_cells, relay_cells
from mechpatch.kinds.layer import layer_cells
from mechpatch.kinds.position import position_cells
from mechpatch.own import Own
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


def test_all_neurons_of_a_large_model_are_refused():
    require_runnable("post", 4, 384, 12_288)
    require_runnable("z", 80, 64, 80 * 64 * 9)
    with pytest.raises(SpecError, match=r"8,192 neurons of 16 layers are at least 1,048,576 cells .* post.5,post.77"):
        require_runnable("post", 16, 8192, 16 * 8192 * 8)


def handing_on(frame: Frame, order: tuple[int, ...] = (0, 1), name: str = "mine"):
    return [
        replace(frame.cell(name, layer, (frame.thoughts[at],), step=step), source="step before")
        for layer in frame.layers
        for step, at in enumerate(order)
    ]


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        (lambda frame: handing_on(frame, name="relay"), "kind 'mine' made a cell of 'relay'; give frame.cell"),
        (lambda frame: [frame.cell("mine", 0, frame.thoughts, "a")] * 2, "made 2 cells of one name .*layer 0.*site a"),
        (lambda frame: handing_on(frame, (0, 1, 0)), "no other step has"),
        (lambda frame: handing_on(frame)[1:], r"steps 0, 1, 2, … in this order"),
        (lambda frame: handing_on(frame)[:3], "the same at every layer"),
        (lambda frame: [replace(cell, width=2) for cell in handing_on(frame)], "at one layer"),
        (lambda frame: [replace(cell, sites=frame.thoughts) for cell in handing_on(frame)], "at one site"),
    ],
)
def test_cells_of_an_own_kind_that_a_run_would_mix_up_are_refused(cells, problem: str):
    with pytest.raises(SpecError, match=problem):
        Own(kinds=(Kind(name="mine", label="Mine", cells=cells),)).cells("mine", frame(True))


def test_cells_of_an_own_kind_may_hand_on_in_any_order():
    own = Own(kinds=(Kind(name="mine", label="Mine", cells=lambda frame: handing_on(frame, (1, 0))),))
    assert [cell.site for cell in own.cells("mine", frame(True))] == ["t1", "t0", "t1", "t0"]
    assert own.cells("relay", frame(True)) == relay_cells(frame(True))
