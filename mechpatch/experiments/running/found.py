"""What a run directory holds of what is asked: which shards serve, what is missing, and the table of all rows.

A shard serves a batch if it was computed with all the pairs that are asked of it, for rounding depends on what is
computed together: a batch that grows is run again whole. Cells may come from several shards, because a run can grow by
experiments, layers and sites.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int

from mechpatch.catalogue import DIRECTIONS, DONORS
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.pinned import mixture
from mechpatch.experiments.running.batches import Part, Todo
from mechpatch.experiments.running.numerics import Rounding
from mechpatch.kinds import KINDS
from mechpatch.kinds.cells import KEY
from mechpatch.points import POINTS
from mechpatch.storage.choices import CANDIDATES, Choice
from mechpatch.storage.memory import MemoryRun
from mechpatch.storage.results import RunDirectory, Shard

Key = tuple[str | int | None, ...]  # see `Cell.key`
# The order of the rows, whatever the order in which they were asked for or computed.
SORTED = ("pair_index", "direction", "donor", "experiment", "hook", "head", "layer", "site_index", "step")


@dataclass(frozen=True, slots=True)
class Held:
    """What is there of a batch.

    Attributes:
        uses: shards that serve, each with the cells that are taken from it.
        missing: what is left to be run.
    """

    batch: list[int]
    uses: list[tuple[Shard, set[Key]]]
    missing: Todo


def describe_part(batch: Sequence[int], part: Part) -> dict[str, object]:
    """What the rows of a shard are, as `find` reads it."""
    return {
        "pairs": list(batch),
        "direction": part.direction,
        "donor": part.donor,
        "cells": [list(cell.key) for cell in part.cells],
    }


def find(experiment: Experiment, batch: Sequence[int], shards: Iterable[Shard]) -> Held:
    """What the shards hold of a batch. Of several that serve, the one computed with the fewest pairs is taken."""
    serve = [shard for shard in shards if set(batch) <= set(shard.about["pairs"])]
    serve.sort(key=lambda shard: (len(shard.about["pairs"]), shard.path.name))
    uses, missing = [], {}
    for part, cells in Todo.whole(experiment, batch).cells.items():
        left = {cell.key: cell for cell in cells}
        for shard in serve:
            if part != (shard.about["direction"], shard.about["donor"]):
                continue
            if taken := left.keys() & {tuple(cell) for cell in shard.about["cells"]}:
                uses.append((shard, taken))
                left = {key: cell for key, cell in left.items() if key not in taken}
        if left:
            missing[part] = [*left.values()]
    return Held([*batch], uses, Todo([*batch], missing))


def rows(directory: RunDirectory | MemoryRun, held: Held) -> pa.Table:
    """All rows of a batch of which nothing is missing."""
    return pa.concat_tables([_taken(directory, held.batch, *use) for use in held.uses])


def rounding_of(found: Iterable[Held]) -> Rounding | None:
    """What the cells that were computed both ways say of rounding, over all shards that serve; None without any."""
    measured = {shard.path: shard.measured for held in found for shard, _ in held.uses if shard.measured}
    each = [Rounding.of_json(values) for values in measured.values()]
    return reduce(Rounding.joined, each) if each else None


def mixture_of(machine: Mapping[str, Any], found: Iterable[Held]) -> tuple[str, ...]:
    """What is to be said of the shards that serve and were computed under other settings than those of `machine`."""
    return mixture(machine, ((shard.machine or {}, held.batch) for held in found for shard, _ in held.uses))


def arrange(table: pa.Table, experiment: Experiment) -> pa.Table:
    """Rows in their order, with the places that sites have in this experiment: those of sets depend on the others."""
    index = experiment.site_index()
    places = _ranks(table["site"], index)
    table = table.set_column(table.column_names.index("site_index"), "site_index", pa.array(places))
    own = experiment.spec.own_names
    ordered = {
        "direction": tuple(DIRECTIONS),
        "donor": (*DONORS, *own("donor")),
        "experiment": (*KINDS, *own("kind")),
        "hook": tuple(POINTS),
    }
    keys = [
        _ranks(table[name], {word: rank for rank, word in enumerate(ordered[name])})
        if name in ordered
        else pc.fill_null(table[name], -1).to_numpy()  # where there are no heads
        for name in SORTED
    ]
    return table.take(np.lexsort(keys[::-1]))


def with_candidates(table: pa.Table, choices: Sequence[Choice]) -> pa.Table:
    """Rows with how many cells those of their map were chosen from, null where all are run; as they are without any."""
    if not choices:
        return table
    counts = {(choice.experiment, choice.hook): choice.candidates for choice in choices}
    maps = zip(table["experiment"].to_pylist(), table["hook"].to_pylist(), strict=True)
    return table.append_column(CANDIDATES, pa.array([counts.get(each) for each in maps], pa.int64()))


def superseded(experiment: Experiment, shards: Iterable[Shard]) -> list[Shard]:
    """Shards of batches that are there with more pairs."""
    batches = [{*batch} for batch in experiment.batches]
    return [shard for shard in shards if any({*shard.about["pairs"]} < batch for batch in batches)]


def describe(experiment: Experiment, shards: Sequence[Shard], found: Sequence[Held]) -> str:
    """How much was there and how much is to be run, in words."""
    whole = sum(experiment.work(held.batch) for held in found)
    left = sum(held.missing.work for held in found)
    if not left:
        return f"found all {whole:,} patched runs of {_pairs(len(experiment.asked))}"
    missing = {index for held in found if held.missing.cells for index in held.batch}
    again = {index for shard in superseded(experiment, shards) for index in shard.about["pairs"] if index in missing}
    lacking = ", ".join(_lacking(experiment, shards))
    text = f"found {whole - left:,} of {whole:,} patched runs{f' ({lacking})' if lacking else ''}"
    text += f"; {_pairs(len(missing))} to run"
    return text + (f", {len(again)} of them again, in a batch that has grown" if again else "")


def _lacking(experiment: Experiment, shards: Sequence[Shard]) -> Iterator[str]:
    """In which respects there is less than is asked for; a count for each."""
    cells = [cell for batch in experiment.batches for cell in experiment.cells(batch)]
    held = [tuple(cell) for shard in shards for cell in shard.about["cells"]]
    spec = experiment.spec
    for name, wanted, there in (
        ("pairs", experiment.asked, (index for shard in shards for index in shard.about["pairs"])),
        ("directions", spec.directions, (shard.about["direction"] for shard in shards)),
        ("donors", experiment.all_donors, (shard.about["donor"] for shard in shards)),
        ("experiments", spec.experiments, (key[KEY.index("experiment")] for key in held)),
        ("hooks", spec.points, (key[KEY.index("hook")] for key in held)),
        ("layers", (cell.layer for cell in cells), (key[KEY.index("layer")] for key in held)),
    ):
        asked = {*wanted}
        if (count := len(asked & {*there})) < len(asked):
            yield f"{count} of {len(asked)} {name}"


def _pairs(count: int) -> str:
    return f"{count} pair" if count == 1 else f"{count} pairs"


def _taken(directory: RunDirectory | MemoryRun, batch: Sequence[int], shard: Shard, keys: set[Key]) -> pa.Table:
    """The rows of a shard for some pairs and cells."""
    table = directory.read_shard(shard)
    if shard.about["pairs"] == list(batch) and len(shard.about["cells"]) == len(keys):
        return table
    indices = set(batch)
    kept = [
        index in indices and tuple(cell) in keys
        for index, *cell in zip(*(table[name].to_pylist() for name in ("pair_index", *KEY)), strict=True)
    ]
    return table.filter(pa.array(kept, pa.bool_()))


def _ranks(column: pa.ChunkedArray, ranks: Mapping[str, int]) -> Int[np.ndarray, " row"]:
    encoded = column.combine_chunks().dictionary_encode()
    return np.array([ranks[word] for word in encoded.dictionary.to_pylist()], np.int64)[encoded.indices.to_numpy()]
