"""What a model answered to questions that stand alone: one sealed file, replaced as a whole after every batch."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mechpatch.errors import StorageError
from mechpatch.storage.sealed import read_sealed, write_sealed

FORMAT = 1
REMEDY = "delete it and ask the questions again"
Row = dict[str, Any]  # index, question, answer, said, right


def write_answered(path: Path, about: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Put the answers in the place of `path`. Raises `StorageError`.

    Args:
        about: the model, the questions, and each setting that decides what is said.
    """
    write_sealed(path, {"format": FORMAT, "about": dict(about), "answers": list(rows)})


def read_answered(path: Path) -> tuple[dict[str, str], list[Row]]:
    """What the answers are of, and the answers. Raises `StorageError`: missing, damaged, or of another format."""
    found = read_sealed(path, REMEDY)
    if found.get("format") != FORMAT:
        raise StorageError(f"{path}: has format {found.get('format')}, expected {FORMAT}; {REMEDY}")
    return found["about"], found["answers"]
