"""What a user brings to a run: metrics, donors and kinds of experiments of their own, each with a name and a version.

A run records names and versions, never code: a directory grows only by a run that brings the same ones.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mechpatch.catalogue import DONORS, MEASURES
from mechpatch.errors import SpecError
from mechpatch.kinds import KINDS, Cell, Frame, Kind, kind_of
from mechpatch.kinds.cells import KEY
from mechpatch.kinds.kind import DRAWINGS

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of your own: a column of the records.

    Attributes:
        name: name of the column.
        function: gives one value per pair, [pair], from the logits of the patched run and of its baseline, each
            [pair, answer, position, vocab], and from `mechpatch.metrics.Answers`, which says where they are read. NaN
            stands for "undefined" and becomes null.
        version: raise it when the function changes.
    """

    name: str
    function: Callable[..., Any]
    version: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Donor:
    """A donor of your own: what is written in place of the other side's vectors.

    Attributes:
        name: in the column `donor`, beside `paired`.
        function: is given `experiments.running.donors.Recipients`, the runs that are written into; gives vectors,
            [pair, answer, layer, site, d_model], and which pairs have them, bool [pair].
        version: raise it when the function changes.
    """

    name: str
    function: Callable[..., Any]
    version: str = "1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """All that a user brings to one run."""

    metrics: tuple[Metric, ...] = ()
    donors: tuple[Donor, ...] = ()
    kinds: tuple[Kind, ...] = ()

    def __post_init__(self) -> None:
        _check("metric", self.metrics, MEASURES)
        _check("donor", self.donors, DONORS)
        _check("kind", self.kinds, KINDS)
        for kind in self.kinds:
            if kind.drawing not in DRAWINGS:
                raise SpecError(f"kind {kind.name!r}: drawing {kind.drawing!r}, expected one of {', '.join(DRAWINGS)}")

    def words(self) -> dict[str, dict[str, str]]:
        """Words and drawing of each kind, by name."""
        return {kind.name: kind.described for kind in self.kinds}

    def kind(self, name: str) -> Kind:
        """A kind by its name, one of the user's own or a known one."""
        return next((kind for kind in self.kinds if kind.name == name), None) or kind_of(name)

    def cells(self, name: str, frame: Frame) -> list[Cell]:
        """The cells of a kind; those of the user's own are checked.

        Raises:
            SpecError: cells do not bear the kind's name, or cannot be run or told apart as they stand.
        """
        cells = self.kind(name).cells(frame)
        if name not in KINDS:
            _check_cells(name, cells)
        return cells

    def described(self) -> tuple[tuple[str, str, str], ...]:
        """(what, name, version) of each, as `Spec.own` records it."""
        named = [("metric", self.metrics), ("donor", self.donors), ("kind", self.kinds)]
        return tuple((what, each.name, each.version) for what, own in named for each in own)


def _check(what: str, own: Iterable[Metric | Donor | Kind], known: Iterable[str]) -> None:
    names = [each.name for each in own]
    for name in names:
        if not NAME.fullmatch(name):
            raise SpecError(
                f"{what} {name[:50]!r}: expected a name of small letters, digits and underscores, a letter first"
            )
        if name in known:
            raise SpecError(f"{what} {name!r}: mechpatch has one of that name; choose another")
    if len({*names}) < len(names):
        raise SpecError(f"{what}s {', '.join(names)}: expected each name once")


def _check_cells(name: str, cells: Sequence[Cell]) -> None:
    """Raise a `SpecError` for what a run or its records would mix up."""
    if others := sorted({cell.experiment for cell in cells} - {name}):
        raise SpecError(f"kind {name!r} made a cell of {others[0]!r}; give frame.cell the kind's own name")
    (key, times), *_ = Counter(cell.key for cell in cells).most_common(1) or [(None, 0)]
    if key is not None and times > 1:
        told = ", ".join(f"{column} {value}" for column, value in zip(KEY, key, strict=True) if value is not None)
        raise SpecError(f"kind {name!r} made {times} cells of one name ({told}); name the sites of each otherwise")
    chains: dict[int, list[tuple[int, int, tuple[str, ...]]]] = {}
    for cell in cells:
        if cell.source == "step before":
            chains.setdefault(cell.layer, []).append((cell.step, cell.width, cell.sites))
    first = next(iter(chains.values()), [])
    visited = [sites[:1] for *_, sites in first]
    whole = first == [(step, 1, site) for step, site in enumerate(visited)] and len({*visited}) == len(visited)
    if not whole or any(chain != first for chain in chains.values()):
        raise SpecError(
            f"kind {name!r}: cells that hand on (source 'step before') must be steps 0, 1, 2, … in this order, each at "
            "one layer and at one site that no other step has, and the same at every layer"
        )


NOTHING = Own()
