"""Cache of activations: one safetensors file for each thing that tensors were computed from.

A file is named by the fingerprint of that description and carries it, with a checksum of the tensors. The cache only
saves time: a damaged file is reported and counts as absent, a folder that cannot be written is reported once. Where it
is full, files of other runs make room; those that this run has used stay.
"""

import fcntl
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mechpatch.errors import StorageError
from mechpatch.formats import amount
from mechpatch.storage.atomic import remove_stale, write_bytes, writing
from mechpatch.storage.cache_folder import LIMIT_VARIABLE, entries, make_room, size_limit
from mechpatch.storage.keys import canonical_json, digest
from mechpatch.storage.tensor_keys import tensor_digest

logger = logging.getLogger(__name__)

# The largest header, in bytes, that a file of ours can need; what is larger is not read.
_HEADER = 1 << 20


class ActivationCache:
    """Tensors on disk, found by `about`: all that decides them (weights, tokens, hook names, dtype), as JSON values."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writable = True
        self._limit = size_limit()
        self._used: set[str] = set()  # names of the files that this run has read or written
        remove_stale(folder)
        self._size = sum(entry.size for entry in entries(folder))

    def load(
        self, about: Mapping[str, object], expected: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
    ) -> dict[str, Tensor] | None:
        """The tensors saved for `about`, on the CPU, or None if there are none of these names, shapes and dtypes."""
        path = self._path(about)
        try:
            with _in_use(path):
                found = _read(path, about, expected)
            self._used.add(path.name)
            return found
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, SafetensorError, ValueError) as error:
            logger.warning("%s cannot be used and will be computed again: %s", path, error)
            return None

    def has(self, about: Mapping[str, object]) -> bool:
        """Whether there is a file for `about`; it is not read."""
        return self._path(about).is_file()

    def save(self, about: Mapping[str, object], tensors: Mapping[str, Tensor]) -> None:
        """Keep `tensors` for `about`, in the place of what was kept before."""
        if not self._writable:
            return
        # Copies, because safetensors refuses tensors that are strided or share memory.
        copies = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        try:
            with writing(self._folder):
                self._folder.mkdir(parents=True, exist_ok=True)
            path, data = self._path(about), save(copies, _metadata(about, copies))
            if self._has_room(len(data)):
                write_bytes(path, data)
                self._used.add(path.name)
                self._size += len(data)
        except StorageError as error:
            self._writable = False
            logger.warning("the run goes on without writing its activation cache: %s", error)

    def _has_room(self, needed: int) -> bool:
        """Whether so many bytes fit; if not, this run goes on without writing more."""
        if self._size + needed > self._limit:
            self._size = make_room(self._folder, needed, self._limit, self._used)
            self._writable = self._size + needed <= self._limit
        if not self._writable:
            logger.warning(
                "%s: full, at most %sB, and this run uses all of it; further unpatched runs are not kept. Set %s "
                "to more GB to keep them",
                self._folder,
                amount(self._limit),
                LIMIT_VARIABLE,
            )
        return self._writable

    def _path(self, about: Mapping[str, object]) -> Path:
        return self._folder / f"{digest(dict(about))}.safetensors"


@contextmanager
def _in_use(path: Path) -> Iterator[None]:
    """Keep other processes from deleting a file while it is read, and note that it was used. Raises `OSError`."""
    with path.open("rb") as file:
        with suppress(OSError):  # some network file systems have no locks, a read-only one no times
            fcntl.flock(file, fcntl.LOCK_SH)
            os.utime(path)
        yield


def _metadata(about: Mapping[str, object], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    return {"about": canonical_json(dict(about)), "content": tensor_digest(tensors.items())}


def _read(
    path: Path, about: Mapping[str, object], expected: Mapping[str, tuple[tuple[int, ...], torch.dtype]]
) -> dict[str, Tensor]:
    """The verified tensors of one file. Raises `OSError`, `SafetensorError` or `ValueError` with the reason."""
    limit = _HEADER + sum(math.prod(shape) * dtype.itemsize for shape, dtype in expected.values())
    if (size := path.stat().st_size) > limit:
        raise ValueError(f"found {size} bytes, expected at most {limit}")
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    if found != dict(expected):
        raise ValueError(f"found {found}, expected {dict(expected)}")
    if metadata != _metadata(about, tensors):
        raise ValueError("the content does not match its description and checksum")
    return tensors
