"""Cells that write the same are one run, and a chain hands on whatever stands between its steps."""

from dataclasses import replace

from mechpatch.experiments.running.patched import runs_of
from mechpatch.kinds import KINDS
from mechpatch.kinds.cells import Cell, Frame
from mechpatch.patching.patch import Patch

SITES = ("bot", "t0", "t1", "t2", "eot", "answer")
FRAME = Frame(n_layers=2, layers=(0, 1), sites=SITES, thoughts=("t0", "t1", "t2"), feedback=True)


def cells(*names: str, frame: Frame = FRAME) -> list[Cell]:
    return [cell for name in names for cell in KINDS[name].cells(frame)]


def test_cells_that_write_the_same_are_one_run():
    asked = cells("layer", "position", "relay", "cumulative")
    runs = runs_of(asked, SITES)
    named = [{(cell.experiment, cell.layer, cell.site) for cell in those} for those in runs.cells]
    for layer in (0, 1):
        assert {("position", layer, "t0"), ("relay", layer, "t0"), ("cumulative", layer, "t0")} in named
        assert {("layer", layer, "all"), ("cumulative", layer, "t2")} in named
        assert {("relay", layer, "t1")} in named  # writes what the step before has, whatever position writes
    assert sorted(map(len, runs.cells)) == [1] * 16 + [2] * 2 + [3] * 2
    assert sorted((cell for those in runs.cells for cell in those), key=asked.index) == asked  # each once
    for those, patch in zip(runs.cells, runs.patches, strict=True):
        assert all(patch.sites == tuple(map(SITES.index, cell.sites)) for cell in those)


def test_every_step_is_handed_what_the_one_before_has():
    runs = runs_of(cells("position", "relay"), SITES)
    steps = [
        (runs.cells[run][0].layer, runs.cells[run][0].step, runs.cells[giver][-1].layer, runs.cells[giver][-1].step)
        for run, giver in runs.handed.items()
    ]
    assert steps == [(0, 1, 0, 0), (0, 2, 0, 1), (1, 1, 1, 0), (1, 2, 1, 1)]
    assert all(giver < run for run, giver in runs.handed.items())
    assert not runs_of(cells("layer", "position", "cumulative"), SITES).handed


def test_steps_that_need_the_run_before_them_come_in_their_order():
    runs = runs_of(cells("layer", "position", "cumulative"), SITES)
    for layer in (0, 1):
        found = [
            cell.step
            for those in runs.cells
            for cell in those
            if (cell.experiment, cell.layer) == ("cumulative", layer)
        ]
        assert found == [0, 1, 2]


def test_heads_and_widths_are_runs_of_their_own():
    one = cells("position")[1]
    asked = [one, replace(one, head=0), replace(one, head=1), replace(one, width=2, experiment="window")]
    assert runs_of(asked, SITES).patches == [
        Patch(0, (1,)), Patch(0, (1,), head=0), Patch(0, (1,), head=1), Patch(0, (1,), width=2),
    ]  # fmt: skip
