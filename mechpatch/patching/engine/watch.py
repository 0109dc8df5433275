"""What happens to the rows of a wave on their way up beside the work of the blocks: they are recorded, or patched."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechpatch.patching.engine.base import BaseRun
from mechpatch.patching.engine.block import Resid, Tap, untouched
from mechpatch.patching.engine.waves import Wave
from mechpatch.patching.patch import Patch
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
        chosen: which heads or neurons a patch writes; None where the hook point has none.
        vectors: what each patch's first layer has at the sites; filled where a run has a row of its own.
        handed: of each patch the one whose run's vector it writes; its own number where that vector is in `vectors`
            already, and -1 where it writes the donor's. None where all do that.
    """

    base: BaseRun
    point: HookPoint
    source: Float[Tensor, "pair layer site *vector"]
    chosen: Bool[Tensor, "patch part"] | None
    vectors: Float[Tensor, "patch pair site *vector"]
    handed: Int[Tensor, " patch"] | None = None

    __repr__ = short_repr

    def entered(self, wave: Wave, known: Float[Tensor, "known d_model"], h: Resid) -> None:
        """Write and read thoughts."""
        if self.point.hooks or wave.stage.start not in self.base.tree.fed:
            return
        row, patch, pair, site = wave.read[0]
        self.vectors[patch, pair, site] = known[row]
        row, *_ = wave.written[0]
        h[row] = self.base.model.enter(self._given(wave, 0, ()), wave.positions[row])

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
        if self.chosen is None or self.handed is not None:  # what is handed on is read before it is written
            self._read(wave, layer, part, x, useful)
        row, patch, *_ = wave.written[layer]
        row, given = _place(row, useful), self._given(wave, layer, part)
        if self.chosen is None:
            x[row] = given
        else:
            x[row] = torch.where(self.chosen[patch, :, None], given, x[row])
            self._read(wave, layer, part, x, useful)  # beside the part that was written stand the run's own

    def _read(self, wave: Wave, layer: int, part: tuple[int, ...], x: Tensor, useful: Tensor | None) -> None:
        row, patch, pair, site = wave.read[layer]
        self.vectors[(patch, pair, site, *part)] = x[_place(row, useful)]

    def _given(self, wave: Wave, layer: int, part: tuple[int, ...]) -> Tensor:
        """What the patches of a layer write: the donor's vectors, or what they are handed, which is kept as theirs."""
        _, patch, pair, site = wave.written[layer]
        given = self.source[(pair, layer, site, *part)]
        if self.handed is None:
            return given
        giver = self.handed[patch]
        held = self.vectors[(giver.clamp(min=0), pair, site, *part)]
        given = torch.where((giver >= 0).view(-1, *[1] * (given.ndim - 1)), held, given)
        self.vectors[(patch, pair, site, *part)] = given
        return given


def _part(point: HookPoint, hook: str) -> tuple[int, ...]:
    """Where the vectors of one of transformer-lens' hooks stand among those of a hook point."""
    return (point.hooks.index(hook),) if len(point.hooks) > 1 else ()


def _place(row: Int[Tensor, " _"], useful: Int[Tensor, " useful"] | None) -> Int[Tensor, " _"]:
    """Rows by their place among the useful ones, where no other is computed; all of them are useful."""
    return row if useful is None else torch.searchsorted(useful, row)


def places_of(patch: Patch) -> tuple[Any, ...]:
    """Where a patch writes, among the vectors of its layer: [pair, site, *vector]."""
    row = range(min(patch.sites, default=0), max(patch.sites, default=-1) + 1)
    sites = slice(row.start, row.stop) if patch.sites == (*row,) else patch.sites  # a slice is no index to be copied
    return (slice(None), sites, *(() if patch.head is None else (patch.head,)))


def givers_of(count: int, known: Iterable[int], inside: Mapping[int, int]) -> Int[Tensor, " patch"]:
    """`Patcher.handed` of so many patches.

    Args:
        known, inside: see `runs._run_chunk`.
    """
    given = {at: at for at in known} | dict(inside)
    return torch.tensor([given.get(at, -1) for at in range(count)])


def parts_of(patches: Sequence[Patch], n_parts: int) -> Bool[Tensor, "patch part"]:
    """`Patcher.chosen` of some patches."""
    head = torch.tensor([-1 if patch.head is None else patch.head for patch in patches])[:, None]
    return (head < 0) | (head == torch.arange(n_parts))
