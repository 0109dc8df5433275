"""What a sweep is asked for and what a relay gives, whoever computes it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mechpatch.axes import Logits


@dataclass(frozen=True, slots=True)
class Patch:
    """Write the donor's vectors at these sites (indices into `Batch.sites`) of one layer, all at once."""

    layer: int
    sites: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RelayStep:
    """One step of a relay: what it wrote, g_i, and the logits of that run."""

    written: Float[Tensor, "pair 2 d_model"]
    logits: Logits
