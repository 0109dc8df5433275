"""What was read in the thoughts of a run: one table for each kind of reading, in the directory of the run.

readings/lens.parquet   the rows; what they are of stands in the file's own metadata
readings/lens.sha256    its checksum, as `sha256sum -c` reads it
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from mechpatch.errors import StorageError
from mechpatch.storage.atomic import remove_stale, write_bytes, write_text, writing
from mechpatch.storage.keys import canonical_json, file_digest
from mechpatch.storage.tables import checksum_line, holds, parquet, read_parquet

READINGS = "readings"
SCHEMA = 1  # raise when a column is renamed or holds something else
_ABOUT = b"mechpatch"


class Stored(NamedTuple):
    """A reading: its rows, and JSON values that say what they are of."""

    table: pa.Table
    about: dict[str, Any]


def write_reading(run_dir: Path, name: str, table: pa.Table, about: Mapping[str, Any]) -> Path:
    """Keep a reading in the place of an older one of that name; the path of its table. Raises `StorageError`."""
    folder = run_dir / READINGS
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    path = folder / f"{name}.parquet"
    data = parquet(table, {_ABOUT: canonical_json({**about, "schema": SCHEMA}).encode()})
    write_bytes(path, data)
    write_text(path.with_suffix(".sha256"), checksum_line(hashlib.sha256(data).hexdigest(), path.name))
    return path


def has_reading(run_dir: Path, name: str) -> bool:
    """Whether a run has a reading of that name."""
    return (run_dir / READINGS / f"{name}.parquet").is_file()


def read_reading(run_dir: Path, name: str) -> Stored:
    """A reading of a run. Raises `StorageError` if there is none, or it is damaged or of another version."""
    path, again = run_dir / READINGS / f"{name}.parquet", f"run mechpatch read {name} {run_dir} again"
    try:
        if not holds(path.with_suffix(".sha256"), checksum_line(file_digest(path), path.name).encode()):
            raise StorageError(f"{path}: damaged: its bytes have changed; {again}")
        table = read_parquet(path)
        about = json.loads((table.schema.metadata or {})[_ABOUT])
        found = about.pop("schema")
    except OSError as error:
        raise StorageError(f"{error.filename or path}: cannot be read: {error.strerror or error}; {again}") from error
    except (pa.ArrowInvalid, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StorageError(f"{path}: is no reading ({type(error).__name__}: {error}); {again}") from error
    if found != SCHEMA:
        raise StorageError(f"{path}: has schema {found}, and this version of mechpatch reads {SCHEMA}; {again}")
    return Stored(table.replace_schema_metadata(None), about)
