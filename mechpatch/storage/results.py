"""The directory of a run: what was asked, the rows of each batch as they come, and the table of them all.

    spec.json                        what was asked; what it holds can grow, what decides its numbers cannot change
    shards/<what>-<sha256>.parquet   rows of one batch of pairs for one direction and donor, under the fingerprint of
                                     what they are and the first digits of the file's own checksum
    effects.parquet, effects.sha256  all rows, and the checksum as `sha256sum -c` reads it
    pairs.json                       every pair that could be run, and its tokens
    summary.json, run.log, run.lock
    screen.json                      which cells of heads were chosen to be run, where a screen chose some
    plan.json                        what it was expected to take, if that was asked

`spec.json`, `pairs.json` and `summary.json` are sealed: they carry the fingerprint of their content. While a directory
grows, they and the records stay those of the run that was finished; `finish` replaces them when every row is there.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mechpatch.errors import SpecError, StorageError
from mechpatch.storage.atomic import lock, remove_stale, write_bytes, write_text, writing
from mechpatch.storage.choices import Choice, read_choices, write_choices
from mechpatch.storage.folders import PLAN as PLAN
from mechpatch.storage.folders import SPEC, require_run_or_empty
from mechpatch.storage.keys import canonical_json, digest, file_digest
from mechpatch.storage.log import log_to as log_to
from mechpatch.storage.sealed import read_sealed, write_sealed
from mechpatch.storage.tables import checksum_line, holds, parquet, read_parquet

logger = logging.getLogger(__name__)

SHARDS = "shards"
EFFECTS = "effects.parquet"
CHECKSUM = "effects.sha256"
SUMMARY = "summary.json"
PAIRS = "pairs.json"

# Raise when a file of a run holds something else, or the same under another name: older runs are then refused.
#   2: one shard for each batch, direction and donor; `pairs.json` holds every pair of the file; donors drawn by key
#   3: the donor that was called noise is called gaussian; `spec` has what is the user's own
#   4: `hook` and `head` are columns, and `spec` has the hook points
#   5: `expected_answer`, `expected_logprob`, `expected_logprob_change` and `donor_pair_id` are columns
#   6: `said` is a column, and `spec` has `say`
FORMAT = 6

# Entries of a spec that say how a run came about and do not decide its numbers.
PROVENANCE = frozenset({"command", "created", "environment", "history"})

_SHARD = re.compile(r"([0-9a-f]{16})-([0-9a-f]{16})\.parquet")
_ABOUT = b"mechpatch"  # the entry of a shard's metadata that says what its rows are
_MEASURED = b"measured"
_MACHINE = b"machine"

# Told what the directory was asked for, what it is asked for now, and whether the former is finished; gives what it
# holds in the end, or raises a `SpecError`.
Join = Callable[[dict[str, Any], dict[str, Any], bool], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Shard:
    """A whole shard.

    Attributes:
        about: what its rows are, JSON values.
        measured: what was measured while they were computed; None for nothing.
        machine: the settings under which they were computed; None where that was not recorded.
    """

    path: Path
    about: dict[str, Any]
    measured: dict[str, Any] | None = None
    machine: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of a run, made or gone on with by `open_run`.

    Attributes:
        spec: what it holds once it is finished.
    """

    folder: Path
    spec: dict[str, Any]

    def shards(self) -> list[Shard]:
        """The whole shards by name; a damaged one is reported and left out."""
        whole = []
        for path in sorted((self.folder / SHARDS).iterdir()):
            if not (name := _SHARD.fullmatch(path.name)):
                continue
            try:
                damage = None if file_digest(path).startswith(name[2]) else "its bytes have changed"
                if not damage:
                    metadata = pq.read_schema(path).metadata
                    about, measured = (json.loads(metadata[name]) for name in (_ABOUT, _MEASURED))
                    whole.append(Shard(path, about, measured, json.loads(metadata.get(_MACHINE, b"null"))))
            except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
                damage = getattr(error, "strerror", None) or "it is no shard"
            if damage:
                logger.warning("%s is damaged (%s); its rows will be computed again", path, damage)
        return whole

    def write_shard(
        self,
        about: Mapping[str, object],
        table: pa.Table,
        measured: dict[str, Any] | None = None,
        machine: dict[str, Any] | None = None,
    ) -> Shard:
        """Keep the rows that `about` describes, in the place of what was kept of it before. Raises `StorageError`."""
        described = json.loads(canonical_json(dict(about)))
        told = {_ABOUT: described, _MEASURED: measured, _MACHINE: machine}
        metadata = {name: canonical_json(value).encode() for name, value in told.items()}
        data = parquet(table, metadata)
        key = digest(described)
        path = self.folder / SHARDS / f"{key}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        write_bytes(path, data)
        for other in path.parent.glob(f"{key}-*.parquet"):
            if other != path:
                with writing(other):
                    other.unlink()
        return Shard(path, described, measured, machine)

    def read_shard(self, shard: Shard) -> pa.Table:
        """The rows of a shard. Raises `StorageError` if it was damaged since it was found whole."""
        try:
            return read_parquet(shard.path).replace_schema_metadata(None)
        except (OSError, pa.ArrowInvalid) as error:
            raise StorageError(f"{shard.path}: damaged: {error}; run the same command again to compute it") from error

    def remove_shard(self, shard: Shard) -> None:
        """Delete a shard that others stand for. Raises `StorageError`."""
        with writing(shard.path):
            shard.path.unlink(missing_ok=True)

    def choices(self) -> tuple[Choice, ...]:
        """What a screen chose; nothing where there was none yet. Raises `StorageError`."""
        return read_choices(self.folder)

    def keep_choices(self, choices: Sequence[Choice]) -> None:
        """Keep what a screen chose. Raises `StorageError`."""
        write_choices(self.folder, choices)

    def finish(self, table: pa.Table) -> Path:
        """Make `table` the records of the run, and `spec` what it was asked; a summary of other records is removed.

        Equal rows give equal bytes. Raises `StorageError`.
        """
        data, path = parquet(table), self.folder / EFFECTS
        checksum = checksum_line(hashlib.sha256(data).hexdigest(), EFFECTS)
        known = self.folder / CHECKSUM
        if not (known.is_file() and holds(known, checksum.encode())):
            with writing(self.folder / SUMMARY):
                (self.folder / SUMMARY).unlink(missing_ok=True)
        if read_spec(self.folder) != self.spec:
            write_sealed(self.folder / SPEC, self.spec)
        write_bytes(path, data)
        write_text(known, checksum)
        return path

    def records(self) -> pa.Table:
        """All rows of the finished run. Raises `StorageError` as `read_effects` does."""
        return read_effects(self.folder)


def require_same(found: dict[str, Any], asked: dict[str, Any], finished: bool) -> dict[str, Any]:
    """What is found, if it is what is asked for, provenance aside: a run that cannot grow. Raises `SpecError`."""
    names = (found.keys() | asked.keys()) - PROVENANCE
    if different := sorted(name for name in names if found.get(name) != asked.get(name)):
        raise SpecError(
            f"holds a run that was asked for differently ({', '.join(different)}); choose another folder, or ask for "
            f"what its {SPEC} says"
        )
    return found


@contextmanager
def open_run(folder: Path, spec: Mapping[str, object], join: Join = require_same) -> Iterator[RunDirectory]:
    """Make `folder` the directory of the run that `spec` (JSON values) asks for, or go on with it, and keep others out.

    Raises `SpecError` if the directory holds a run that `join` does not let it be, `StorageError` if it holds
    something else, is in use or cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    require_run_or_empty(folder)
    asked = json.loads(canonical_json({**spec, "format": FORMAT}))
    with lock(folder):
        if (folder / SPEC).exists():
            try:
                asked = join(read_spec(folder), asked, (folder / EFFECTS).exists())
            except SpecError as error:
                raise SpecError(f"{folder}: {error}") from error
        else:
            write_sealed(folder / SPEC, asked)
        shards = folder / SHARDS
        with writing(shards):
            shards.mkdir(exist_ok=True)
        remove_stale(folder)
        remove_stale(shards)
        yield RunDirectory(folder, asked)


def read_spec(folder: Path) -> dict[str, Any]:
    """What the run in `folder` was asked to do. Raises `StorageError` if it is not a run of ours or is damaged."""
    spec = read_sealed(folder / SPEC, "choose another folder for a new run")
    if (found := spec.get("format")) != FORMAT:
        raise StorageError(
            f"{folder / SPEC}: has format {found or 1}, and this version of mechpatch reads format {FORMAT}: run the "
            "experiment again in another folder"
        )
    return spec


def read_pairs(folder: Path) -> dict[str, Any]:
    """The questions of the run in `folder`. Raises `StorageError` if there are none or they are damaged."""
    return read_sealed(folder / PAIRS, "run the same command again to write it anew")


def read_effects(folder: Path) -> pa.Table:
    """All rows of the finished run in `folder`. Raises `StorageError` if it is not finished or any byte has changed."""
    path = folder / EFFECTS
    try:
        if not holds(folder / CHECKSUM, checksum_line(file_digest(path), EFFECTS).encode()):
            raise StorageError(f"{path}: damaged; run the same command again to make it from the shards")
        return read_parquet(path)
    except pa.ArrowInvalid as error:  # written by something else, with a checksum of its own
        raise StorageError(f"{path}: is no table: {error}; run the same command again to make it") from error
    except OSError as error:
        raise StorageError(
            f"{error.filename or path}: cannot be read: {error.strerror or error}; run the same command again to "
            "finish the run"
        ) from error
