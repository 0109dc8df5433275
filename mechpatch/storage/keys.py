"""Fingerprints of values, tensors and files, equal in every process and on every device.

A fingerprint of values or tensors is the first 64 bits of a SHA-256: short enough for a file name, and two of a million
different values share one with a chance of 3e-8.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

_DIGITS = 16
# What one hashing thread copies at most, in bytes, of a tensor that is strided or on another device.
_CHUNK = 1 << 24


def canonical_json(value: object) -> str:
    """`value` as JSON with sorted keys and no spaces; a tuple reads as a list.

    Raises `TypeError` for what JSON cannot hold (a `Path`, a tensor) and `ValueError` for NaN and infinity.
    """
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))


def digest(value: object) -> str:
    """Fingerprint of `canonical_json(value)`: 16 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:_DIGITS]


def tensor_digest(named: Iterable[tuple[str, Tensor]]) -> str:
    """Fingerprint of names, dtypes, shapes and contents, in any order, strides and place: 16 hexadecimal digits."""
    names, tensors = zip(*named, strict=True) if (named := list(named)) else ((), ())
    with ThreadPoolExecutor() as pool:  # hashlib releases the interpreter lock
        contents = list(pool.map(_content, tensors))
    return digest(
        sorted(
            [name, str(tensor.dtype), list(tensor.shape), content]
            for name, tensor, content in zip(names, tensors, contents, strict=True)
        )
    )


def file_digest(path: Path) -> str:
    """SHA-256 of a file in 64 hexadecimal digits, as `sha256sum` prints it. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content(tensor: Tensor) -> str:
    """SHA-256 of the elements in row-major order."""
    content = hashlib.sha256()
    rows = torch.atleast_1d(tensor)
    row_bytes = rows[:1].numel() * rows.element_size()
    for piece in rows.split(max(1, _CHUNK // max(1, row_bytes))):
        # As bytes, because NumPy has no bfloat16.
        content.update(piece.cpu().contiguous().view(torch.uint8).flatten().numpy())
    return content.hexdigest()
