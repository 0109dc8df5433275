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
    named = list(named)
    contents = _contents(tensor for _, tensor in named)
    return digest(
        sorted(
            [name, str(tensor.dtype), list(tensor.shape), content]
            for (name, tensor), content in zip(named, contents, strict=True)
        )
    )


def memory_digests(named: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """Fingerprint of each tensor by name, read in the order in which it lies in memory, so that nothing is copied.

    The order of the axes there is a part of it: equal content with other strides has another fingerprint.
    """
    named = list(named)
    orders = [sorted(range(tensor.ndim), key=lambda axis: -tensor.stride(axis)) for _, tensor in named]
    contents = _contents(tensor.permute(order) for (_, tensor), order in zip(named, orders, strict=True))
    return {
        name: digest([str(tensor.dtype), list(tensor.shape), order, content])
        for (name, tensor), order, content in zip(named, orders, contents, strict=True)
    }


def _contents(tensors: Iterable[Tensor]) -> list[str]:
    """`_content` of each; what several share is read once."""
    keyed = [((t.data_ptr(), t.dtype, t.shape, t.stride(), t.device), t) for t in tensors]
    with ThreadPoolExecutor() as pool:  # hashlib releases the interpreter lock
        found = dict(zip(dict(keyed), pool.map(_content, dict(keyed).values()), strict=True))
    return [found[key] for key, _ in keyed]


def _content(tensor: Tensor) -> str:
    """SHA-256 of the elements in row-major order."""
    content = hashlib.sha256()
    rows = torch.atleast_1d(tensor)
    row_bytes = rows[:1].numel() * rows.element_size()
    for piece in rows.split(max(1, _CHUNK // max(1, row_bytes))):
        # As bytes, because NumPy has no bfloat16.
        content.update(piece.cpu().contiguous().view(torch.uint8).flatten().numpy())
    return content.hexdigest()
