"""What a folder is, told without reading a run: nothing yet, a run, or something else; and whether it can be used."""

import errno
import os
from pathlib import Path

from mechpatch.errors import StorageError
from mechpatch.storage.atomic import LOCK, TEMPORARY, writing

SPEC = "spec.json"
PLAN = "plan.json"


def require_run_or_empty(folder: Path) -> None:
    """Refuse a folder in which no run can be made or go on. Raises `StorageError`."""
    with writing(folder):
        _require_writable(next(path for path in (folder, *folder.absolute().parents) if path.exists()))
        if not folder.exists():
            return
        entries = {path.name for path in folder.iterdir() if not path.name.startswith(TEMPORARY)}
    if SPEC not in entries and (foreign := sorted(entries - {LOCK, PLAN})):
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        raise StorageError(
            f"{folder}: not empty, and not a run (no {SPEC}, but {', '.join(foreign[:3])}{more}); choose a new or an "
            "empty folder"
        )


def _require_writable(folder: Path) -> None:
    """Raise the `OSError` that making a file in `folder` would give."""
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def require_run(folder: Path) -> None:
    """Refuse what is not the directory of a run. Raises `StorageError`."""
    if not folder.exists():
        raise StorageError(f"{folder}: no such directory; name the directory of a run, as `run --out` made it")
    if not (folder / SPEC).is_file():
        raise StorageError(f"{folder}: holds no run (no {SPEC}); name the directory of a run, as `run --out` made it")


def require_place(file: Path) -> None:
    """Refuse what cannot be written as a file. Raises `StorageError`."""
    with writing(file):
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not file.parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
