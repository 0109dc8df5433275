"""Sets: several sites, or several layers, at once.

`leave_one_out` writes every thought but one: what the others carry without it. `pairwise` writes two sites, whose
synergy is their effect beyond the sum of the two alone. `subset` writes any sets of sites that were asked for. `window`
writes one site at several layers in a row, so that what the layers between put back is overwritten too.
"""

from itertools import combinations

from mechpatch.errors import SpecError
from mechpatch.experiments.cells import JOIN, Cell, Frame


def leave_one_out_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and thought, named by the thought that is left out."""
    if len(frame.thoughts) < 2:
        raise SpecError("leave-one-out needs two thoughts or more: with one, nothing is left to write")
    return [
        _cell("leave_one_out", frame, layer, tuple(each for each in frame.thoughts if each != left_out), left_out)
        for layer in frame.layers
        for left_out in frame.thoughts
    ]


def pairwise_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and two sites."""
    if len(frame.sites) < 2:
        raise SpecError(f"pairwise needs two sites or more, found {', '.join(frame.sites)}")
    return [_cell("pairwise", frame, layer, both) for layer in frame.layers for both in combinations(frame.sites, 2)]


def subset_cells(frame: Frame, subsets: tuple[tuple[str, ...], ...]) -> list[Cell]:
    """One cell for each layer and set of sites."""
    return [_cell("subset", frame, layer, sites) for layer in frame.layers for sites in subsets]


def window_cells(frame: Frame, width: int) -> list[Cell]:
    """One cell for each `width` layers in a row, of which `frame.layers` has the first, and site."""
    starts = [layer for layer in frame.layers if layer + width <= frame.n_layers]
    if not starts:
        raise SpecError(f"no {width} layers in a row begin at layer {frame.layers[0]} of {frame.n_layers}")
    return [_cell("window", frame, layer, (site,), width=width) for layer in starts for site in frame.sites]


def _cell(
    experiment: str, frame: Frame, layer: int, sites: tuple[str, ...], name: str | None = None, width: int = 1
) -> Cell:
    return Cell(
        experiment=experiment,
        layer=layer,
        width=width,
        sites=sites,
        site=name or JOIN.join(sites),
        structural=frame.dead(layer, sites),
    )
