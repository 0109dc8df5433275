"""Which library multiplies matrices on a CPU: the one that torch takes by itself, or oneDNN, called by name.

Torch takes MKL for float32, if it was built with it. On CPUs that are not Intel's oneDNN can be twice as fast. Which is
faster is measured on a matrix of the model at hand, and only a clear winner is taken, because the two round apart: the
choice holds for a whole process, and is one of the settings that a run records and keeps (`patching.settings`).
"""

import time
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from mechpatch.errors import SpecError
from mechpatch.names import ONEDNN, TORCH

LEAST = 2**22  # numbers of a matrix: with smaller ones a product is not what takes the time
ROWS, ROUNDS = 512, 3  # of a product that is timed, as a wave has them
FASTER = 1.25  # times: what must be won before another library is taken


def torch_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b by the library that torch takes."""
    return F.linear(x, weight, bias)


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The same by oneDNN, for matrices that it takes as they lie; by torch's library for all others."""
    if not takes(weight) or x.device.type != "cpu" or x.dtype != torch.float32:
        return F.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x.contiguous(), weight, bias, "none", [], "")


Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
PRODUCTS: Mapping[str, Product] = {TORCH: torch_product, ONEDNN: onednn_product}
_used = TORCH


def current() -> str:
    """The library of this process."""
    return _used


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b by the library of this process."""
    return PRODUCTS[_used](x, weight, bias)


def use(name: str) -> None:
    """Take a library for this process from here on. Raises `SpecError` for one that is not known or not there."""
    global _used
    if name not in PRODUCTS:
        raise SpecError(f"matrix products: {name!r} is not known; expected {' or '.join(PRODUCTS)}")
    if name == ONEDNN and not available():
        raise SpecError(f"matrix products: this build of torch ({torch.__version__}) has no oneDNN; take {TORCH}")
    _used = name


def available() -> bool:
    """Whether oneDNN can be called by name."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def takes(weight: Float[Tensor, "out into"]) -> bool:
    """Whether oneDNN takes a matrix as it lies, and it is large enough to matter."""
    large = weight.numel() >= LEAST and weight.dtype == torch.float32 and weight.device.type == "cpu"
    return large and weight.is_contiguous()


@torch.no_grad()
def measured(weight: Float[Tensor, "out into"]) -> dict[str, float]:
    """Seconds of CPU time that one product takes with each library, the least of some rounds in turn."""
    x = torch.randn(ROWS, weight.shape[1], generator=torch.Generator().manual_seed(0))
    found = dict.fromkeys(PRODUCTS, float("inf"))
    for _ in range(ROUNDS):
        for name, product in PRODUCTS.items():
            started = time.process_time()
            product(x, weight, None)
            found[name] = min(found[name], time.process_time() - started)
    return found


def faster(seconds: Mapping[str, float]) -> str:
    """The library to take: another than torch's own only if it is clearly faster."""
    return ONEDNN if seconds[TORCH] > FASTER * seconds[ONEDNN] else TORCH
