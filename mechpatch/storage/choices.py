"""Which cells of heads and neurons a screened run computes, as `screen.json` keeps it.

The estimates in it only say why a cell was chosen. They are no results, and the file says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from mechpatch.errors import StorageError
from mechpatch.reprs import short_repr
from mechpatch.storage.sealed import read_sealed, write_sealed

SCREEN = "screen.json"
CANDIDATES = "candidates"  # column of the records of a screened run: how many cells those of a map were chosen from
TOP, RANDOM = "top", "random"
WHAT = (
    "Which cells were run, and why. An estimate is the first-order guess (attribution patching) by which cells were "
    "chosen, a share of the gap. It is no result: effects.parquet has what each patch does."
)
Place = tuple[int, int, str, int]  # layer, width, site and step of a cell, see `mechpatch.kinds.Cell`


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenCell:
    """One cell that is run.

    Attributes:
        why: "top" for one of the largest estimates, "random" for one that was drawn of the others.
        estimates: by direction, the mean over pairs; None where no pair has one.
    """

    head: int
    layer: int
    width: int
    site: str
    step: int
    why: str
    estimates: Mapping[str, float | None]

    @property
    def place(self) -> Place:
        """All that tells it from the other cells of its head."""
        return self.layer, self.width, self.site, self.step


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The cells of one experiment and hook point that are run.

    Attributes:
        candidates: how many cells there are to choose from: all that can move.
        pairs: how many pairs the estimates are means of, at most.
        cells: those that are run.
    """

    experiment: str
    hook: str
    candidates: int
    pairs: int
    cells: tuple[ChosenCell, ...]

    __repr__ = short_repr

    @cached_property
    def places(self) -> dict[int, set[Place]]:
        """What is run of each head."""
        found: dict[int, set[Place]] = {}
        for cell in self.cells:
            found.setdefault(cell.head, set()).add(cell.place)
        return dict(sorted(found.items()))


def write_choices(folder: Path, choices: Sequence[Choice]) -> None:
    """Keep what was chosen in the directory of a run. Raises `StorageError`."""
    write_sealed(folder / SCREEN, {"what": WHAT, "screens": [asdict(choice) for choice in choices]})


def read_choices(folder: Path) -> tuple[Choice, ...]:
    """What was chosen for the run in `folder`; nothing where it was not screened.

    Raises:
        StorageError: the file is damaged, or not what this version of mechpatch writes.
    """
    path = folder / SCREEN
    if not path.exists():
        return ()
    found = read_sealed(path, "choose another folder: what the run computes depends on it")
    try:
        return tuple(
            Choice(**{**each, "cells": tuple(ChosenCell(**cell) for cell in each["cells"])})
            for each in found["screens"]
        )
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path}: is not what this version writes ({error}); choose another folder") from error
