from dataclasses import replace

import pytest

from mechpatch.errors import SpecError
from mechpatch.kinds.cells import Frame
from mechpatch.kinds.sets import leave_one_out_cells, pairwise_cells, subset_cells, window_cells

FRAME = Frame(n_layers=3, layers=(0, 2), sites=("bot", "t1", "answer"), thoughts=("t0", "t1", "t2"), feedback=True)


def test_leave_one_out_is_named_by_what_is_left_out():
    cells = leave_one_out_cells(FRAME)
    assert {cell.site: cell.sites for cell in cells if cell.layer == 0} == {
        "t0": ("t1", "t2"),
        "t1": ("t0", "t2"),
        "t2": ("t0", "t1"),
    }
    assert not any(cell.structural for cell in cells)


def test_leave_one_out_of_one_thought_is_refused():
    alone = Frame(n_layers=3, layers=(0,), sites=("t0",), thoughts=("t0",), feedback=True)
    with pytest.raises(SpecError, match="two thoughts or more"):
        leave_one_out_cells(alone)
    with pytest.raises(SpecError, match="two sites or more, found t0"):
        pairwise_cells(alone)


def test_pairwise_has_every_two_sites():
    cells = pairwise_cells(FRAME)
    assert [cell.site for cell in cells if cell.layer == 2] == ["bot+t1", "bot+answer", "t1+answer"]
    assert [cell.sites for cell in cells if cell.layer == 2] == [("bot", "t1"), ("bot", "answer"), ("t1", "answer")]


def test_subsets_are_those_that_were_asked_for():
    cells = subset_cells(replace(FRAME, subsets=(("t0", "t2"), ("t2",))))
    assert [(cell.layer, cell.site, cell.structural) for cell in cells] == [
        (0, "t0+t2", False),
        (0, "t2", False),
        (2, "t0+t2", False),
        (2, "t2", True),  # nothing reads what the last layer gives at the last thought
    ]


def test_windows_end_at_the_last_layer():
    cells = window_cells(replace(FRAME, window=2))
    assert [(cell.layer, cell.width, cell.site) for cell in cells] == [
        (0, 2, "bot"),
        (0, 2, "t1"),
        (0, 2, "answer"),
    ]
    with pytest.raises(SpecError, match="no 4 layers in a row begin at layer 0 of 3"):
        window_cells(replace(FRAME, window=4))
