"""Fingerprints of tensors, equal in every process and on every device; see `keys`."""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from mechpatch.storage.keys import digest

# What one hashing thread copies at most, in bytes, of a tensor that is strided or on another device.
_CHUNK = 1 << 24


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


def _content(tensor: Tensor) -> str:
    """SHA-256 of the elements in row-major order."""
    content = hashlib.sha256()
    rows = torch.atleast_1d(tensor)
    row_bytes = rows[:1].numel() * rows.element_size()
    for piece in rows.split(max(1, _CHUNK // max(1, row_bytes))):
        # As bytes, because NumPy has no bfloat16.
        content.update(piece.cpu().contiguous().view(torch.uint8).flatten().numpy())
    return content.hexdigest()
