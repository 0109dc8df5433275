"""What a sweep is asked for and what a relay gives, whoever computes it."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from mechpatch.axes import Logits
from mechpatch.patching.say import Said
from mechpatch.reprs import short_repr


@dataclass(frozen=True, slots=True)
class Patch:
    """Write the donor's vectors at these sites (indices into `Batch.sites`), all at once.

    Attributes:
        layer: the first that is written.
        width: how many layers are, from there upwards.
        head: the only head that is written, or neuron where the hook point has neurons; all if None.
    """

    layer: int
    sites: tuple[int, ...]
    width: int = 1
    head: int | None = None

    @property
    def layers(self) -> range:
        """Every layer that is written."""
        return range(self.layer, self.layer + self.width)


@dataclass(frozen=True, slots=True, eq=False)
class RelayStep:
    """One step of a relay: what it wrote, g_i (of one head or neuron where one is relayed), the logits of that run, and
    what it says, if it was asked."""

    written: Float[Tensor, "pair 2 *vector"]
    logits: Logits
    said: Said | None = None

    __repr__ = short_repr
