"""What happens to the rows of a wave on their way up beside the work of the blocks: they are recorded, or patched."""

from dataclasses import dataclass
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechpatch.patching.engine.base import BaseRun
from mechpatch.patching.engine.block import Resid, Tap, untouched
from mechpatch.patching.engine.waves import Wave
from mechpatch.points import POINTS, HookPoint
from mechpatch.reprs import short_repr


@runtime_checkable
class Watch(Protocol):
    """Somebody who reads rows, and may write them in place."""

    def entered(self, wave: Wave, known: Float[Tensor, "known d_model"], h: Resid) -> None:
        """Before the first block.

        Args:
            known: embeddings or thoughts of the first rows, before learned positions are added.
            h: what enters, all rows.
        """
        ...

    def within(self, wave: Wave, layer: int) -> Tap:
        """In a block; of its rows those that it computes."""
        ...

    def after(self, wave: Wave, layer: int, h: Resid) -> None:
        """After a block, all rows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Recorder:
    """Keeps what base runs must know."""

    base: BaseRun

    __repr__ = short_repr

    def entered(self, wave: Wave, known: Float[Tensor, "known d_model"], h: Resid) -> None:
        """Keep what enters, and the thoughts."""
        self._keep(wave, 0, h)
        row, _, pair, site = wave.read[0]
        for hook, vectors in self.base.points.items():
            if not POINTS[hook].hooks and wave.stage.start in self.base.tree.fed:
                vectors[0, pair, site] = known[row]

    def within(self, wave: Wave, layer: int) -> Tap:
        """Keep what was asked for."""
        asked = wave.read[layer].shape[1] and any(POINTS[hook].hooks for hook in self.base.points)
        return partial(self._tap, wave, layer) if asked else untouched

    def after(self, wave: Wave, layer: int, h: Resid) -> None:
        """Keep what a block gives."""
        self._keep(wave, layer + 1, h)

    def _keep(self, wave: Wave, level: int, h: Resid) -> None:
        if wave.stage.start >= self.base.tree.first:
            pair, _, _, slot = wave.grid
            self.base.stream[level, pair, slot - self.base.tree.first] = h

    def _tap(self, wave: Wave, layer: int, hook: str, x: Tensor, useful: Tensor | None) -> None:
        row, _, pair, site = wave.read[layer]
        for name, vectors in self.base.points.items():
            if hook in POINTS[name].hooks:
                vectors[(layer, pair, site, *_part(POINTS[name], hook))] = x[_place(row, useful)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patcher:
    """Writes the donor's vectors at one hook point, and reads what the runs have there.

    Attributes:
        source: the donor's vectors.
        chosen: which heads a patch writes; None where the hook point has none.
        vectors: what each patch's first layer has at the sites; filled where a run has a row of its own.
    """

    base: BaseRun
    point: HookPoint
    source: Float[Tensor, "pair layer site *vector"]
    chosen: Bool[Tensor, "patch head"] | None
    vectors: Float[Tensor, "patch pair site *vector"]

    __repr__ = short_repr

    def entered(self, wave: Wave, known: Float[Tensor, "known d_model"], h: Resid) -> None:
        """Write and read thoughts."""
        if self.point.hooks or wave.stage.start not in self.base.tree.fed:
            return
        row, _, pair, site = wave.written[0]
        h[row] = self.base.model.enter(self.source[pair, 0, site], wave.positions[row])
        row, patch, pair, site = wave.read[0]
        self.vectors[patch, pair, site] = known[row]

    def within(self, wave: Wave, layer: int) -> Tap:
        """Write and read what lies in a block."""
        concerned = wave.written[layer].shape[1] or wave.read[layer].shape[1]
        return partial(self._tap, wave, layer) if concerned else untouched

    def after(self, wave: Wave, layer: int, h: Resid) -> None:
        """Write and read what a block gives."""
        self._tap(wave, layer, "hook_resid_post", h, None)

    def _tap(self, wave: Wave, layer: int, hook: str, x: Tensor, useful: Tensor | None) -> None:
        if hook not in self.point.hooks:
            return
        part = _part(self.point, hook)
        row, patch, pair, site = wave.written[layer]
        row, given = _place(row, useful), self.source[(pair, layer, site, *part)]
        if self.chosen is not None:
            given = torch.where(self.chosen[patch, :, None], given, x[row])
        x[row] = given
        row, patch, pair, site = wave.read[layer]
        self.vectors[(patch, pair, site, *part)] = x[_place(row, useful)]


def _part(point: HookPoint, hook: str) -> tuple[int, ...]:
    """Where the vectors of one of transformer-lens' hooks stand among those of a hook point."""
    return (point.hooks.index(hook),) if len(point.hooks) > 1 else ()


def _place(row: Int[Tensor, " _"], useful: Int[Tensor, " useful"] | None) -> Int[Tensor, " _"]:
    """Rows by their place among the useful ones, where no other is computed; all of them are useful."""
    return row if useful is None else torch.searchsorted(useful, row)
