"""Layer-wise: all thoughts of one layer at once. Where, over depth, the thoughts together carry the answer."""

from mechpatch.experiments.cells import ALL, Cell, Frame


def layerwise_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer."""
    return [
        Cell(
            experiment="layer",
            layer=layer,
            sites=frame.thoughts,
            site=ALL,
            structural=frame.dead(layer, frame.thoughts),
        )
        for layer in frame.layers
    ]
