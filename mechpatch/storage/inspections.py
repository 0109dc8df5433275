"""What was looked at inside a run: one description and one file of arrays for each inspected pair.

    inspect/000012.json                     of pair 12: tokens, places, settings, and its own checksum
    inspect/000012-<sha256>.safetensors     its arrays, under the first digits of the file's own checksum

Files are named by the index of the pair, never by text of the user's. The description names its arrays and is written
after them, so an inspection is whole or absent. Nothing is read that is larger, or other, than its description says.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from mechpatch.errors import StorageError
from mechpatch.reprs import short_repr
from mechpatch.storage.atomic import remove_stale, write_bytes, write_json, writing
from mechpatch.storage.keys import canonical_json

INSPECTIONS = "inspect"
SCHEMA = 1  # raise when what is stored, or how it is computed, changes
MAX_ARRAYS, MAX_DESCRIPTION = 2**30, 2**25  # bytes of a file that is read

_DESCRIPTION = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """One pair, looked at.

    Attributes:
        about: JSON values.
        arrays: by name.
    """

    about: dict[str, Any]
    arrays: dict[str, np.ndarray]

    __repr__ = short_repr


def write_inspection(run_dir: Path, index: int, inspection: Inspection) -> Path:
    """Keep the inspection of pair `index`, in the place of what was kept before; the path of its description.

    Raises:
        StorageError: it is too large, or cannot be written.
    """
    folder = run_dir / INSPECTIONS
    data = save({name: np.ascontiguousarray(array) for name, array in inspection.arrays.items()})
    checksum = hashlib.sha256(data).hexdigest()
    path = folder / f"{index:06d}.json"
    body = {"schema": SCHEMA, "bytes": len(data), "sha256": checksum, "about": inspection.about}
    described = {**body, "checksum": _checksum(body)}
    if len(data) > MAX_ARRAYS or len(json.dumps(described, indent=2)) > MAX_DESCRIPTION:
        raise StorageError(
            f"{path}: the inspection has {len(data)} bytes of arrays, and at most {MAX_ARRAYS} are kept; "
            "inspect a shorter question"
        )
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    remove_stale(folder)
    arrays = _arrays_path(path, checksum)
    write_bytes(arrays, data)
    write_json(path, described)
    for other in folder.glob(f"{index:06d}-*.safetensors"):
        if other != arrays:
            with writing(other):
                other.unlink()
    return path


def read_inspections(run_dir: Path) -> dict[int, Inspection]:
    """Every inspection of a run by the index of its pair; none if there is none.

    Raises:
        StorageError: one of them is damaged or cannot be read.
    """
    folder = run_dir / INSPECTIONS
    if not folder.is_dir():
        return {}
    names = (_DESCRIPTION.fullmatch(path.name) for path in folder.iterdir())
    return {index: read_inspection(run_dir, index) for index in sorted(int(name[1]) for name in names if name)}


def read_inspection(run_dir: Path, index: int) -> Inspection:
    """The inspection of pair `index`. Raises `StorageError` if it is missing, damaged or of another version."""
    path = run_dir / INSPECTIONS / f"{index:06d}.json"
    described = _described(path)
    arrays = _arrays_path(path, described["sha256"])
    data = _bounded(arrays, described["bytes"])
    if hashlib.sha256(data).hexdigest() != described["sha256"]:
        raise StorageError(f"{arrays}: damaged: its bytes have changed; {_AGAIN}")
    try:
        return Inspection(described["about"], load(data))
    except (SafetensorError, ValueError, TypeError) as error:
        raise StorageError(f"{arrays}: damaged: {error}; {_AGAIN}") from error


_AGAIN = "run mechpatch inspect for this pair again"


def _described(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_bounded(path, MAX_DESCRIPTION))
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path}: damaged: {error}; {_AGAIN}") from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise StorageError(f"{path}: not an inspection of this version of mechpatch (schema {SCHEMA}); {_AGAIN}")
    body = {name: value for name, value in found.items() if name != "checksum"}
    try:
        whole = found.get("checksum") == _checksum(body)
    except ValueError:  # NaN, which we never write
        whole = False
    size = found.get("bytes")
    if not whole or not isinstance(size, int) or size > MAX_ARRAYS or not isinstance(found.get("about"), dict):
        raise StorageError(f"{path}: damaged: it does not match its checksum; {_AGAIN}")
    return found


def _bounded(path: Path, limit: int) -> bytes:
    """The bytes of a file that has at most `limit`."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}; {_AGAIN}") from error
    if len(data) > limit:
        raise StorageError(f"{path}: damaged: has more than the {limit} bytes expected; {_AGAIN}")
    return data


def _arrays_path(description: Path, checksum: object) -> Path:
    if not re.fullmatch(r"[0-9a-f]{64}", str(checksum)):
        raise StorageError(f"{description}: damaged: its arrays have no checksum; {_AGAIN}")
    return description.with_name(f"{description.stem}-{str(checksum)[:16]}.safetensors")


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(dict(body)).encode()).hexdigest()
