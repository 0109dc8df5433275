"""What a law is, what trying it gives, and the worst difference seen on the way."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

PIECE = 2**22  # numbers that are compared at once


class NotApplicable(Exception):
    """This law says nothing about this model and these pairs; the text says why."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How far a law was missed.

    Attributes:
        deviation: the largest difference found, in the unit of what was compared; NaN counts as a failure.
        tolerance: what rounding alone can make of it.
        where: the place of the largest difference.
    """

    deviation: float
    tolerance: float
    where: str = ""


@dataclass(frozen=True, slots=True)
class Law:
    """One thing that must hold whatever the weights.

    Attributes:
        number: number of the law it belongs to in the definitions.
        key: its short name.
        says: in words.
        measure: tries it on a `Context`; raises `NotApplicable` where it has nothing to say.
    """

    number: int
    key: str
    says: str
    measure: Callable[..., Measured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A law after it was tried.

    Attributes:
        verdict: "holds", "FAILS" or "not applicable".
        note: where the largest difference is, why the law does not apply, or which error stopped it.
        causes: what probably made it fail.
    """

    number: int
    key: str
    says: str
    verdict: str
    deviation: float | None = None
    tolerance: float | None = None
    note: str = ""
    causes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether it was tried and does not hold."""
        return self.verdict == "FAILS"


@dataclass(slots=True)
class Worst:
    """The largest absolute difference of all that were shown to it, and where it was."""

    deviation: float = 0.0
    where: str = ""
    shown: int = field(default=0)

    def show(self, found: Tensor, expected: Tensor, where: str, unit: float = 1.0) -> None:
        """Compare two tensors of one shape; a shape that differs, NaN and infinity are infinitely far apart.

        Args:
            unit: what counts as a difference of 1.
        """
        self.shown += 1
        far = math.inf
        if found.shape == expected.shape:
            far = _distance(found, expected) / unit
        if not far <= self.deviation:
            self.deviation, self.where = (far if math.isfinite(far) else math.inf), where

    def measured(self, tolerance: float) -> Measured:
        """The result; comparing nothing at all is an error, because it would hold for ever."""
        if not self.shown:
            raise NotApplicable("there was nothing to compare")
        return Measured(self.deviation, tolerance, self.where)


def _distance(found: Tensor, expected: Tensor) -> float:
    """The largest absolute difference, in float64; piece by piece, since an embedding of 128k words takes 2 GB so."""
    found, expected = torch.atleast_1d(found), torch.atleast_1d(expected)
    rows = max(1, PIECE * len(found) // max(1, found.numel()))
    pieces = zip(found.split(rows), expected.split(rows), strict=True)
    far = [(one.cpu().double() - other.cpu().double()).abs().max().item() for one, other in pieces if one.numel()]
    return math.nan if any(map(math.isnan, far)) else max(far, default=0.0)
