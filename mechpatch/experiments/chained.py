"""Chained: from thought to thought.

`cumulative` step i writes the donor at thoughts 0 … i. `relay` step i writes at thought i alone, and what it writes is
what the run of step i-1 produced there: it asks what one thought hands to the next through this layer alone. Without
feedback a write at thought i cannot reach the same layer at thought i+1, so every later relay step is zero by
construction and says nothing about the model.
"""

from mechpatch.experiments.cells import Cell, Frame


def cumulative_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and step."""
    return [
        Cell(
            experiment="cumulative",
            layer=layer,
            sites=frame.thoughts[: step + 1],
            site=site,
            step=step,
            structural=frame.dead(layer, frame.thoughts[: step + 1]),
        )
        for layer in frame.layers
        for step, site in enumerate(frame.thoughts)
    ]


def relay_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and step, the steps of a layer in order."""
    return [
        Cell(
            experiment="relay",
            layer=layer,
            sites=(site,),
            site=site,
            step=step,
            structural=frame.dead(layer, (site,)) or (step > 0 and not frame.feedback),
        )
        for layer in frame.layers
        for step, site in enumerate(frame.thoughts)
    ]
