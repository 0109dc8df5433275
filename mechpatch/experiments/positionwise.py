"""Position-wise: one site of one layer at a time. Which thought carries the answer, and from which layer on."""

from mechpatch.experiments.cells import Cell, Frame


def positionwise_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and site, layers outermost."""
    return [
        Cell(experiment="position", layer=layer, sites=(site,), site=site, structural=frame.dead(layer, (site,)))
        for layer in frame.layers
        for site in frame.sites
    ]
