"""Layer-wise: all thoughts of one layer at once. Where, over depth, the thoughts together carry the answer."""

from mechpatch.kinds.cells import ALL, Cell, Frame
from mechpatch.kinds.kind import Kind


def layer_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer."""
    return [frame.cell("layer", layer, frame.thoughts, ALL) for layer in frame.layers]


LAYER = Kind(
    name="layer",
    label="Layer-wise patching",
    phrase="Layer-wise",
    cells=layer_cells,
    drawing="profile",
    place=lambda cell: f"layer {cell.layer}",
)
