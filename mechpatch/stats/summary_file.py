"""`summary.json`: the summary of a run, written and read back."""

from pathlib import Path

from mechpatch.errors import StorageError
from mechpatch.stats.summary_values import RunSummary
from mechpatch.stats.values_json import Mismatch, as_json, from_json
from mechpatch.storage.folders import SPEC
from mechpatch.storage.results import SUMMARY
from mechpatch.storage.sealed import read_sealed, write_sealed

_AGAIN = "run the same command again to make it from the records"


def write_summary(folder: Path, summary: RunSummary) -> None:
    """Write `summary.json` into the directory of a run. Raises `StorageError`, `ValueError` for NaN and infinity."""
    write_sealed(folder / SUMMARY, as_json(summary))


def read_summary(folder: Path) -> RunSummary:
    """Read the summary of the finished run in `folder`.

    Raises:
        StorageError: there is none, it is damaged, or it is not what this version of mechpatch writes.
    """
    path = folder / SUMMARY
    if not path.exists() and (folder / SPEC).is_file():
        raise StorageError(f"{folder}: the run is not finished (no {SUMMARY}); run the same command again to finish it")
    found = read_sealed(path, _AGAIN)
    try:
        return from_json(RunSummary, found)
    except (Mismatch, OverflowError) as error:
        raise StorageError(f"{path}: {error}; {_AGAIN}") from error
