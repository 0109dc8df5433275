"""Run directories joined into studies: runs of one model on the same pairs are one study, whatever they patched.

A directory may hold one experiment or many. Runs that overlap in an experiment, direction and donor stay apart, so no
cell is counted twice.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mechpatch.errors import SpecError, StorageError
from mechpatch.reprs import short_repr
from mechpatch.stats import RunSummary, groups, read_summary, summarise
from mechpatch.stats.cells import Group
from mechpatch.storage.results import read_effects, read_pairs, read_spec

# What runs of one study must share: entries of a spec that change what a value means.
SHARED = ("thoughts", "n_thoughts", "prefix", "separator", "placeholder", "distances", "min_gap")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What one directory holds: its records, and what was written beside them."""

    folder: Path
    table: pa.Table
    spec: dict[str, Any]
    summary: RunSummary
    pairs: dict[str, Any]
    groups: tuple[Group, ...]

    __repr__ = short_repr

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def identity(self) -> str:
        """Equal for runs of one model on the same pairs with thoughts of one kind."""
        asked = self.spec.get("spec", {})
        shared = [asked.get(name) for name in SHARED]
        return json.dumps([self.spec.get("model"), self.spec.get("pairs"), shared], sort_keys=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """Runs that are read together.

    Attributes:
        summary: the summary of all rows. `run.notes` are of every run, the rest of `run` is of the first.
        pairs: descriptions of the pairs by `pair_id`, from the runs' pairs.json.
    """

    runs: tuple[Run, ...]
    table: pa.Table
    summary: RunSummary
    pairs: dict[str, dict[str, Any]]
    screening: dict[str, Any]

    __repr__ = short_repr

    @property
    def name(self) -> str:
        return ", ".join(run.name for run in self.runs)


def read_studies(folders: Sequence[Path]) -> list[Study]:
    """Read and join the runs in `folders`, in the order given.

    Raises:
        SpecError: no folder is given, or one is given twice.
        StorageError: a run is not finished or is damaged; the message names the file.
    """
    if not folders:
        raise SpecError("no run was named; expected at least one directory of a finished run")
    resolved = [folder.resolve() for folder in folders]
    if twice := sorted({str(each) for each in resolved if resolved.count(each) > 1}):
        raise SpecError(f"{', '.join(twice)}: given more than once; name each run once")
    joined: list[list[Run]] = []
    for run in map(read_run, folders):
        home = next((runs for runs in joined if _fits(run, runs)), None)
        if home is None:
            joined.append([run])
        else:
            home.append(run)
    return [_join(runs) for runs in joined]


def read_run(folder: Path) -> Run:
    """Read one finished run. Raises `StorageError`."""
    spec = read_spec(folder)
    table = read_effects(folder)
    if not table.num_rows:
        raise StorageError(f"{folder}: effects.parquet has no rows, so there is nothing to show; run some pairs first")
    return Run(
        folder=folder,
        table=table,
        spec=spec,
        summary=read_summary(folder),
        pairs=read_pairs(folder),
        groups=tuple(groups(table)),
    )


def _fits(run: Run, runs: Sequence[Run]) -> bool:
    taken = {group for each in runs for group in each.groups}
    return run.identity == runs[0].identity and run.table.schema == runs[0].table.schema and not taken & {*run.groups}


def _join(runs: Sequence[Run]) -> Study:
    first = runs[0]
    table = pa.concat_tables([run.table for run in runs])
    if len(runs) == 1:
        summary = first.summary
    else:
        incorrect = any(run.summary.include_incorrect for run in runs)
        tolerance = max(run.summary.tolerance for run in runs)
        summary = summarise(table, first.summary.seed, incorrect, tolerance).of_run(first.summary.run)
    notes = dict.fromkeys(note for run in runs for note in run.summary.run.notes)
    return Study(
        runs=tuple(runs),
        table=table,
        summary=replace(summary, run=replace(summary.run, notes=tuple(notes))),
        pairs={str(pair["pair_id"]): pair for run in runs for pair in run.pairs.get("pairs", [])},
        screening=first.pairs.get("screening", {}),
    )
