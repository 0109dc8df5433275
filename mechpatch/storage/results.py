"""The directory of a run: what was asked, one shard of rows for each finished pair, and the table of them all.

    spec.json                        what was asked; a run is resumed only with the same
    shards/000012-<sha256>.parquet   the rows of pair 12, under the first digits of the file's own checksum
    effects.parquet, effects.sha256  all rows in pair order, and the checksum as `sha256sum -c` reads it
    summary.json, run.log, run.lock
    plan.json                        what it was expected to take, if that was asked

`spec.json`, `pairs.json` and `summary.json` are sealed: they carry the fingerprint of their content.

A shard is named by the index of its pair, never by text of the user's.
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mechpatch.errors import SpecError, StorageError
from mechpatch.storage.atomic import lock, remove_stale, write_bytes, write_text, writing
from mechpatch.storage.folders import PLAN as PLAN
from mechpatch.storage.folders import SPEC, require_run_or_empty
from mechpatch.storage.keys import canonical_json, file_digest
from mechpatch.storage.log import log_to as log_to
from mechpatch.storage.sealed import read_sealed, write_sealed

logger = logging.getLogger(__name__)

SHARDS = "shards"
EFFECTS = "effects.parquet"
CHECKSUM = "effects.sha256"
SUMMARY = "summary.json"
PAIRS = "pairs.json"

# Entries of a spec that say how a run came about and do not decide its numbers.
PROVENANCE = frozenset({"command", "created", "environment"})

_SHARD = re.compile(r"(\d{6,})-([0-9a-f]{16})\.parquet")
_DIFFERENCES_SHOWN = 10


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of a run, made or resumed by `open_run`."""

    folder: Path

    def done(self) -> set[int]:
        """Indexes of the pairs whose shards are whole; a damaged shard is reported and does not count."""
        return set(self._shards())

    def write_shard(self, index: int, table: pa.Table) -> None:
        """Keep the rows of pair `index`, in the place of what was kept before. Raises `StorageError`."""
        data = _parquet(table)
        path = self.folder / SHARDS / f"{index:06d}-{hashlib.sha256(data).hexdigest()[:16]}.parquet"
        write_bytes(path, data)
        for other in path.parent.glob(f"{index:06d}-*.parquet"):
            if other != path:
                with writing(other):
                    other.unlink()

    def finish(self, order: Sequence[int]) -> Path:
        """Merge the shards of the pairs `order` (at least one), in that order, into `effects.parquet`.

        Equal rows give equal bytes. Raises `StorageError` if a shard is missing, damaged or has other columns.
        """
        shards = self._shards()
        if missing := [index for index in order if index not in shards]:
            raise StorageError(
                f"{self.folder}: {len(missing)} of {len(order)} pairs have no whole shard, the first is pair "
                f"{missing[0]}; run the same command again to compute them"
            )
        tables = [_read_parquet(shards[index]) for index in order]
        for index, table in zip(order, tables, strict=True):
            if table.schema != tables[0].schema:
                raise StorageError(
                    f"{shards[index]}: found the columns\n{table.schema}\nexpected those of the first pair,\n"
                    f"{tables[0].schema}\ndelete the shard and run the same command again"
                )
        data = _parquet(pa.concat_tables(tables))
        path = self.folder / EFFECTS
        write_bytes(path, data)
        write_text(self.folder / CHECKSUM, _checksum_line(hashlib.sha256(data).hexdigest()))
        return path

    def write_summary(self, summary: Mapping[str, object]) -> None:
        """Write `summary.json`. Raises `StorageError`, and `ValueError` for NaN and infinity."""
        write_sealed(self.folder / SUMMARY, summary)

    def _shards(self) -> dict[int, Path]:
        """Path of each whole shard by pair index."""
        whole = {}
        for path in sorted((self.folder / SHARDS).iterdir()):
            if not (name := _SHARD.fullmatch(path.name)):
                continue
            try:
                damage = None if file_digest(path).startswith(name[2]) else "its bytes have changed"
            except OSError as error:
                damage = error.strerror
            if damage:
                logger.warning("%s is damaged (%s); its pair will be computed again", path, damage)
            else:
                whole[int(name[1])] = path
        return whole


@contextmanager
def open_run(folder: Path, spec: Mapping[str, object]) -> Iterator[RunDirectory]:
    """Make `folder` the directory of the run that `spec` (JSON values) asks for, or resume it, and keep others out.

    Raises `SpecError` if the directory holds a run that was asked for differently, `StorageError` if it holds
    something else, is in use or cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    require_run_or_empty(folder)
    with lock(folder):
        if (folder / SPEC).exists():
            _require_same(folder, spec)
        else:
            write_sealed(folder / SPEC, spec)
        shards = folder / SHARDS
        with writing(shards):
            shards.mkdir(exist_ok=True)
        remove_stale(folder)
        remove_stale(shards)
        yield RunDirectory(folder)


def read_spec(folder: Path) -> dict[str, Any]:
    """What the run in `folder` was asked to do. Raises `StorageError` if it is not a run or its spec is damaged."""
    return read_sealed(folder / SPEC, "choose another folder for a new run")


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of the finished run in `folder`. Raises `StorageError` if there is none or it is damaged."""
    return read_sealed(folder / SUMMARY, "run the same command again to make it from the records")


def read_pairs(folder: Path) -> dict[str, Any]:
    """The questions of the run in `folder`. Raises `StorageError` if there are none or they are damaged."""
    return read_sealed(folder / PAIRS, "run the same command again to write it anew")


def read_effects(folder: Path) -> pa.Table:
    """All rows of the finished run in `folder`. Raises `StorageError` if it is not finished or any byte has changed."""
    path = folder / EFFECTS
    try:
        expected = _checksum_line(file_digest(path)).encode()
        sound = (folder / CHECKSUM).stat().st_size == len(expected) and (folder / CHECKSUM).read_bytes() == expected
        if not sound:
            raise StorageError(f"{path}: damaged; run the same command again to make it from the shards")
        return _read_parquet(path)
    except pa.ArrowInvalid as error:  # written by something else, with a checksum of its own
        raise StorageError(f"{path}: is no table: {error}; run the same command again to make it") from error
    except OSError as error:
        raise StorageError(
            f"{error.filename or path}: cannot be read: {error.strerror or error}; run the same command again to "
            "finish the run"
        ) from error


def _require_same(folder: Path, spec: Mapping[str, object]) -> None:
    """Raise `SpecError` that shows where `spec` differs from the one in `folder`, provenance aside."""
    found, asked = (
        dict(_leaves({key: value for key, value in each.items() if key not in PROVENANCE}))
        for each in (read_spec(folder), json.loads(canonical_json(dict(spec))))
    )
    differences = [
        f"  {'.'.join(map(str, path))}: found {found.get(path, 'nothing')}, asked for {asked.get(path, 'nothing')}"
        for path in sorted(found.keys() | asked.keys(), key=str)
        if found.get(path) != asked.get(path)
    ]
    if differences:
        shown = differences[:_DIFFERENCES_SHOWN]
        if len(differences) > len(shown):
            shown.append(f"  and {len(differences) - len(shown)} more")
        raise SpecError(
            "\n".join([f"{folder}: holds a run that was asked for differently:", *shown])
            + f"\nchoose another folder, or ask for what {folder / SPEC} says to resume that run"
        )


def _leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield (path, canonical JSON) of every leaf of nested JSON."""
    if value and isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(item, (*path, key))
    else:
        yield path, canonical_json(value)


def _parquet(table: pa.Table) -> bytes:
    """`table` as a Parquet file, the same bytes for equal rows; metadata of the schema is left out."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.combine_chunks().replace_schema_metadata(None),
        sink,
        compression="zstd",
        row_group_size=1 << 16,
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def _read_parquet(path: Path) -> pa.Table:
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read()


def _checksum_line(digest: str) -> str:
    return f"{digest}  {EFFECTS}\n"
