"""Indices are made on the CPU and go to the model's device together: one copy, for which nobody waits."""

from collections.abc import Sequence

import torch
from torch import Tensor

ALIGNED = 8  # bytes; the widest element that an index has
PAGED = ("mps", "cpu")  # devices whose copies come from any memory


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """CPU tensors on a device, as views of one buffer; they themselves where the device is the CPU."""
    if device.type == "cpu":
        return [*tensors]
    once = {id(each): each for each in tensors}
    sizes = [-(-each.nbytes // ALIGNED) * ALIGNED for each in once.values()]
    host = torch.empty(sum(sizes), dtype=torch.uint8, pin_memory=device.type not in PAGED)
    for part, each in zip(host.split(sizes), once.values(), strict=True):
        _as(part, each).copy_(each)
    parts = host.to(device, non_blocking=True).split(sizes)
    there = {key: _as(part, each) for part, (key, each) in zip(parts, once.items(), strict=True)}
    return [there[id(each)] for each in tensors]


def _as(part: Tensor, like: Tensor) -> Tensor:
    """Bytes read as the kind and shape of another tensor."""
    return part[: like.nbytes].view(like.dtype).view(like.shape)
