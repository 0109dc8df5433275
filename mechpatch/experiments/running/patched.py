"""The cells of a batch as patched runs: which of them are written with the same vectors, and what each of them gave."""

from collections.abc import Iterator, Sequence
from itertools import groupby
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


def patched_runs(
    runner: Runner, batch: Batch, source: SiteVectors, cells: Sequence[Cell], baseline: SiteVectors
) -> Iterator[tuple[Cell, Done]]:
    """Run each cell of one hook point; chains that hand on first, then the others in their order.

    Args:
        baseline: what the unpatched runs have there.
    """
    if not cells:
        return
    hook, index = cells[0].hook, {site: place for place, site in enumerate(batch.sites)}
    chained = [cell for cell in cells if cell.source == "step before"]
    for experiment in dict.fromkeys(cell.experiment for cell in chained):
        relays = {(cell.layer, cell.head, index[cell.site]): cell for cell in chained if cell.experiment == experiment}
        through = [*dict.fromkeys((layer, head) for layer, head, _ in relays)]
        for patch, step in runner.relay(hook, source, through, [*dict.fromkeys(site for *_, site in relays)]):
            vectors = step.written[:, :, None]
            done = Done(patch, step.logits, vectors[:, :, None], vectors, [*patch.sites], step.said)
            yield relays[patch.layer, patch.head, patch.sites[0]], done
    others = [cell for cell in cells if cell.source == "donor"]
    # Cells that stand side by side and write the same are one run: those of a swap differ in the answer they expect.
    alike = [[*those] for _, those in groupby(others, key=lambda cell: (cell.experiment, patch_of(cell, batch.sites)))]
    patches = [patch_of(those[0], batch.sites) for those in alike]
    before = baseline[:, :, :0]
    for those, (patch, outcome) in zip(alike, runner.sweep(hook, source, patches), strict=True):
        cell, sites = those[0], [*patch.sites]
        written = torch.stack([at(source, layer, sites, patch.head) for layer in patch.layers], dim=2)
        if cell.similarity == "written":
            for each in those:
                yield each, Done(patch, outcome.logits, written, written[:, :, 0], sites, outcome.said)
            continue
        had = baseline[:, :, cell.layer] if cell.step == 0 else before
        compared = had[:, :, sites[-1:]] if patch.head is None else had[:, :, sites[-1:], patch.head]
        yield cell, Done(patch, outcome.logits, written, compared, sites[-1:], outcome.said)
        before = outcome.vectors[hook][:, :, 0]


def at(
    vectors: SiteVectors, layer: int, sites: Sequence[int], head: int | None
) -> Float[Tensor, "pair 2 chosen *written"]:
    """The vectors of some sites of a layer; those of one head where one is named."""
    found = vectors[:, :, layer, list(sites)]
    return found if head is None else found[:, :, :, head]
