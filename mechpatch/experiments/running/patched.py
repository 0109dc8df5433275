"""The cells of a batch as patched runs: which of them are one run, and how near what they write is to either side."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mechpatch.axes import SiteVectors
from mechpatch.experiments.cells import patch_of
from mechpatch.experiments.running.donors import BY_STEP
from mechpatch.kinds import Cell
from mechpatch.patching.patch import Patch
from mechpatch.patching.together import Together


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


def written_into(
    ran: Together, run: int, source: SiteVectors, handed: bool
) -> Float[Tensor, "pair 2 patched_layer patched_site *written"]:
    """What one of the runs was written, at the layers and sites of its patch; of its head alone where it has one.

    Args:
        source: the donor's vectors.
        handed: whether the run was handed what another run had there.
    """
    patch = ran.patches[run]
    if handed:
        return _head(ran.vectors[run][:, :, [*patch.sites]], patch.head, 3)[:, :, None]
    layers = source[:, :, patch.layers.start : patch.layers.stop]
    return _head(layers[:, :, :, [*patch.sites]], patch.head, 4)


class Similarities:
    """Cosines to the clean and to the corrupted vector of the same site, for cells of one hook point.

    A site is the same in both continuations, because no answer comes before it; the first one is read.

    Args:
        source: the donor's vectors.
        sides: those of the unpatched clean and corrupted runs.
        recipient: which of them is patched.
    """

    def __init__(self, source: SiteVectors, sides: Sequence[SiteVectors], recipient: int) -> None:
        self._source, self._sides, self._recipient = source[:, 0], [each[:, 0] for each in sides], recipient
        self._tables: dict[tuple[bool, bool], np.ndarray] = {}  # of the donor's vectors, and the run's own
        self._before: dict[tuple[str, int, int | None], np.ndarray] = {}  # what the step before of a chain has

    def of(self, ran: Together, start: int, runs: Runs) -> Iterator[Float[np.ndarray, "side pair"]]:
        """Mean cosines over the sites of each cell of each run, in order, in [-1, 1].

        The vector is the one that is written; for a cumulative step, what the run with the earlier writes had at this
        step's site itself.

        Args:
            start: number of the first of these runs among all.
        """
        numbers = range(start, start + len(ran.patches))
        chained = [any(cell.similarity != "written" for cell in runs.cells[number]) for number in numbers]
        own = self._of_runs(ran, [at for at, number in enumerate(numbers) if chained[at] or number in runs.handed])
        for at, number in enumerate(numbers):
            patch = ran.patches[at]
            sites = [*patch.sites]
            for cell in runs.cells[number]:
                way = (cell.experiment, cell.layer, cell.head)
                if cell.similarity != "written":
                    before = self._table(True, patch) if cell.step == 0 else self._before[way]
                    found = before[:, :, sites[-1:]]
                    self._before[way] = own[at]
                elif number in runs.handed:
                    found = own[at][:, :, sites]
                else:
                    found = self._table(False, patch)[:, :, sites]
                yield found.mean(-1)

    def _of_runs(self, ran: Together, needed: Sequence[int]) -> Mapping[int, Float[np.ndarray, "side pair site"]]:
        """Those of what some of the runs themselves have at every site; one copy to the host for all."""
        if not needed:
            return {}
        cosines = [self._cosines(ran.vectors[run, :, 0], ran.patches[run]) for run in needed]
        return dict(zip(needed, torch.stack(cosines).cpu().double().numpy(), strict=True))

    def _cosines(self, vectors: Float[Tensor, "pair site *vector"], patch: Patch) -> Float[Tensor, "side pair site"]:
        found = _head(vectors, patch.head, 2).flatten(2)
        others = (_head(side[:, patch.layer], patch.head, 2).flatten(2) for side in self._sides)
        return torch.stack([F.cosine_similarity(found, other, dim=-1) for other in others])

    def _table(self, own: bool, patch: Patch) -> Float[np.ndarray, "side pair site"]:
        """Those of the donor's vectors, or of the unpatched run's own, in the layer and head of a patch."""
        key = own, patch.head is not None
        if key not in self._tables:
            vectors, start = self._sides[self._recipient] if own else self._source, 3 + (patch.head is not None)
            found = [F.cosine_similarity(vectors.flatten(start), other.flatten(start), dim=-1) for other in self._sides]
            self._tables[key] = torch.stack(found).cpu().double().numpy()
        table = self._tables[key][:, :, patch.layer]
        return table if patch.head is None else table[..., patch.head]


def _head(vectors: Float[Tensor, "*site head d_head"], head: int | None, axis: int) -> Tensor:
    """Vectors of one head, whose axis is named; all of them where none is."""
    return vectors if head is None else vectors.select(axis, head)
