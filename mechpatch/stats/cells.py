"""Records as arrays: the rows of one experiment, laid out as pair × layer × column.

A *column* is a (site, step, head): the sites of a position-wise run, the steps of a chained one, one column for
layer-wise; each of them once for every head or neuron, where a hook point has some.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int

from mechpatch.catalogue import DONORS, is_null
from mechpatch.errors import StorageError
from mechpatch.kinds import KINDS
from mechpatch.kinds.cells import ALL as ALL
from mechpatch.kinds.cells import JOIN as JOIN
from mechpatch.names import OUTCOMES
from mechpatch.points import POINTS, RESID_POST
from mechpatch.reprs import short_repr
from mechpatch.storage.choices import CANDIDATES
from mechpatch.values import Value, answer_value

KEYS = (
    "experiment", "direction", "donor", "pair_index", "hook", "head", "layer", "width", "site", "site_index", "step",
)  # fmt: skip
FLAGS = ("both_correct", "structural")
# Made of several columns of the records, beside which they may be named.
DERIVED = ("effect", "answer_logprob_change", "switched", "neither", "kept", "followed")
THOUGHT = re.compile(r"t\d+")
NO_HEAD = -1


class Group(NamedTuple):
    """The experiment, direction, donor and hook point that a grid of cells belongs to."""

    experiment: str
    direction: str
    donor: str
    hook: str = RESID_POST


def at_thoughts(site: str) -> bool:
    """Whether a cell of that name writes at thoughts alone."""
    return all(THOUGHT.fullmatch(each) or each == ALL for each in site.split(JOIN))


class Column(NamedTuple):
    """One column of a grid."""

    site: str
    step: int
    head: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """The rows of one group, laid out as a grid of pair × layer × column; `select` makes it.

    Attributes:
        pairs: the `pair_index` of each pair that is used, smallest first.
        layers: the layers that were written, lowest first.
        columns: ordered by step, then by place in the sequence, then by head.
        structural: True where any row of the cell is zero by construction.
        run: True where the cell has any row; a screen leaves cells out.
        left_out: how many cells a screen left out.
        width: how many layers each cell writes, from its own layer upwards.
        rows: one row for each used pair and each cell that was run.
        address: the index of each row in the flattened grid.
    """

    pairs: Int[np.ndarray, " pair"]
    layers: Int[np.ndarray, " layer"]
    columns: tuple[Column, ...]
    structural: Bool[np.ndarray, "layer column"]
    run: Bool[np.ndarray, "layer column"]
    left_out: int
    width: int
    rows: pa.Table
    address: Int[np.ndarray, " row"]

    __repr__ = short_repr

    @property
    def heads(self) -> list[int]:
        """The heads or neurons that have columns; none where the hook point has neither."""
        return sorted({column.head for column in self.columns if column.head is not None})

    @property
    def thoughts(self) -> list[int]:
        """The columns that are single thoughts."""
        return [at for at, column in enumerate(self.columns) if THOUGHT.fullmatch(column.site)]

    def values(self, metric: str) -> Float[np.ndarray, "pair layer column"]:
        """The values of a column of the records, or of one of `DERIVED`; NaN where it is null or was not run.

        effect     recovery; with corrupted vectors in the clean run 1 − recovery: large where the write matters
        switched   1 where the answer becomes that of the other side, 0 where it does not
        neither    1 where it becomes neither side's, 0 where it does not; both for pairs whose two answers differ in
                   value and are given by the unpatched runs
        towards    nats towards the answer of the side that is written: the change of its log-probability difference
        kept       1 where the run keeps its own answer, 0 where it does not
        followed   1 where it gives the expected answer, 0 where it does not; for pairs that have one which is not the
                   patched run's own
        outcome    index in `OUTCOMES`
        """
        grid = np.full((len(self.pairs), *self.structural.shape), np.nan)
        grid.reshape(-1)[self.address] = _metric(self.rows, metric)
        return grid


def nulls_beside(group: Group, laid_out: Mapping[Group, Cells]) -> dict[str, Cells]:
    """The cells of each null donor that was run beside a group, by donor; none beside a null donor's own group."""
    if is_null(group.donor):
        return {}
    alike = {null: cells for null, cells in laid_out.items() if null._replace(donor=group.donor) == group}
    return {null.donor: cells for null, cells in alike.items() if is_null(null.donor)}


def groups(table: pa.Table) -> list[Group]:
    """The groups that a table holds: known experiments and the effect itself first.

    Raises:
        StorageError: a column is missing that every record has.
    """
    missing = [name for name in (*KEYS, *FLAGS) if name not in table.column_names]
    if missing:
        raise StorageError(
            f"records lack the columns {', '.join(missing)}: they have {', '.join(table.column_names) or 'none'}. "
            "Read the effects.parquet of a run, whole."
        )
    found = table.select(list(Group._fields)).group_by(list(Group._fields)).aggregate([]).to_pylist()
    return sorted((Group(**row) for row in found), key=_reading_order)


def select(table: pa.Table, group: Group, include_incorrect: bool = False, head: int | None = None) -> Cells:
    """Lay out one group; pairs that the unpatched model gets wrong are left out unless asked for.

    The layers and columns are those of all pairs, so a grid keeps its shape when no pair is left.

    Args:
        head: keep the columns of this head or neuron alone; by default all.

    Raises:
        StorageError: two rows claim the same pair and cell.
    """
    rows = table.filter(
        (pc.field("experiment") == group.experiment)
        & (pc.field("direction") == group.direction)
        & (pc.field("donor") == group.donor)
        & (pc.field("hook") == group.hook)
    )
    if head is not None:
        rows = rows.filter(pc.field("head") == head)
    layers = np.unique(_array(rows, "layer"))
    widths = np.unique(_array(rows, "width")).tolist()
    if len(widths) > 1:
        raise StorageError(
            f"records of {', '.join(group)} write {' and '.join(map(str, widths))} layers in a row. Two runs were "
            "joined in one table: summarise each alone."
        )
    # The largest index: what follows the thoughts comes after those of the pair that has most.
    places = rows.group_by(["step", "site", "head"]).aggregate([("site_index", "max")]).to_pylist()
    ordered = sorted(places, key=lambda place: (place["step"], place["site_index_max"], place["head"] or 0))
    columns = tuple(Column(place["site"], place["step"], place["head"]) for place in ordered)

    structural = np.zeros((len(layers), len(columns)), dtype=bool)
    at = _cell_of(rows, layers, columns)
    np.logical_or.at(structural.reshape(-1), at, _array(rows, "structural"))
    run = np.zeros_like(structural)
    run.reshape(-1)[at] = True
    among = rows[CANDIDATES].drop_null().unique().to_pylist() if CANDIDATES in rows.column_names else []
    if not include_incorrect:
        rows = rows.filter(pc.field("both_correct"))
    pairs, pair_of = np.unique(_array(rows, "pair_index"), return_inverse=True)
    address = pair_of * structural.size + _cell_of(rows, layers, columns)
    if len(np.unique(address)) < len(address):
        raise StorageError(
            f"records of {', '.join(group)}: {len(address)} rows for {len(np.unique(address))} cells; a pair and cell "
            "has one row. Two runs were joined in one table: summarise each alone."
        )
    return Cells(
        pairs=pairs,
        layers=layers,
        columns=columns,
        structural=structural,
        run=run,
        left_out=max(among) - int(run.sum()) if among and head is None else 0,
        width=widths[0] if widths else 1,
        rows=rows,
        address=address,
    )


def _reading_order(group: Group) -> tuple[int, int, str, str, int, str]:
    def rank(name: str, known: Iterable[str]) -> int:
        return [*known, name].index(name)

    experiment, direction, donor, hook = group
    return rank(hook, (RESID_POST, *POINTS)), rank(experiment, KINDS), experiment, direction, rank(donor, DONORS), donor


def _metric(rows: pa.Table, metric: str) -> Float[np.ndarray, " row"]:
    if metric == "outcome":
        given = _array(rows, "outcome")
        return np.select([given == each for each in OUTCOMES], np.arange(len(OUTCOMES), dtype=float), np.nan)
    denoise = _array(rows, "direction") == "denoise"
    if metric in ("switched", "neither"):
        sought = np.where(denoise, "clean", "corrupted") if metric == "switched" else "other"
        return np.where(_array(rows, "both_correct") & answers_differ(rows), _array(rows, "outcome") == sought, np.nan)
    if metric == "kept":
        own = np.where(denoise, "corrupted", "clean")
        return np.where(_array(rows, "both_correct"), _array(rows, "outcome") == own, np.nan)
    if metric == "followed":
        return _followed(rows, denoise)
    if metric == "effect":  # of noise: the share that is destroyed
        recovery = _array(rows, "recovery")
        return np.where(denoise, recovery, 1 - recovery)
    if metric in ("answer_logprob_change", "towards"):  # against the run that was patched
        name = "answer_logprob_diff"
        baseline = np.where(denoise, _array(rows, f"{name}_corrupted_run"), _array(rows, f"{name}_clean_run"))
        change = _array(rows, name) - baseline
        return np.where(denoise, change, -change) if metric == "towards" else change
    return _array(rows, metric).astype(np.float64)


def _followed(rows: pa.Table, denoise: Bool[np.ndarray, " row"]) -> Float[np.ndarray, " row"]:
    """Whether the answer that is given is the expected one, whatever its name; two numbers are one by their value."""
    if "expected_answer" not in rows.column_names or rows["expected_answer"].null_count == len(rows):
        return np.full(len(rows), np.nan)
    sides = [rows[name].to_pylist() for name in ("clean_answer", "corrupted_answer")]
    given, right = rows["outcome"].to_pylist(), _array(rows, "both_correct")
    found = np.full(len(right), np.nan)
    for row, expected in enumerate(rows["expected_answer"].to_pylist()):
        if expected is None or not right[row]:
            continue
        clean, corrupted = (answer_value(side[row]) for side in sides)
        value = answer_value(expected)
        if value != (corrupted if denoise[row] else clean):
            named = {"clean": clean, "corrupted": corrupted, "expected": value}
            found[row] = float(given[row] in named and named[given[row]] == value)
    return found


def answers_differ(rows: pa.Table) -> Bool[np.ndarray, " row"]:
    """Whether the two answers of each row's pair are two: 18 and 18.0 are one."""
    columns = [rows[name].combine_chunks().dictionary_encode() for name in ("clean_answer", "corrupted_answer")]
    numbers: dict[Value, int] = {}
    sides = []
    for column in columns:
        values = [answer_value(text) for text in column.dictionary.to_pylist()]
        number = np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)
        sides.append(number[column.indices.to_numpy()])
    return sides[0] != sides[1]


def _cell_of(rows: pa.Table, layers: Int[np.ndarray, " layer"], columns: tuple[Column, ...]) -> Int[np.ndarray, " row"]:
    sites = rows["site"].combine_chunks().dictionary_encode()
    names = sites.dictionary.to_pylist()
    steps, step_of = np.unique(_array(rows, "step"), return_inverse=True)
    heads, head_of = np.unique(pc.fill_null(rows["head"], NO_HEAD).to_numpy(), return_inverse=True)
    index_of = {column: index for index, column in enumerate(columns)}
    place = np.full((len(names), len(steps), len(heads)), -1, dtype=np.int64)
    for at in np.ndindex(place.shape):
        name, step, head = names[at[0]], int(steps[at[1]]), int(heads[at[2]])
        place[at] = index_of.get(Column(name, step, None if head == NO_HEAD else head), -1)
    column = place[sites.indices.to_numpy(), step_of, head_of]
    return np.searchsorted(layers, _array(rows, "layer")) * len(columns) + column


def _array(rows: pa.Table, name: str) -> np.ndarray:
    if name not in rows.column_names:
        raise StorageError(
            f"records have no column {name!r}: they have {', '.join(rows.column_names)}. Name one of these."
        )
    return rows[name].to_numpy()
