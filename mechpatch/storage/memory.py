"""What a run leaves, kept in memory: the same surface as `results.RunDirectory`, and no file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from mechpatch.reprs import short_repr
from mechpatch.storage.choices import Choice
from mechpatch.storage.keys import canonical_json, digest
from mechpatch.storage.results import Shard


@dataclass(slots=True, eq=False)
class MemoryRun:
    """A run that nobody can resume: it is gone with the process.

    Attributes:
        spec: what was asked.
        tables: rows by shard.
        found: all rows, once the run is finished.
        chosen: what a screen chose.
    """

    spec: dict[str, Any]
    tables: dict[str, tuple[Shard, pa.Table]] = field(default_factory=dict)
    found: pa.Table | None = None
    chosen: tuple[Choice, ...] = ()

    __repr__ = short_repr

    def shards(self) -> list[Shard]:
        """What was written so far."""
        return [shard for shard, _ in self.tables.values()]

    def write_shard(
        self,
        about: Mapping[str, object],
        table: pa.Table,
        measured: dict[str, Any] | None = None,
        machine: dict[str, Any] | None = None,
    ) -> Shard:
        """Keep the rows that `about` describes, in the place of what was kept of it before."""
        described = json.loads(canonical_json(dict(about)))
        shard = Shard(Path(digest(described)), described, measured, machine)
        self.tables[shard.path.name] = shard, table
        return shard

    def read_shard(self, shard: Shard) -> pa.Table:
        """The rows of a shard."""
        return self.tables[shard.path.name][1]

    def remove_shard(self, shard: Shard) -> None:
        """Forget a shard that others stand for."""
        self.tables.pop(shard.path.name, None)

    def choices(self) -> tuple[Choice, ...]:
        """What a screen chose."""
        return self.chosen

    def keep_choices(self, choices: Sequence[Choice]) -> None:
        """Keep what a screen chose."""
        self.chosen = tuple(choices)

    def finish(self, table: pa.Table) -> None:
        """Make `table` the records of the run."""
        self.found = table.combine_chunks()

    def records(self) -> pa.Table:
        """All rows of the finished run."""
        assert self.found is not None, "the run is not finished"
        return self.found
