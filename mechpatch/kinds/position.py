"""Position-wise: one site of one layer at a time. Which thought carries the answer, and from which layer on."""

from mechpatch.kinds.cells import Cell, Frame
from mechpatch.kinds.kind import Kind


def position_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and site, layers outermost."""
    return [frame.cell("position", layer, (site,)) for layer in frame.layers for site in frame.sites]


POSITION = Kind(name="position", label="Position-wise patching", phrase="Position-wise", cells=position_cells)
