"""What rounding does to a model: plain computations of one and the same run differ, by how much belongs to the model.

Rounding grows from block to block and from thought to thought, on some models a thousandfold, so no fixed number says
which difference of two runs is too large. The *noise floor* does: it is the spread of plain runs that differ in nothing
but rounding, in a batch and alone, and with their input moved by one unit in the last place.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformer_lens import HookedTransformer

# Largest difference that two sound computations may have at least, over the largest value (at least 1).
LEAST = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 5e-2}
# Times the noise floor: that is the largest of a few differences, and among many some are twice as large.
FACTOR = 4.0


def tolerance(dtype: torch.dtype, largest: float, floor: float) -> float:
    """How far two sound computations may lie apart.

    Args:
        largest: largest absolute value among those that are compared.
        floor: what was measured.
    """
    return max(LEAST[dtype] * max(1.0, largest), FACTOR * floor)


def spread(runs: Sequence[Tensor]) -> float:
    """Largest difference between any two of `runs`, at any place."""
    stacked = torch.stack(list(runs))
    return (stacked.amax(0) - stacked.amin(0)).max().item() if stacked.numel() else 0.0


@contextmanager
def moved_input(model: HookedTransformer, seed: int) -> Iterator[None]:
    """Every number of every token's embedding is moved up or down by one unit in the last place, as drawn."""
    generator = torch.Generator().manual_seed(seed)

    def move(module: object, given: object, embedded: Tensor) -> Tensor:
        values = embedded.cpu()
        up = torch.randint(2, values.shape, generator=generator).bool()
        far = torch.where(up, torch.inf, -torch.inf).to(values.dtype)
        return torch.nextafter(values, far).to(embedded.device)

    handle = model.embed.register_forward_hook(move)
    try:
        yield
    finally:
        handle.remove()
