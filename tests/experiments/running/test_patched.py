"""Cells that write the same are one run, and a chain hands on whatever stands between its steps."""

from dataclasses import replace

import pytest
import torch
from helpers import WithoutFloat64

from mechpatch.experiments.running.patched import Runs, Similarities, runs_of
from mechpatch.kinds import KINDS
from mechpatch.kinds.cells import Cell, Frame
from mechpatch.patching.patch import Patch
from mechpatch.patching.together import Predictions, Together

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


def test_cosines_are_those_of_what_each_cell_names():
    """Of the donor's vectors where they are written, of the run's own where they are handed on, and of what the step
    before left where a chain goes on; a device need not know float64."""
    sites, generator = 3, torch.Generator().manual_seed(0)
    clean, corrupted, donor = torch.randn(
        3, 2, 2, 2, sites, 8, generator=generator
    )  # pair, answer, layer, site, d_model
    ran_has = torch.randn(3, 2, 1, sites, 8, generator=generator).expand(-1, -1, 2, -1, -1)  # run, pair, answer, site
    written = next(cell for cell in cells("position") if (cell.layer, cell.site) == (1, "t0"))
    chain = [cell for cell in cells("cumulative") if cell.layer == 1][:2]
    patches = [Patch(1, (0, 1)), Patch(1, (2,)), Patch(1, (0, 1, 2))]
    runs = Runs([*patches], {1: 0}, [[written, chain[0]], [replace(written, site="t1")], [chain[1]]])
    logits = torch.zeros(2, 2, 1, 5)
    ran = Together(patches=patches, predictions=Predictions.of(logits, logits), hook="resid_post", vectors=ran_has)
    expected = [
        (donor[:, 0, 1, :2], [0, 1]),  # written
        (corrupted[:, 0, 1, 1:2], [1]),  # the first step of a chain: what the unpatched run has at its last site
        (ran_has[1, :, 0, 2:], [2]),  # handed on
        (ran_has[0, :, 0, 2:], [2]),  # the next step of the chain: what the step before has there
    ]
    for kind in (torch.Tensor, WithoutFloat64):
        sides = [each.as_subclass(kind) for each in (clean, corrupted)]
        found = [*Similarities(donor.as_subclass(kind), sides, 1).of(ran, 0, runs)]
        for cosines, (vectors, there) in zip(found, expected, strict=True):
            for of_side, side in zip(cosines, (clean, corrupted), strict=True):
                by_hand = torch.cosine_similarity(vectors, side[:, 0, 1, there], dim=-1).mean(-1)
                assert of_side == pytest.approx(by_hand.numpy(), abs=1e-6)
    assert found[1][1] == pytest.approx([1, 1])  # the unpatched run is the corrupted one
