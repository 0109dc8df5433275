"""Where the cache lies, how large it may be, and which files go first when it is full.

It lies in `cache/` of a checkout of mechpatch when work is done there, otherwise in the user's cache folder. The files
that were used longest ago go first; one that is being read is left alone.
"""

import fcntl
import math
import os
import re
import sys
import tomllib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mechpatch.errors import StorageError

LIMIT_GB = 5.0
LIMIT_VARIABLE = "MECHPATCH_CACHE_LIMIT"
MERGED = "merged"  # folder in it of merged weights, which no limit holds and nothing but the user deletes
FILE = re.compile(r"[0-9a-f]{16}\.safetensors")


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A file of the cache: when it was last used (seconds since 1970), its size in bytes, and its place."""

    used: float
    size: int
    path: Path


def default_folder(here: Path) -> Path:
    """The cache for work that is done in the folder `here`."""
    for folder in (here, *here.parents):
        if _is_checkout(folder):
            return folder / "cache"
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not Path(base).is_absolute():
        base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(base) / "mechpatch"


def _is_checkout(folder: Path) -> bool:
    """Whether `folder` is the project itself: its pyproject.toml says so, and `cache/` is beside it."""
    try:
        found = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
        return found["project"]["name"] == "mechpatch" and (folder / "cache").is_dir()
    except (OSError, ValueError, LookupError, TypeError):
        return False


def size_limit() -> int:
    """The most bytes that the cache may take, from the environment. Raises `StorageError` for what is no number."""
    text = os.environ.get(LIMIT_VARIABLE, str(LIMIT_GB))
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise StorageError(f"{LIMIT_VARIABLE} is {text[:40]!r}, expected a number of GB, for example {LIMIT_GB:g}")
    return int(gigabytes * 1e9)


def entries(folder: Path) -> list[Entry]:
    """The files of the cache, the one that was used longest ago first; what is not the cache's is left out."""
    found = []
    with suppress(OSError):  # no such folder, or none that can be read
        for path in folder.iterdir():
            if FILE.fullmatch(path.name):
                with suppress(OSError):  # another process has just deleted it
                    status = path.stat()
                    found.append(Entry(status.st_mtime, status.st_size, path))
    return sorted(found)


def make_room(folder: Path, needed: int, limit: int, kept: Collection[str] = ()) -> int:
    """Delete files until `needed` more bytes fit under `limit`, or no file is left that may go.

    Args:
        kept: names of files that must stay.

    Returns:
        Bytes that the files of the cache take then.
    """
    found = entries(folder)
    size = sum(entry.size for entry in found)
    for entry in found:
        if size + needed <= limit:
            break
        if entry.path.name not in kept and remove(entry.path):
            size -= entry.size
    return size


def remove(path: Path) -> bool:
    """Delete a file of the cache unless somebody reads it; whether it is gone."""
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except OSError:  # in use, or not ours to delete
        return False
    return True
