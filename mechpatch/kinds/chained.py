"""Chained: from thought to thought.

`cumulative` step i writes the donor at thoughts 0 … i. `relay` step i writes at thought i alone, and what it writes is
what the run of step i-1 produced there: it asks what one thought hands to the next through this layer alone. Without
feedback a write at thought i cannot reach the same layer at thought i+1, so every later relay step is zero by
construction and says nothing about the model.
"""

from dataclasses import replace

from mechpatch.kinds.cells import Cell, Frame
from mechpatch.kinds.kind import Kind, Placed, at_site


def cumulative_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and step."""
    return [
        replace(
            frame.cell("cumulative", layer, frame.thoughts[: step + 1], site, step=step),
            similarity="before",
        )
        for layer in frame.layers
        for step, site in enumerate(frame.thoughts)
    ]


def relay_cells(frame: Frame) -> list[Cell]:
    """One cell for each layer and step, the steps of a layer in order."""
    cells = [
        frame.cell("relay", layer, (site,), step=step)
        for layer in frame.layers
        for step, site in enumerate(frame.thoughts)
    ]
    return [
        replace(cell, source="step before", structural=cell.structural or (cell.step > 0 and not frame.feedback))
        for cell in cells
    ]


def at_step(cell: Placed) -> str:
    """Where a cell of a chain is, in words; a person may have named it by its site."""
    return at_site(cell) if cell.step is None else f"layer {cell.layer}, step {cell.step}"


RELAY = Kind(
    name="relay",
    label="Relay",
    phrase="In the relay",
    cells=relay_cells,
    drawing="chain",
    hands_on=True,
    place=at_step,
)
CUMULATIVE = Kind(
    name="cumulative",
    label="Cumulative patching",
    phrase="Written cumulatively",
    cells=cumulative_cells,
    drawing="chain",
    place=at_step,
)
