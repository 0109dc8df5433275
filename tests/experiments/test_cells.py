from mechpatch.kinds.cells import Frame
from mechpatch.kinds.chained import cumulative_cells, relay_cells
from mechpatch.kinds.layer import layer_cells
from mechpatch.kinds.position import position_cells

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
