"""Faults that somebody could make in the fast engine, each in one place and as small as it can be.

All are planted through three functions of `patching.engine`, `grow`, `wave_of` and `_climb`, and only into patched
runs: unpatched ones are recorded before. Where each lands (slot, layer, heads, pair) is drawn by seed.
"""

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from torch import Tensor

from mechpatch.axes import SiteVectors
from mechpatch.experiments.running import numerics
from mechpatch.experiments.running.finite import Written
from mechpatch.experiments.running.numerics import EngineCheck
from mechpatch.models import ThoughtModel
from mechpatch.patching import Batch, collate
from mechpatch.patching.engine import base as base_module
from mechpatch.patching.engine import planned
from mechpatch.patching.engine import runs as engine
from mechpatch.patching.engine.base import BaseRun
from mechpatch.patching.engine.recording import Recording, record, replay, stack_vectors
from mechpatch.patching.engine.tree import Tree, grow
from mechpatch.patching.engine.watch import Watch
from mechpatch.patching.engine.waves import Wave
from mechpatch.patching.patch import Patch
from mechpatch.thoughts import Layout


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cell:
    """One patch of one batch, unpatched runs recorded."""

    model: ThoughtModel
    layouts: Sequence[Layout]
    batch: Batch
    recordings: Sequence[Recording]
    donor: SiteVectors
    patch: Patch

    def run(self) -> Tensor:
        """The logits that the fast engine gives."""
        base = replay(self.model.hooked, self.model.head, self.batch, self.recordings)
        ((_, outcome),) = engine.sweep(base, self.donor, [self.patch])
        return outcome.logits

    @property
    def written(self) -> Written:
        """What the patch writes."""
        layers = self.patch.layers
        return Written(self.patch, self.donor[:, :, layers.start : layers.stop, list(self.patch.sites)])

    def held(self, check: EngineCheck, logits: Tensor) -> None:
        """Hold `logits` to plain hooks."""
        names = [str(index) for index in range(len(self.layouts))]
        check.compare(self.batch, self.layouts, names, self.written, logits, str(self.patch))


def make_cell(model: ThoughtModel, pairs: Sequence[tuple[Layout, Layout]], patch: Patch) -> Cell:
    """Write the clean vectors of one patch into the corrupted questions of `pairs`."""
    recordings = [record(model.hooked, model.head, pair) for pair in pairs]
    layouts = [corrupted for _, corrupted in pairs]
    return Cell(
        model=model,
        layouts=layouts,
        batch=collate(layouts, model.device),
        recordings=[corrupted for _, corrupted in recordings],
        donor=stack_vectors([clean for clean, _ in recordings]),
        patch=patch,
    )


class Remembering(EngineCheck):
    """A check of one cell over and over: what plain hooks and float64 give of it is computed once."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(model=cell.model, seed=0)
        self.cell = cell
        self.known: dict[tuple[str, int], Any] = {}

    def _once(self, kind: str, row: int, compute: Callable[[], Any]) -> Any:
        if (kind, row) not in self.known:
            self.known[kind, row] = compute()
        return self.known[kind, row]

    def _plainly(self, batch: Batch, written: Written) -> Tensor:
        exact = super()._plainly
        return (
            self._once("plain", 0, lambda: exact(batch, written)) if batch is self.cell.batch else exact(batch, written)
        )

    def _again(self, layout: Layout, written: Written, row: int, plain: Tensor) -> Any:
        exact = super()._again
        return self._once("again", row, lambda: exact(layout, written, row, plain))

    def _exactly(self, again: Any) -> Tensor:
        exact = super()._exactly
        return self._once("exact", self.cell.layouts.index(again.layout), lambda: exact(again))

    def margin(self, logits: Tensor) -> float:
        """How far `logits` are from float64, over how far they may be, for the pair where that is largest."""
        found = []
        for row, layout in enumerate(self.cell.layouts):
            plain = self._plainly(self.cell.batch, self.cell.written)
            again = self._again(layout, self.cell.written, row, plain)
            exact = self._exactly(again)
            rounding = numerics._allowed(again.plain, again.floor)
            off = [(each - exact).abs().max().item() for each in (logits[row, :, : exact.shape[1]], again.plain)]
            found.append(off[0] / max(rounding, numerics.NEAR * off[1]))
        return max(found)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault lands.

    Attributes:
        run: number of the run, which is that of its pair, because there is one patch.
        written: a slot that the patch writes.
        thought: a slot that is fed after those, but not the last.
        tail: a slot after the thoughts that both answers follow, but not the last.
        layer: above the patch.
        heads: two of the heads with keys and values.
    """

    run: int
    written: int
    thought: int
    tail: int
    layer: int
    heads: tuple[int, int]


def draw(cell: Cell, seed: int) -> Place:
    """A place for a fault, by seed."""
    rng, tree, cfg = random.Random(seed), grow(cell.batch), cell.model.hooked.cfg
    run = rng.randrange(len(tree.tokens))
    last = int(tree.reads[run].min())  # the first prediction that is read
    written = tree.sites[run, list(cell.patch.sites)].tolist()
    first, second = rng.sample(range(cfg.n_key_value_heads or cfg.n_heads), 2)
    return Place(
        run=run,
        written=rng.choice(written),
        thought=rng.choice([slot for slot in tree.fed[:-1] if slot > max(written)]),
        tail=rng.randrange(tree.fed.stop, last),
        layer=rng.randrange(cell.patch.layer + 1, cfg.n_layers),
        heads=(first, second),
    )


Plant = Callable[[pytest.MonkeyPatch, Place], None]


def unmasked_row(planting: pytest.MonkeyPatch, place: Place) -> None:
    """One token of the continuation sees the one that follows it."""

    def faulty(batch: Batch) -> Tree:
        tree = grow(batch)
        sees = tree.sees.clone()
        sees[place.run, place.tail, place.tail + 1] = True
        return dataclasses.replace(tree, sees=sees)

    planting.setattr(base_module, "grow", faulty)


def early_answer(planting: pytest.MonkeyPatch, place: Place) -> None:
    """The prediction of one answer's first token is read one token early."""

    def faulty(batch: Batch) -> Tree:
        tree = grow(batch)
        reads, heard = tree.reads.clone(), tree.heard.clone()
        reads[place.run, 0, 0] -= 1
        heard[place.run, reads[place.run, 0, 0]] = True
        return dataclasses.replace(tree, reads=reads, heard=heard)

    planting.setattr(base_module, "grow", faulty)


def rotary_off_by_one(planting: pytest.MonkeyPatch, place: Place) -> None:
    """One thought is rotated as if it stood one position further on."""
    exact = planned.wave_of

    def faulty(*given: Any, **named: Any) -> Wave:
        wave = exact(*given, **named)
        positions, rows = wave.positions.clone(), wave.row[place.run, place.thought]
        if rows >= 0:
            positions[rows] += 1
        return dataclasses.replace(wave, positions=positions)

    planting.setattr(planned, "wave_of", faulty)


class Watching(NamedTuple):
    """A `Watch` of functions."""

    entered: Callable[..., None]
    within: Callable[..., Any]
    after: Callable[..., None]


def _climbing(planting: pytest.MonkeyPatch, make: Callable[..., tuple[BaseRun, Callable[..., None]]]) -> None:
    """Replace the base run and what happens after each block by what `make(base, own, after)` gives."""
    exact = engine._climb

    def faulty(base: BaseRun, waves: Sequence[Wave], shared: Tensor, own: Tensor, watch: Watch) -> Tensor:
        base, after = make(base, own, watch.after)
        return exact(base, waves, shared, own, Watching(watch.entered, watch.within, after))

    planting.setattr(engine, "_climb", faulty)


def swapped_values(planting: pytest.MonkeyPatch, place: Place) -> None:
    """In one block, the values of two heads change places, for one thought."""

    def make(base: BaseRun, own: Tensor, after: Any) -> tuple[BaseRun, Callable[..., None]]:
        one, other = place.heads

        def swap(wave: Wave, layer: int, h: Tensor) -> None:
            after(wave, layer, h)
            if layer == place.layer and place.thought in wave.stage:
                at = own[layer, 1, place.run, :, 0, place.thought - base.tree.first]
                at[[one, other]] = at[[other, one]]

        return base, swap

    _climbing(planting, make)


def stale_key(planting: pytest.MonkeyPatch, place: Place) -> None:
    """The keys of one written thought stay those of the unpatched run: a cache that was not updated."""

    def make(base: BaseRun, own: Tensor, after: Any) -> tuple[BaseRun, Callable[..., None]]:
        slot = place.written - base.tree.first
        before = own[:, 0, place.run, :, 0, slot].clone()

        def restore(wave: Wave, layer: int, h: Tensor) -> None:
            after(wave, layer, h)
            if place.written in wave.stage:
                own[layer, 0, place.run, :, 0, slot] = before[layer]

        return base, restore

    _climbing(planting, make)


def skipped_block(planting: pytest.MonkeyPatch, place: Place) -> None:
    """The last block is skipped for one row, that which predicts the first token of an answer."""

    def make(base: BaseRun, own: Tensor, after: Any) -> tuple[BaseRun, Callable[..., None]]:
        last, read = len(base.model.blocks) - 1, int(base.tree.reads[place.run, 0, 0])
        kept: list[Tensor] = []

        def skip(wave: Wave, layer: int, h: Tensor) -> None:
            if read in wave.stage and layer == last - 1:
                kept.append(h[wave.row[place.run, read]].clone())
            if read in wave.stage and layer == last:
                h[wave.row[place.run, read]] = kept.pop()
            after(wave, layer, h)

        return base, skip

    _climbing(planting, make)


def latent_before_norm(planting: pytest.MonkeyPatch, place: Place) -> None:
    """One latent thought is made of the last block's output as it is."""

    def make(base: BaseRun, own: Tensor, after: Any) -> tuple[BaseRun, Callable[..., None]]:
        last, raw, head = len(base.model.blocks) - 1, [], base.head
        assert head is not None

        def watch(wave: Wave, layer: int, h: Tensor) -> None:
            after(wave, layer, h)
            if layer == last:
                raw[:] = [h[wave.last]] if place.thought == wave.stage.stop else []

        def feed(normed: Tensor) -> Tensor:
            return head(raw[0] if raw else normed)

        return dataclasses.replace(base, head=feed), watch

    _climbing(planting, make)


FAULTS: dict[str, Plant] = {
    "one row unmasked": unmasked_row,
    "a rotary position off by one": rotary_off_by_one,
    "one head's values swapped": swapped_values,
    "a stale key": stale_key,
    "an answer read one token early": early_answer,
    "the last block skipped for one row": skipped_block,
    "a latent taken before the norm": latent_before_norm,
}
