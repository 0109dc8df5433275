"""Which cells a spec has in questions with given sites, and what each of them writes."""

from collections.abc import Sequence

from mechpatch.experiments.spec import Spec, require_distinct
from mechpatch.kinds import Cell, Frame
from mechpatch.models import ThoughtModel
from mechpatch.own import NOTHING, Own
from mechpatch.patching.patch import Patch
from mechpatch.thoughts import select_sites, thought_sites


def frame_of(model: ThoughtModel, spec: Spec, sites: tuple[str, ...]) -> Frame:
    """Which cells questions with these sites can have under `spec`."""
    subsets = tuple(select_sites(names, sites) for names in spec.subsets)
    require_distinct(subsets, spec.subsets)  # `thoughts` may stand for what another set names
    return Frame(
        n_layers=model.n_layers,
        layers=spec.select_layers(model.n_layers),
        sites=select_sites(spec.sites, sites),
        thoughts=thought_sites(sites),
        feedback=spec.thoughts == "latent",
        subsets=subsets,
        window=spec.window,
    )


def cells_of(spec: Spec, frame: Frame, own: Own = NOTHING) -> list[Cell]:
    """Every cell of `spec`, in the order in which they are run.

    Args:
        own: kinds of the user's own.
    """
    return [cell for experiment in spec.experiments for cell in own.kind(experiment).cells(frame)]


def patch_of(cell: Cell, sites: Sequence[str]) -> Patch:
    """What a cell writes in questions that have these sites."""
    return Patch(cell.layer, tuple(sites.index(site) for site in cell.sites), cell.width)
