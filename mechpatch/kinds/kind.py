"""One kind of experiment: everything that the rest of the project knows of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mechpatch.kinds.cells import Cell, Frame

DRAWINGS = ("map", "profile", "chain", "triangle")
WORDS = ("label", "phrase", "drawing", "across", "up")  # fields that say how a kind is told and drawn


@runtime_checkable
class Placed(Protocol):
    """What has the place of a cell. A cell that a person named has neither step nor width."""

    @property
    def layer(self) -> int: ...
    @property
    def site(self) -> str: ...
    @property
    def step(self) -> int | None: ...
    @property
    def width(self) -> int | None: ...


def at_site(cell: Placed) -> str:
    """Where a cell of a map is, in words."""
    return f"layer {cell.layer}, {cell.site.replace('+', ' and ')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of experiment. A new one is a value of this class in a file, and a row in `mechpatch.kinds.KINDS`;
    one of your own is given to `mechpatch.run`.

    Attributes:
        name: in records and on the command line, where a hyphen may stand for an underscore.
        label: its heading.
        cells: the cells that it visits, given the model's depth and the sites; `Frame.cell` makes one.
        version: version of a kind of your own; a run directory grows only by the version that it has.
        phrase: opens the sentence about it: "Position-wise", "Written two at a time". By default the label.
        drawing: one of `DRAWINGS`. "map": layers × columns. "profile": one number for each layer. "chain": a line for
            each layer over the steps. "triangle": sites × sites, a map for each layer.
        donors: the donors that it is run with, the effect first; empty for the pair's other side and the nulls that
            were asked for.
        hands_on: whether its cells write what the run of the step before produced.
        needs: the kind whose effects its own are held against, pair by pair.
        gives: what that difference is called: lost, synergy or gain (see `mechpatch.stats.sets`).
        place: where a cell is, in words, given anything that has its layer, site, step and width.
        across, up: titles of the axes of its map.
    """

    name: str
    label: str
    cells: Callable[[Frame], list[Cell]]
    version: str = "1"
    phrase: str = ""
    drawing: str = "map"
    donors: tuple[str, ...] = ()
    hands_on: bool = False
    needs: str | None = None
    gives: str | None = None
    place: Callable[[Placed], str] = at_site
    across: str = "Position"
    up: str = "Layer"

    @property
    def described(self) -> dict[str, str]:
        """Its words and its drawing, as a run directory keeps those of a kind of your own."""
        return {name: getattr(self, name) for name in WORDS}
