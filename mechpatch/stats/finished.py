"""A finished run, read from its directory: whoever looks at a run reads it here."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from mechpatch.errors import StorageError
from mechpatch.kinds import tell
from mechpatch.stats.cells import Group
from mechpatch.stats.cells import groups as groups_of
from mechpatch.stats.summary_file import read_summary
from mechpatch.stats.summary_values import RunSummary
from mechpatch.storage.choices import Choice, read_choices
from mechpatch.storage.questions import read_questions
from mechpatch.storage.results import EFFECTS, read_effects, read_pairs, read_spec


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """What the directory of a finished run holds. A file is read and checked when it is first asked for, and then kept.

    Every attribute but `folder` and `name` raises `StorageError`: a file is missing, damaged or of another version.
    """

    folder: Path

    @property
    def name(self) -> str:
        """Name of the directory."""
        return self.folder.resolve().name

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What was asked, of which model, over which pairs: `spec.json`."""
        spec = read_spec(self.folder)
        tell(spec.get("kinds", {}))
        return spec

    @cached_property
    def pairs(self) -> dict[str, Any]:
        """Every pair that could be run, and its tokens: `pairs.json`."""
        return read_pairs(self.folder)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Which cells of heads a screen chose: `screen.json`; nothing where all were run."""
        return read_choices(self.folder)

    @cached_property
    def questions(self) -> dict[str, dict[str, Any]]:
        """What each pair asked, by pair id."""
        return read_questions(self.folder)

    @cached_property
    def records(self) -> pa.Table:
        """One row for each pair, cell, step and donor: `effects.parquet`."""
        return read_effects(self.folder)

    @cached_property
    def summary(self) -> RunSummary:
        """What the records say, cell by cell: `summary.json`."""
        return read_summary(self.folder)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """Experiments, directions and donors of the records."""
        return tuple(groups_of(self.records))

    def require_format(self) -> None:
        """Raise a `StorageError` for a run of another format, in which a column may mean something else."""
        _ = self.spec

    def require_whole(self) -> None:
        """Read every file that there must be. Raises `StorageError`."""
        for part in ("spec", "pairs", "records", "summary"):
            getattr(self, part)

    def require_rows(self) -> None:
        """Raise a `StorageError` if no pair was run: there is nothing to show."""
        if not self.records.num_rows:
            raise StorageError(
                f"{self.folder}: {EFFECTS} has no rows, so there is nothing to show; run some pairs first"
            )
