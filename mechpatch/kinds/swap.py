"""Swap: another question's thoughts in this one. Does the answer follow the thoughts, or the question?

At all thoughts at once the expected answer is that of the question whose thoughts are written. At one thought it is
computed: the answer of the patched question if the value of one of its steps were the donor's, and all else were kept.
Nobody knows beforehand which thought holds which step, so every thought is told for every step: column (thought, step).
"""

from mechpatch.kinds.cells import ALL, Cell, Frame
from mechpatch.kinds.kind import Kind, Placed

WHOLE = 0  # step of a cell that writes all thoughts; those of step s of the question have step s + 1


def swap_cells(frame: Frame) -> list[Cell]:
    """For each layer: all thoughts, then each thought for each step of the question."""
    return [
        frame.cell("swap", layer, sites, name, step=step)
        for layer in frame.layers
        for sites, name, step in (
            (frame.thoughts, ALL, WHOLE),
            *(((site,), site, step + 1) for site in frame.thoughts for step in range(frame.n_steps)),
        )
    ]


def for_step(cell: Placed) -> str:
    """Where a thought is written and for which step, in words; steps are told from 1 on."""
    if cell.site == ALL:
        return f"layer {cell.layer}, all thoughts"
    return f"layer {cell.layer}, {cell.site}" + (f" for step {cell.step}" if cell.step else "")


SWAP = Kind(
    name="swap",
    label="Swapped thoughts",
    phrase="With another question's thoughts",
    cells=swap_cells,
    donors=("other_value", "same_step", "same_value", "gaussian"),
    place=for_step,
    across="Thought, step of the question",
)
