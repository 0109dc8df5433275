"""The small run that nothing disturbs, made once for each model: what it does to files, and what it leaves."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from faults.forks import Operation, operations
from faults.runs import left_by, small_run

from mechpatch.models import ThoughtModel


@dataclass(frozen=True, slots=True)
class Unhurt:
    """A finished run, which is only to be read.

    Attributes:
        folder: of the run and its cache.
        operations: all that it did to files, whose names begin with the name of `folder`.
        left: what it left.
    """

    folder: Path
    operations: tuple[Operation, ...]
    left: dict[str, Any]


@cache
def unhurt(model: ThoughtModel) -> Unhurt:
    """`small_run` of the shipped pairs, in a child."""
    scratch = Path(mkdtemp())
    folder = scratch / "whole"
    folder.mkdir()
    done = operations(lambda: small_run(model, folder), [folder], scratch)
    return Unhurt(folder, tuple(done), left_by(folder))
