"""Fingerprints of values and files, equal in every process; those of tensors are in `tensor_keys`, which needs torch.

A fingerprint of values is the first 64 bits of a SHA-256: short enough for a file name, and two of a million different
values share one with a chance of 3e-8.
"""

import hashlib
import json
from pathlib import Path

_DIGITS = 16


def canonical_json(value: object) -> str:
    """`value` as JSON with sorted keys and no spaces; a tuple reads as a list.

    Raises `TypeError` for what JSON cannot hold (a `Path`, a tensor) and `ValueError` for NaN and infinity.
    """
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def digest(value: object) -> str:
    """Fingerprint of `canonical_json(value)`: 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:_DIGITS]


def file_digest(path: Path) -> str:
    """SHA-256 of a file in 64 hexadecimal digits, as `sha256sum` prints it. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
