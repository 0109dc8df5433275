"""Hook functions that edit or read the residual stream at chosen positions.

They have the transformer-lens signature and need nothing else of mechpatch. Hooks never mutate their input (the
activation cache may alias it), never know which experiment called them, and compose with `chain`.
Axes: `row` (sequence in the batch), `position` (token), `site` (chosen position), `d_model`.
"""

from typing import Protocol, runtime_checkable

import torch
from beartype import beartype
from jaxtyping import Float, Int, jaxtyped
from torch import Tensor

Resid = Float[Tensor, "row position d_model"]


@runtime_checkable
class Hook(Protocol):
    """A function of the residual stream and its hook point; returns the stream to go on with."""

    def __call__(self, resid: Resid, hook: object) -> Resid: ...


@jaxtyped(typechecker=beartype)
def patch_position(position: int | Int[Tensor, " row"], source: Float[Tensor, "row d_model"]) -> Hook:
    """Write `source` at one position of each row; pass every other position through.

    Args:
        position: the same for all rows, or one per row; negative counts from the end.
    """
    where = torch.as_tensor(position, device=source.device).expand(len(source))
    return patch_positions(where[:, None], source[:, None])


@jaxtyped(typechecker=beartype)
def patch_positions(positions: Int[Tensor, "row site"], source: Float[Tensor, "row site d_model"]) -> Hook:
    """Write `source` at several positions of each row; pass every other position through."""

    @jaxtyped(typechecker=beartype)
    def patch(resid: Resid, hook: object) -> Resid:
        check_source(resid, source, positions, hook)
        patched = resid.clone()
        patched[rows(positions), positions] = source
        return patched

    return patch


@jaxtyped(typechecker=beartype)
def capture(positions: Int[Tensor, "row site"], into: list[Float[Tensor, "row site d_model"]]) -> Hook:
    """Append a copy of the residual stream at `positions` to `into`; change nothing."""

    @jaxtyped(typechecker=beartype)
    def read(resid: Resid, hook: object) -> Resid:
        check_positions(resid, positions, hook)
        into.append(resid[rows(positions), positions].clone())
        return resid

    return read


def chain(*hooks: Hook) -> Hook:
    """Apply `hooks` left to right at one hook point; `chain()` is the identity."""

    def chained(resid: Resid, hook: object) -> Resid:
        for each in hooks:
            resid = each(resid, hook=hook)
        return resid

    return chained


def rows(positions: Int[Tensor, "row site"]) -> Int[Tensor, "row 1"]:
    """Row numbers that pair with `positions` in an index."""
    return torch.arange(len(positions), device=positions.device)[:, None]


def check_source(resid: Tensor, source: Tensor, positions: Tensor, hook: object) -> None:
    """Raise a `ValueError` that names the axis or dtype in which `source` or `positions` do not fit `resid`."""
    name = getattr(hook, "name", "this hook point")
    check_positions(resid, positions, hook)
    if source.shape[-1] != resid.shape[-1]:
        raise ValueError(
            f"{name}: axis `d_model` of `source` is {source.shape[-1]}, but the residual stream has {resid.shape[-1]}"
        )
    if source.dtype != resid.dtype:  # a silent cast would round what is written
        raise ValueError(f"{name}: `source` is {source.dtype}, but the residual stream is {resid.dtype}; cast it first")


def check_positions(resid: Tensor, positions: Tensor, hook: object) -> None:
    """Raise a `ValueError` that names the axis in which `positions` do not fit `resid`."""
    name = getattr(hook, "name", "this hook point")
    if len(positions) != len(resid):
        raise ValueError(f"{name}: axis `row` is {len(positions)} long, but the residual stream has {len(resid)} rows")
    length = resid.shape[1]
    if positions.numel() and not (-length <= int(positions.min()) and int(positions.max()) < length):
        raise ValueError(
            f"{name}: `position` runs from {int(positions.min())} to {int(positions.max())}, but the residual stream "
            f"has {length} positions"
        )
