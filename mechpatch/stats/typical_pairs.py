"""Which pairs of a run are shown where nobody named any, and why, in words.

First the median pair of those that switch at the leading cell, then the median one of those that could and do not, and
so on in turn, away from the medians. Where no pair switches: those whose answer moves most.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.catalogue import PAIRED
from mechpatch.formats import written
from mechpatch.kinds import kind_of
from mechpatch.points import RESID_POST, hook_named
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.cells import Column, Group, select

ANSWER = {"denoise": "clean", "noise": "corrupted"}
UNPATCHED = {"denoise": "answer_logprob_diff_corrupted_run", "noise": "answer_logprob_diff_clean_run"}
Moved = tuple[float, int]  # by how many nats the answer of a pair moves, and the index of the pair


@dataclass(frozen=True, slots=True)
class Choice:
    """A pair that is shown.

    Attributes:
        index: its `pair_index`.
        why: what it was chosen for, to stand after "shown as"; empty where a person named it.
        cell: layer and site at which its patched run is shown; None for wherever its answer moves most.
    """

    index: int
    why: str = ""
    cell: tuple[int, str] | None = None


def typical_pairs(records: pa.Table, leading: CellSummary | None, count: int) -> list[Choice]:
    """At most `count` pairs of a run, each with the reason.

    Args:
        leading: the cell by which the run is told, see `Summary.leading`; None where nothing can move.
    """
    if leading is None:
        return _largest(records, count, "nothing can be told of any cell")
    did, failed = _by_switch(records, leading)
    given = f"the {ANSWER[leading.direction]} answer after the write at {_place(leading)}"
    if not did:
        return _largest(records, count, f"{'no pair gives' if failed else 'no pair could give'} {given}")
    single = leading.experiment == "position" and leading.hook == RESID_POST
    cell = (leading.layer, leading.site) if single else None
    kinds = (
        f"{len(did)} pairs that give {given}" if len(did) > 1 else f"only pair that gives {given}",
        f"{len(failed)} pairs that could give {given} and do not"
        if len(failed) > 1
        else f"only pair that could give {given} and does not",
    )
    turns = zip_longest(_from_median(did), _from_median(failed))
    chosen = (
        Choice(moved[1], f"{_rank(rank, who)}; its answer moves by {written(moved[0], '+.1f')} nats", cell)
        for rank, turn in enumerate(turns)
        for who, moved in zip(kinds, turn, strict=True)
        if moved is not None
    )
    return [*islice(chosen, count)]


def _by_switch(records: pa.Table, leading: CellSummary) -> tuple[list[Moved], list[Moved]]:
    """The pairs that switch at a cell and those that could and do not, each by how far its answer moves."""
    group = Group(*(getattr(leading, name) for name in Group._fields))
    cells = select(records, group, include_incorrect=True)
    column = cells.columns.index(Column(*(getattr(leading, name) for name in Column._fields)))
    at = np.searchsorted(cells.layers, leading.layer), column
    switched, change = (cells.values(name)[:, *at] for name in ("switched", "answer_logprob_change"))
    did, failed = (
        sorted((float(change[pair]), int(cells.pairs[pair])) for pair in np.flatnonzero(switched == value))
        for value in (1, 0)
    )
    return did, failed


def _from_median(moved: list[Moved]) -> Iterator[Moved]:
    """The median one first, then those beside it in turn."""
    middle = (len(moved) - 1) // 2
    return (moved[rank] for rank in sorted(range(len(moved)), key=lambda rank: abs(rank - middle)))


def _rank(rank: int, who: str) -> str:
    if who.startswith("only"):
        return f"the {who}"
    return f"{'one near the median' if rank else 'the median one'} of the {who}"


def _place(cell: CellSummary) -> str:
    where = kind_of(cell.experiment).place(cell)
    return where if cell.hook == RESID_POST else f"{where}, {hook_named(cell.hook, cell.head)}"


def _largest(records: pa.Table, count: int, why: str) -> list[Choice]:
    """Where no pair switches: the pairs in whose records a cell moves the answer most, in nats, the largest first.

    Pairs that the unpatched model answers right on both sides come before the others. Null donors and cells that are
    zero by construction do not count, nor other hook points where `resid_post` was run: it is what a view shows.
    """
    names = ["pair_index", "donor", "structural", "both_correct", "direction", "answer_logprob_diff"]
    shown = records.filter(pc.field("hook") == RESID_POST)
    best: dict[int, tuple[bool, float]] = {}
    for row in (shown if shown.num_rows else records).select([*names, *UNPATCHED.values()]).to_pylist():
        after, before = row["answer_logprob_diff"], row[UNPATCHED[row["direction"]]]
        if row["donor"] == PAIRED and not row["structural"] and after is not None and before is not None:
            found = (bool(row["both_correct"]), abs(after - before))
            best[row["pair_index"]] = max(found, best.get(row["pair_index"], found))
    ordered = sorted(sorted(best), key=lambda index: best[index], reverse=True)[:count]
    among = "all pairs" if len({right for right, _ in best.values()}) == 1 else "the pairs that are answered right"
    return [
        Choice(
            index,
            f"an example, for {why}; its answer moves{'' if rank else f' furthest of {among},'} by up to "
            f"{written(best[index][1], '.1f')} nats at one cell",
        )
        for rank, index in enumerate(ordered)
    ]
