"""The kinds of experiments: which cells each visits, what it is called and how it is drawn. One table of them all."""

from collections.abc import Mapping
from dataclasses import replace

from mechpatch.kinds.cells import Cell as Cell
from mechpatch.kinds.cells import Frame as Frame
from mechpatch.kinds.chained import CUMULATIVE, RELAY
from mechpatch.kinds.kind import DRAWINGS, WORDS
from mechpatch.kinds.kind import Kind as Kind
from mechpatch.kinds.layer import LAYER
from mechpatch.kinds.position import POSITION
from mechpatch.kinds.removal import COUNT, EARLY, NECESSITY
from mechpatch.kinds.sets import LEAVE_ONE_OUT, PAIRWISE, SUBSET, WINDOW
from mechpatch.kinds.swap import SWAP

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
    NECESSITY,
    COUNT,
    EARLY,
    SWAP,
)
KINDS = {kind.name: kind for kind in _TABLE}
SHORT = {"chained": ("relay", "cumulative"), "all": ("layer", "position", "relay", "cumulative")}


_told: dict[str, Kind] = {}


def tell(described: Mapping[str, Mapping[str, str]]) -> None:
    """Learn the words and the drawing of kinds that a user made, as `Kind.described` gives them, by name.

    A run directory keeps them, so that whoever reads it draws such a kind as the one who ran it.
    """
    for name, words in described.items():
        known = {field: str(words[field]) for field in WORDS if field in words}
        if known.get("drawing") not in DRAWINGS:
            known["drawing"] = "map"
        _told[name] = replace(Kind(name=name, label=name, cells=lambda frame: []), **known)


def kind_of(name: str) -> Kind:
    """The kind of that name; one that nobody described is drawn as a map under its own name."""
    nameless = Kind(name=name, label=name.replace("_", " ").capitalize(), cells=lambda frame: [])
    return KINDS.get(name) or _told.get(name) or nameless


def all_kinds() -> dict[str, Kind]:
    """Every kind whose words are known, by name."""
    return KINDS | _told
