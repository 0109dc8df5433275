"""Sets: several sites, or several layers, at once.

`leave_one_out` writes every thought but one: what the others carry without it. `pairwise` writes two sites, whose
synergy is their effect beyond the sum of the two alone. `subset` writes any sets of sites that were asked for. `window`
writes one site at several layers in a row, so that what the layers between put back is overwritten too.
"""

from itertools import combinations

from mechpatch.errors import SpecError
from mechpatch.kinds.cells import Cell, Frame
from mechpatch.kinds.kind import Kind, Placed


def leave_one_out_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and thought, named by the thought that is left out."""
    if len(frame.thoughts) < 2:
        raise SpecError("leave-one-out needs two thoughts or more: with one, nothing is left to write")
    return [
        frame.cell("leave_one_out", layer, [each for each in frame.thoughts if each != left_out], left_out)
        for layer in frame.layers
        for left_out in frame.thoughts
    ]


def pairwise_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and two sites."""
    if len(frame.sites) < 2:
        raise SpecError(f"pairwise needs two sites or more, found {', '.join(frame.sites)}")
    return [frame.cell("pairwise", layer, both) for layer in frame.layers for both in combinations(frame.sites, 2)]


def subset_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and set of sites."""
    return [frame.cell("subset", layer, sites) for layer in frame.layers for sites in frame.subsets]


def window_cells(frame: Frame) -> list[Cell]:
    """One cell for each `frame.window` layers in a row, of which `frame.layers` has the first, and site."""
    starts = [layer for layer in frame.layers if layer + frame.window <= frame.n_layers]
    if not starts:
        raise SpecError(f"no {frame.window} layers in a row begin at layer {frame.layers[0]} of {frame.n_layers}")
    return [frame.cell("window", layer, (site,), width=frame.window) for layer in starts for site in frame.sites]


def without(cell: Placed) -> str:
    """Where a cell of leave-one-out is, in words."""
    return f"layer {cell.layer} without {cell.site}"


def at_layers(cell: Placed) -> str:
    """Where a cell of a window is, in words; one that a person named is known by its first layer alone."""
    if cell.width is None:
        return f"layer {cell.layer} up, {cell.site}"
    return f"layers {cell.layer} to {cell.layer + cell.width - 1}, {cell.site}"


LEAVE_ONE_OUT = Kind(
    name="leave_one_out",
    label="Leave-one-out patching",
    phrase="With one thought left out",
    cells=leave_one_out_cells,
    needs="layer",
    gives="lost",
    place=without,
    across="Thought left out",
)
PAIRWISE = Kind(
    name="pairwise",
    label="Pairwise patching",
    phrase="Written two at a time",
    cells=pairwise_cells,
    drawing="triangle",
    needs="position",
    gives="synergy",
)
SUBSET = Kind(
    name="subset",
    label="Patching of sets",
    phrase="Written as sets",
    cells=subset_cells,
    needs="position",
    gives="synergy",
    across="Positions",
)
WINDOW = Kind(
    name="window",
    label="Patching of layer windows",
    phrase="Written at several layers in a row",
    cells=window_cells,
    needs="position",
    gives="gain",
    place=at_layers,
    up="First layer of the window",
)
