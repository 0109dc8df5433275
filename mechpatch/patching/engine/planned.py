"""The indices of a chunk of patches, made once: with another donor the same rows are computed in the same order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256

from jaxtyping import Bool
from torch import Tensor

from mechpatch.patching.engine.base import BaseRun
from mechpatch.patching.engine.waves import Handed, Runs, Wave, on_device, patched_runs, wave_of
from mechpatch.patching.patch import Patch
from mechpatch.points import HookPoint
from mechpatch.reprs import short_repr

KEPT = 2**26  # bytes of indices that one base run keeps


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """What is computed for a chunk of patches.

    Attributes:
        waves: one for each stage, on the model's device; none where no patch changes anything.
    """

    runs: Runs
    waves: Sequence[Wave]

    __repr__ = short_repr

    @property
    def nbytes(self) -> int:
        """Bytes of all its indices."""
        return sum(each.nbytes for holder in (self.runs, *self.waves) for each in _tensors(holder))


def planned(
    base: BaseRun,
    patches: Sequence[Patch],
    same: Bool[Tensor, "pair layer site part"],
    point: HookPoint,
    handed: Mapping[int, Handed],
) -> Planned:
    """The runs and waves of `patches`; from the base run's memory if they were made before, and are few enough to keep.

    Args: see `waves.patched_runs`.
    """
    # What is asked for first stays: every donor asks for the same chunks in the same order.
    told = [(at, each.numpy().tobytes() if isinstance(each, Tensor) else each) for at, each in handed.items()]
    key = (point.name, tuple(patches), tuple(told), sha256(same.numpy().tobytes()).digest())
    if key in base.planned:
        return base.planned[key]
    tree, depth, window = base.tree, len(base.model.blocks), base.model.window
    runs = patched_runs(tree, patches, same, point, handed)
    waves = [
        wave_of(tree, runs, each, tree.first, depth, window=window, point=point)
        for each in (tree.stages[1:] if len(runs.pair) else ())
    ]
    made = Planned(runs, on_device(waves, base.stream.device))
    if made.nbytes + sum(each.nbytes for each in base.planned.values()) <= KEPT:
        base.planned[key] = made
    return made


def _tensors(holder: Runs | Wave) -> Iterator[Tensor]:
    for each in fields(holder):
        value = getattr(holder, each.name)
        yield from (
            part for part in (value if isinstance(value, list | tuple) else [value]) if isinstance(part, Tensor)
        )
