"""The one place for tolerances, and the comparison that uses them."""

import torch
from torch import Tensor

# Largest absolute difference between two exact computations of the same logits.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}


def assert_same(found: Tensor, expected: Tensor) -> None:
    """Equal shapes and dtypes, and equal up to the tolerance of the dtype (exactly equal for integers)."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE.get(expected.dtype, 0), equal_nan=True)
