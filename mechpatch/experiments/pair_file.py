"""Pairs, of a file or of Python, screened for one model and spec: which can be run, and which are asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mechpatch.data import pair_path
from mechpatch.errors import SpecError
from mechpatch.experiments.layouts import run_predicates
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair, Screening, load_pairs, screen
from mechpatch.reprs import short_repr


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFile:
    """Pairs, screened for one model and spec.

    Attributes:
        name: name of the file, as it was asked for; what the pairs are called where there is none.
        path: path of the file; None for pairs that were given in Python.
        limit, only: which of the kept pairs are asked for: the first so many, or those with these ids.
    """

    name: str
    path: Path | None
    total: int
    screening: Screening
    limit: int | None
    only: tuple[str, ...]

    __repr__ = short_repr

    @property
    def kept(self) -> list[Pair]:
        """The pairs that could be run, which donors and batches are taken from."""
        return list(self.screening.kept)

    @property
    def asked(self) -> list[int]:
        """Indices of the kept pairs that are asked for."""
        if self.only:
            names = [pair.pair_id for pair in self.kept]
            return sorted(names.index(name) for name in self.only)
        return list(range(len(self.kept)))[: self.limit]


def read_pairs(
    name: str,
    model: ThoughtModel,
    spec: Spec,
    *,
    limit: int | None = None,
    only: Sequence[str] = (),
    keep_same_answer: bool = False,
) -> PairFile:
    """Load and screen a file of pairs.

    Args:
        limit: run the first so many; None for all.
        only: run those with these ids instead.

    Raises:
        PairError: lists every fault of the file.
        SpecError: a pair that was asked for is not there, or was dropped.
    """
    path = pair_path(name)
    return screened(load_pairs(path), name, model, spec, path, limit, only, keep_same_answer)


def screened(
    pairs: Sequence[Pair],
    name: str,
    model: ThoughtModel,
    spec: Spec,
    path: Path | None = None,
    limit: int | None = None,
    only: Sequence[str] = (),
    keep_same_answer: bool = False,
) -> PairFile:
    """As `read_pairs`, of pairs that are there."""
    if limit is not None and limit < 1:
        raise SpecError(f"--limit is {limit}, expected at least 1 pair")
    said = path or name
    screening = screen(pairs, run_predicates(model, spec, keep_same_answer))
    dropped = {each.pair.pair_id: each.reason for each in screening.dropped}
    kept = [pair.pair_id for pair in screening.kept]
    for wanted in only:
        if wanted in dropped:
            raise SpecError(f"--pair {wanted}: {said} has it, and it cannot be run: {dropped[wanted]}")
        if wanted not in kept:
            more = f" and {len(kept) - 5} more" if len(kept) > 5 else ""
            raise SpecError(f"--pair {wanted}: no such pair in {said}; it has {', '.join(kept[:5])}{more}")
    return PairFile(
        name=name, path=path, total=len(pairs), screening=screening, limit=limit, only=tuple(dict.fromkeys(only))
    )
