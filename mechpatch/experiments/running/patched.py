"""The cells of a batch as patched runs: which of them are written with the same vectors, and what each of them gave."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.axes import Logits, SiteVectors
from mechpatch.experiments.cells import patch_of
from mechpatch.experiments.running.donors import BY_STEP
from mechpatch.experiments.running.engines import Runner
from mechpatch.kinds import Cell
from mechpatch.patching import Batch
from mechpatch.patching.patch import Patch
from mechpatch.patching.say import Said


class Done(NamedTuple):
    """A patched run.

    Attributes:
        written: at the patch's layers and sites; of its head alone where it has one.
        compared, compared_at: vectors whose similarity is reported, and their sites: those written; for a cumulative
            step, what the run with the earlier writes had at this step's site itself.
        said: what it says, if it was asked.
    """

    patch: Patch
    logits: Logits
    written: Float[Tensor, "pair 2 layer site *vector"]
    compared: Float[Tensor, "pair 2 site *vector"]
    compared_at: list[int]
    said: Said | None


def together(donor: str, cells: Sequence[Cell]) -> dict[tuple[str, int | None], list[Cell]]:
    """Cells that are written with the same vectors: of one hook point, and of one step if the donor depends on it."""
    found: dict[tuple[str, int | None], list[Cell]] = {}
    for cell in cells:
        if cell.thoughts is None:
            step = cell.step - 1 if donor in BY_STEP and cell.step > 0 else None
            found.setdefault((cell.hook, step), []).append(cell)
    return found


class Runs(NamedTuple):
    """The runs of some cells that are written with the same vectors; cells that write the same are one run.

    Attributes:
        patches: what each run writes, in an order in which each stands after the one that hands on to it.
        handed: by run, the one that hands on what it writes; all others write the donor's vectors.
        cells: by run, the cells that it is.
    """

    patches: list[Patch]
    handed: dict[int, int]
    cells: list[list[Cell]]


def runs_of(cells: Sequence[Cell], sites: Sequence[str]) -> Runs:
    """The runs of cells of one hook point: t0 of `position`, step 0 of a chain and of a relay are one run, for example.

    What a step writes does not say what it is told with, so chains whose steps need the run before them come first.
    """
    runs, place, before = Runs([], {}, []), dict[object, int](), dict[object, int]()
    for cell in sorted(cells, key=lambda each: each.similarity == "written"):  # stable
        patch, way = patch_of(cell, sites), (cell.experiment, cell.layer, cell.head)
        chained = cell.source == "step before"
        run = place.setdefault((patch, way) if chained and way in before else patch, len(runs.patches))
        if run == len(runs.patches):
            runs.patches.append(patch)
            runs.cells.append([])
            if chained and way in before:
                runs.handed[run] = before[way]
        runs.cells[run].append(cell)
        if chained:
            before[way] = run
    return runs


def patched_runs(
    runner: Runner, batch: Batch, source: SiteVectors, cells: Sequence[Cell], baseline: SiteVectors
) -> Iterator[tuple[Cell, Done]]:
    """Run the cells of one hook point.

    Args:
        baseline: what the unpatched runs have there.
    """
    if not cells:
        return
    hook, runs = cells[0].hook, runs_of(cells, batch.sites)
    had: dict[tuple[str, int, int | None], SiteVectors] = {}  # what the step before of a chain has
    swept = runner.sweep(hook, source, runs.patches, runs.handed)
    for run, (patch, outcome) in enumerate(swept):
        sites, ran = [*patch.sites], outcome.vectors[hook]
        if run in runs.handed:
            written = at(ran, 0, sites, patch.head)[:, :, None]
        else:
            written = torch.stack([at(source, layer, sites, patch.head) for layer in patch.layers], dim=2)
        for cell in runs.cells[run]:
            compared, compared_at = written[:, :, 0], sites
            if cell.similarity != "written":
                way = (cell.experiment, cell.layer, cell.head)
                before = baseline[:, :, cell.layer] if cell.step == 0 else had[way]
                compared_at = sites[-1:]
                compared = before[:, :, compared_at] if patch.head is None else before[:, :, compared_at, patch.head]
                had[way] = ran[:, :, 0].clone()
            yield cell, Done(patch, outcome.logits, written, compared, compared_at, outcome.said)


def at(
    vectors: SiteVectors, layer: int, sites: Sequence[int], head: int | None
) -> Float[Tensor, "pair 2 chosen *written"]:
    """The vectors of some sites of a layer; those of one head where one is named."""
    found = vectors[:, :, layer, list(sites)]
    return found if head is None else found[:, :, :, head]
