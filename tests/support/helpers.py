"""The one place for tolerances, the comparison that uses them, and a tensor as on a device without float64."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Largest absolute difference between two exact computations of the same logits.
TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-4}


def assert_same(found: Tensor, expected: Tensor, rounding: float = 0.0) -> None:
    """Equal shapes and dtypes, and equal up to the tolerance of the dtype (exactly equal for integers).

    Args:
        rounding: what rounding does on this machine, where that was measured and may be more.
    """
    assert found.shape == expected.shape, (found.shape, expected.shape)
    allowed = max(TOLERANCE.get(expected.dtype, 0), rounding)
    torch.testing.assert_close(found, expected, rtol=0, atol=allowed, equal_nan=True)


class WithoutFloat64(Tensor):
    """A tensor as on an MPS device, which has no float64: it is moved to the CPU first, or cannot be widened."""

    @classmethod
    def __torch_function__(cls, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = super().__torch_function__(func, types, args, kwargs or {})
        if func is Tensor.cpu:
            return torch.as_tensor(found).as_subclass(Tensor)
        if isinstance(found, cls) and found.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64")
        return found
