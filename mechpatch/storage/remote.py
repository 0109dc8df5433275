"""Finished runs that lie elsewhere: fetched from the URL that the user gives into a copy that ends with the process.

Nothing is fetched that was not named, and only files that a finished run has. They are checked by their seals and
checksums when they are read, as any run's are.
"""

import atexit
import re
import shutil
import tempfile
from pathlib import Path, PurePosixPath

from mechpatch.errors import StorageError
from mechpatch.storage.folders import SPEC

URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
# Of a finished run, what is read: neither shards nor log, nor what is drawn from the rest.
FILES = re.compile(r"(?:(?:inspect|readings)/)?[\w-][\w.-]*\.(?:json|parquet|sha256|safetensors)")


def is_url(run: str | Path) -> bool:
    """Whether a run is named by a URL, such as s3://bucket/runs/first."""
    return isinstance(run, str) and URL.match(run) is not None


def local_run(run: str | Path) -> Path:
    """The directory of a run, or a copy of the run that a URL names, in a directory of the same name.

    Raises:
        StorageError: there is no such run, or no way to fetch it.
    """
    if not is_url(run):
        return Path(run)
    url = str(run)
    try:
        import fsspec
    except ImportError as error:
        raise StorageError(f"{url}: fsspec is not installed; pip install 'mechpatch[scale]'") from error
    copy = Path(tempfile.mkdtemp(prefix="mechpatch-"))
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    try:
        system, place = fsspec.core.url_to_fs(url)
        root = PurePosixPath(place)
        folder = copy / (root.name or "run")
        for found in system.find(place):
            name = str(PurePosixPath(found).relative_to(root))
            if FILES.fullmatch(name):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                system.get_file(found, str(folder / name))
    except Exception as error:  # each store has errors of its own
        cause = " ".join(str(error).split())[:300]
        raise StorageError(f"{url}: cannot be fetched: {type(error).__name__}: {cause}") from error
    if not (folder / SPEC).is_file():
        raise StorageError(f"{url}: holds no run (no {SPEC}); name the directory of a run, as `run --out` made it")
    return folder
