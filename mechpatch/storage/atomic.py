"""Files that are whole or absent: written beside their place, synced to disk, then renamed into it.

A process killed at any moment leaves the old file or the new one. It can also leave a temporary file, which
`remove_stale` tells from one in use by the lock that only a living writer holds.
"""

import errno
import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from mechpatch.errors import StorageError

LOCK = "run.lock"
TEMPORARY = ".writing-"

_HOLDER = 200  # bytes of a lock that are shown

_FULL = "free some space or choose another folder"
_CLOSED = "choose a folder that can be written"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) or choose another folder",
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EEXIST: "choose another folder",
    errno.ENOTDIR: "choose another folder",
    errno.EISDIR: "give the name of a file",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an `OSError` of the block into a `StorageError` that names `path`, the reason and the way out."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "check the folder and its disk")
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}; {remedy}") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file in the folder of `path`; put it in the place of `path` if the block succeeds.

    Raises `StorageError` if the file cannot be written; after any exception `path` is as it was.
    """
    with writing(path):
        if not path.name:  # "", "." and "/"
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        temporary = path.with_name(TEMPORARY + secrets.token_hex(8))
        with temporary.open("xb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield temporary
                os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Put `data` in the place of `path`. Raises `StorageError`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Put `text`, in UTF-8, in the place of `path`. Raises `StorageError`."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Put `value` as indented JSON with sorted keys in the place of `path`.

    Raises `StorageError`, `TypeError` for what JSON cannot hold and `ValueError` for NaN and infinity.
    """
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def remove_stale(folder: Path) -> None:
    """Delete the temporary files in `folder` that killed writers left."""
    with suppress(OSError):  # no such folder, or none that can be
        for left in list(folder.glob(f"{TEMPORARY}*")):
            with suppress(OSError), left.open("r+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep every other process out of `folder`; the kernel lets go when this one ends, however it ends.

    Raises `StorageError` that names the holder if there is one.
    """
    path = folder / LOCK
    held = FileLock(path, blocking=False)
    with writing(path):
        path.touch()  # the library would make missing folders too
        try:
            held.acquire()
        except Timeout:
            holder = path.read_bytes()[:_HOLDER].decode(errors="replace") or "another process"
            raise StorageError(f"{folder}: in use by {holder}; wait for it or choose another folder") from None
    try:
        with writing(path):
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
    finally:
        held.release()


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last through a power cut, where the file system can."""
    with suppress(OSError):  # some network file systems refuse, and the file itself is in place
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
