"""Runs that go on by themselves after the answer prefix: the likeliest token, the likeliest after it, and so on."""

from dataclasses import dataclass

from jaxtyping import Bool, Int
from torch import Tensor

from mechpatch.reprs import short_repr

Said = Int[Tensor, "pair said"]  # token ids, the one that ends it included; -1 after it


@dataclass(frozen=True, slots=True, eq=False)
class Say:
    """How far a run goes on.

    Attributes:
        count: tokens at most.
        ends: which tokens end what is said.
    """

    count: int
    ends: Bool[Tensor, " vocab"]

    __repr__ = short_repr
