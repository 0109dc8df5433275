"""What a lens hits: how many pairs, at which place, beyond which controls; and whether a write there moves the answer.

A hit is a target's token among the `top` most likely ones. Pairs whose token another target of the question has too are
left out of that target's shares. Every cell is held against its controls pair by pair, and what is clear is decided by
`mechpatch.stats.clear` alone, over the map of one side: all layers, sites and targets.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.catalogue import PAIRED, READING_CONTROLS
from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import Share
from mechpatch.stats.cells import at_thoughts
from mechpatch.stats.clear import is_clear, is_clear_value
from mechpatch.stats.summary_values import Summary
from mechpatch.stats.switching import shares

SIDES = {"denoise": "clean", "noise": "corrupted"}  # whose vectors a direction writes
Place = tuple[str, int, str]  # hook point, layer, site


@runtime_checkable  # beartype needs it
class Found(Protocol):
    """A summary of a reading, whose cells have a place, and are clear or not."""

    def of(self, side: str) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LensCell:
    """One target at one place of one side.

    Attributes:
        hits: pairs whose target is hit there.
        median_rank: over the same pairs; None without any.
    """

    side: str
    target: str
    hook: str
    layer: int
    site: str
    hits: Share
    median_rank: float | None

    __repr__ = short_repr

    @property
    def clear(self) -> bool:
        """Whether it may be said that the target can be read there."""
        return is_clear_value(self.hits)

    @property
    def place(self) -> Place:
        return self.hook, self.layer, self.site


@dataclass(frozen=True, slots=True, kw_only=True)
class LensSummary:
    """What a lens's table says.

    Attributes:
        top: a rank of at most this is a hit.
        include_incorrect: whether pairs that the model gets wrong are used, too.
        pairs, used: how many pairs were read, and how many of them are used.
        shared: targets of the used pairs that are left out because another one has their token.
        several: targets of the used pairs whose value has several tokens, of which the first alone is looked for.
        sought: targets of the used pairs.
        cells: sides, then targets, hook points, layers and sites in the order of the table.
    """

    top: int
    include_incorrect: bool
    pairs: int
    used: int
    shared: int
    several: int
    sought: int
    cells: tuple[LensCell, ...]

    __repr__ = short_repr

    def of(self, side: str) -> list[LensCell]:
        """The cells of one side."""
        return [cell for cell in self.cells if cell.side == side]

    @property
    def controls(self) -> list[str]:
        """The controls that were run at any cell."""
        run = {name for cell in self.cells for name, test in cell.hits.beyond.items() if test.n}
        return [name for name in READING_CONTROLS if name in run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Where a value can be read, and where writing the vector moves the answer, over thoughts that both looked at.

    Attributes:
        direction: of the writes.
        readable, moving: places where a value can be read, and those where more pairs switch than with every control.
        both: those that are both.
        places: how many there are.
        fixed: places that can be read, and where no write can move the answer by construction.
    """

    direction: str
    readable: tuple[Place, ...]
    moving: tuple[Place, ...]
    both: tuple[Place, ...]
    places: int
    fixed: tuple[Place, ...]


def summarise_lens(table: pa.Table, top: int = 1, include_incorrect: bool = False) -> LensSummary:
    """Shares of pairs that are hit, for each side, target and place of a table of `mechpatch.readings`."""
    used = table if include_incorrect else table.filter(pc.field("both_correct"))
    targets = used.group_by(["pair_index", "side", "target", "shared", "tokens"]).aggregate([]).to_pylist()
    return LensSummary(
        top=top,
        include_incorrect=include_incorrect,
        pairs=len(table["pair_index"].unique()),
        used=len(used["pair_index"].unique()),
        shared=sum(bool(each["shared"]) for each in targets),
        several=sum(each["tokens"] > 1 for each in targets),
        sought=len(targets),
        cells=tuple(cell for side in SIDES.values() for cell in _cells(table, used, side, top)),
    )


def beside(found: Found, run: Summary) -> Beside | None:
    """A reading and the causal map over the same thoughts; None where no write at single thoughts was run, or no
    place is in both."""
    paired = [
        cell for cell in run.cells if cell.experiment == "position" and cell.donor == PAIRED and cell.head is None
    ]
    direction = next((name for name in SIDES if any(cell.direction == name for cell in paired)), None)
    if direction is None:
        return None
    writes = {(cell.hook, cell.layer, cell.site): cell for cell in paired if cell.direction == direction}
    cells = [cell for cell in found.of(SIDES[direction]) if at_thoughts(cell.site) and cell.place in writes]
    places = dict.fromkeys(cell.place for cell in cells)
    if not places:
        return None
    readable = dict.fromkeys(cell.place for cell in cells if cell.clear)
    moving = [place for place in places if is_clear(writes[place])]
    return Beside(
        direction=direction,
        readable=tuple(readable),
        moving=tuple(moving),
        both=tuple(place for place in moving if place in readable),
        places=len(places),
        fixed=tuple(place for place in readable if writes[place].structural),
    )


def strongest(cells: Iterable[LensCell]) -> LensCell | None:
    """The cell with the largest share of hits; the first of equal ones."""
    return max(cells, key=lambda cell: cell.hits.share or 0.0, default=None)


def _cells(table: pa.Table, used: pa.Table, side: str, top: int) -> list[LensCell]:
    every = table.filter(pc.field("side") == side).select(["target", "hook", "layer", "site"])
    keys = dict.fromkeys(zip(*(column.to_pylist() for column in every.columns), strict=True))
    targets = sorted({key[0] for key in keys})
    order = sorted(keys, key=lambda key: targets.index(key[0]))  # stable: places stay in the order of the table
    at = {key: place for place, key in enumerate(order)}
    rows = used.filter((pc.field("side") == side) & (pc.field("shared") == ""))
    names = rows.select(["target", "hook", "layer", "site"])
    cell_of = np.array([at[key] for key in zip(*(each.to_pylist() for each in names.columns), strict=True)], dtype=int)
    pairs, pair_of = np.unique(rows["pair_index"].to_numpy(), return_inverse=True)

    def grid(name: str) -> np.ndarray:
        found = np.full((len(pairs), len(order)), np.nan)
        found[pair_of, cell_of] = pc.cast(rows[name], pa.float64()).to_numpy()
        return found

    def hits(ranks: np.ndarray) -> np.ndarray:
        return np.where(np.isnan(ranks), np.nan, ranks <= top)

    ranks = grid("rank")
    others = {name: hits(grid(f"rank_{name}")) for name in READING_CONTROLS}
    found = shares(hits(ranks), others, np.zeros(len(order), dtype=bool))
    return [
        LensCell(
            side=side,
            target=target,
            hook=hook,
            layer=layer,
            site=site,
            hits=share,
            median_rank=float(np.nanmedian(ranks[:, place])) if share.n else None,
        )
        for place, ((target, hook, layer, site), share) in enumerate(zip(order, found, strict=True))
    ]
