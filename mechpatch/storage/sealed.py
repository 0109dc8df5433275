"""JSON objects that carry the fingerprint of their own content, so that no byte of them changes unseen.

The seal lies in the object, under `SEAL`, because two files would not be replaced at one moment. It covers the content,
not its spelling: white space may change, a value or a key may not.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mechpatch.errors import StorageError
from mechpatch.storage.atomic import write_json
from mechpatch.storage.keys import digest

SEAL = "sha256"
MAX_BYTES = 256 * 2**20


def write_sealed(path: Path, value: Mapping[str, object]) -> None:
    """Put `value` and its seal in the place of `path`. Raises as `write_json` does."""
    write_json(path, {**value, SEAL: _seal(value)})


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """The object in `path`, without its seal.

    Args:
        remedy: what to do if the file is damaged, for the message.

    Raises:
        StorageError: it cannot be read, is damaged, or has no seal.
    """
    try:
        if (size := path.stat().st_size) > MAX_BYTES:
            raise ValueError(f"found {size} bytes, expected at most {MAX_BYTES}")
        value = json.loads(path.read_bytes(), parse_constant=_refuse)
        if not isinstance(value, dict):
            raise ValueError(f"found a {type(value).__name__}, expected an object")
        seal = value.pop(SEAL, None)
        if seal != _seal(value):
            raise ValueError(f"its content has the fingerprint {_seal(value)}, its {SEAL} says {seal!r:.40}")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}; name the directory of a run") from error
    except (ValueError, RecursionError) as error:
        raise StorageError(f"{path}: damaged: {error}; {remedy}") from error
    return value


def _seal(value: Mapping[str, object]) -> str:
    return digest({key: each for key, each in value.items() if key != SEAL})


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no JSON")
