"""The kinds of experiments: which cells each visits, what it is called and how it is drawn. One table of them all."""

from mechpatch.kinds.cells import Cell as Cell
from mechpatch.kinds.cells import Frame as Frame
from mechpatch.kinds.chained import CUMULATIVE, RELAY
from mechpatch.kinds.kind import Kind as Kind
from mechpatch.kinds.layer import LAYER
from mechpatch.kinds.position import POSITION
from mechpatch.kinds.sets import LEAVE_ONE_OUT, PAIRWISE, SUBSET, WINDOW

# In the order of every list and table.
_TABLE = (
    LAYER,
    POSITION,
    RELAY,
    CUMULATIVE,
    LEAVE_ONE_OUT,
    PAIRWISE,
    SUBSET,
    WINDOW,
)
KINDS = {kind.name: kind for kind in _TABLE}
SHORT = {"chained": ("relay", "cumulative"), "all": ("layer", "position", "relay", "cumulative")}


def kind_of(name: str) -> Kind:
    """The kind of that name. Records may hold one that somebody else made: it is drawn as a map under its own name."""
    return KINDS.get(name) or Kind(name=name, label=name.replace("_", " ").capitalize(), cells=lambda frame: [])
