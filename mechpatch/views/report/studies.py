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
import pyarrow.compute as pc

from mechpatch.errors import SpecError
from mechpatch.kinds import kind_of
from mechpatch.reprs import short_repr
from mechpatch.stats import RunSummary, summarise
from mechpatch.stats.finished import FinishedRun

# What runs of one study must share: entries of a spec that change what a value means.
SHARED = ("thoughts", "n_thoughts", "prefix", "separator", "placeholder", "distances", "min_gap")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Study:
    """Runs that are read together.

    Attributes:
        table: the rows that are drawn as maps; those of experiments that ask for answers are in the summary alone,
            unless there are no others.
        summary: the summary of all rows. `run.notes` are of every run, the rest of `run` is of the first.
        pairs: descriptions of the pairs by `pair_id`, from the runs' pairs.json.
    """

    runs: tuple[FinishedRun, ...]
    table: pa.Table
    summary: RunSummary
    pairs: dict[str, dict[str, Any]]
    screening: dict[str, Any]

    __repr__ = short_repr

    @property
    def name(self) -> str:
        return ", ".join(run.name for run in self.runs)

    @property
    def questions(self) -> dict[str, dict[str, Any]]:
        """What each pair asked, by pair id."""
        return {pair_id: asked for run in self.runs for pair_id, asked in run.questions.items()}


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
    joined: list[list[FinishedRun]] = []
    for run in map(_shown, folders):
        home = next((runs for runs in joined if _fits(run, runs)), None)
        if home is None:
            joined.append([run])
        else:
            home.append(run)
    return [_join(runs) for runs in joined]


def _shown(folder: Path) -> FinishedRun:
    """A finished run, every file of it read. Raises `StorageError` also if it has no rows."""
    run = FinishedRun(folder)
    run.require_whole()
    run.require_rows()
    return run


def _identity(run: FinishedRun) -> str:
    """Equal for runs of one model on the same pairs with thoughts of one kind."""
    asked = run.spec.get("spec", {})
    shared = [asked.get(name) for name in SHARED]
    return json.dumps([run.spec.get("model"), run.spec.get("pairs"), shared], sort_keys=True)


def _fits(run: FinishedRun, runs: Sequence[FinishedRun]) -> bool:
    taken = {group for each in runs for group in each.groups}
    if _identity(run) != _identity(runs[0]) or run.records.schema != runs[0].records.schema:
        return False
    return not taken & {*run.groups}


def _join(runs: Sequence[FinishedRun]) -> Study:
    first = runs[0]
    table = pa.concat_tables([run.records for run in runs])
    if len(runs) == 1:
        summary = first.summary
    else:
        incorrect = any(run.summary.include_incorrect for run in runs)
        tolerance = max(run.summary.tolerance for run in runs)
        choices = [choice for run in runs for choice in run.choices]
        summary = summarise(table, first.summary.seed, incorrect, tolerance, choices).of_run(first.summary.run)
    notes = dict.fromkeys(note for run in runs for note in run.summary.run.notes)
    mapped = [name for name in table["experiment"].unique().to_pylist() if not kind_of(name).donors]
    return Study(
        runs=tuple(runs),
        table=table.filter(pc.field("experiment").isin(mapped)) if mapped else table,
        summary=replace(summary, run=replace(summary.run, notes=tuple(notes))),
        pairs={str(pair["pair_id"]): pair for run in runs for pair in run.pairs.get("pairs", [])},
        screening=first.pairs.get("screening", {}),
    )
