"""The unpatched runs of every pair: taken once, kept in the cache, read by all experiments, directions and donors."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.experiments.running.engines import ENGINES
from mechpatch.models import ThoughtModel
from mechpatch.patching.engine.base import beside_the_stream, both_continuations
from mechpatch.patching.engine.recording import Recording
from mechpatch.patching.settings import settings
from mechpatch.points import RESID_POST
from mechpatch.storage.activations import ActivationCache
from mechpatch.storage.keys import digest
from mechpatch.thoughts import Layout

SCHEMA = 3  # raise when what is stored, or how it is computed, changes
SIDES = ("clean", "corrupted")
KEPT = 256  # pairs whose site vectors are held in memory

RecordedPair = tuple[Recording, Recording]
Vectors = dict[str, Float[Tensor, "layer site *vector"]]  # by hook point


class UnpatchedRuns:
    """Recordings of both questions of each pair, clean then corrupted.

    On the CPU a pair is recorded by itself, so what is stored does not depend on its neighbours. On any other device,
    where few questions would take as long as many, the pairs of `groups` are recorded together. The cache key covers
    weights, adapter, tokens, sites, hook points, dtype, engine, schema, what is recorded together, and the settings on
    which rounding depends.
    """

    def __init__(
        self,
        model: ThoughtModel,
        layouts: Sequence[tuple[Layout, Layout]],
        engine: str,
        folder: Path | None,
        hooks: Sequence[str] = (RESID_POST,),
        groups: Sequence[Sequence[int]] = (),
    ) -> None:
        self._model, self._layouts, self._engine, self._hooks = model, layouts, engine, tuple(hooks)
        self._cache = ActivationCache(folder) if folder is not None else None
        self._machine = settings(model.device)
        alone = model.device.type == "cpu" or engine != "fast"
        self._groups = {} if alone else {index: group for group in groups for index in group}
        self._digests: dict[int, str] = {}  # by the first pair of a group
        self._fresh: dict[int, RecordedPair] = {}  # recorded with the last one, and not yet asked for
        self._vectors: OrderedDict[int, tuple[Vectors, Vectors]] = OrderedDict()

    def get(self, index: int) -> RecordedPair:
        """The runs of pair `index`, from the cache if they are there."""
        pair = self._fresh.pop(index, None) or self._load_or_record(index)
        self._keep(index, pair)
        return pair

    def vectors(self, index: int, side: int, hook: str = RESID_POST) -> Float[Tensor, "1 2 layer site *vector"]:
        """A hook point at every site of question `side` (0 clean, 1 corrupted) of pair `index`."""
        if index not in self._vectors:
            self.get(index)
        return both_continuations(self._vectors[index][side][hook][None])

    def has(self, index: int) -> bool:
        """Whether the runs of pair `index` are in the cache."""
        return self._cache is not None and self._cache.has(self._about(index))

    def _keep(self, index: int, pair: RecordedPair) -> None:
        """Hold what is small of a pair; all else is let go of."""
        clean, corrupted = ({hook: recording.vectors(hook) for hook in self._hooks} for recording in pair)
        self._vectors[index] = clean, corrupted
        self._vectors.move_to_end(index)
        if len(self._vectors) > KEPT:
            self._vectors.popitem(last=False)

    def _load_or_record(self, index: int) -> RecordedPair:
        if self._cache is None:
            return self._record(index)
        if (stored := self._cache.load(self._about(index), self._expected(index))) is not None:
            return _pair({name: tensor.to(self._model.device) for name, tensor in stored.items()})
        return self._record(index)

    def _record(self, index: int) -> RecordedPair:
        model, group = self._model, self._groups.get(index, (index,))
        layouts = [layout for each in group for layout in self._layouts[each]]
        found = ENGINES[self._engine].record(model.hooked, model.head, layouts, self._hooks)
        self._fresh = dict(zip(group, zip(found[::2], found[1::2], strict=True), strict=True))
        for each, pair in self._fresh.items():
            self._keep(each, pair)
            if self._cache is not None:
                self._cache.save(self._about(each), _tensors(pair))
        return self._fresh.pop(index)

    def _about(self, index: int) -> dict[str, object]:
        group = self._groups.get(index, (index,))
        together = {} if len(group) == 1 else {"together": self._digest(group)}
        return {
            "model": self._model.fingerprint,
            "layouts": [asdict(layout) for layout in self._layouts[index]],
            "hooks": sorted(each.name for each in beside_the_stream(self._hooks)),  # the stream is there in any case
            "dtype": str(self._model.hooked.cfg.dtype),
            "machine": self._machine,
            "engine": self._engine,
            "schema": SCHEMA,
            **together,
        }

    def _digest(self, group: Sequence[int]) -> str:
        """What tells a group from others; made once, for each of its pairs asks for it."""
        if group[0] not in self._digests:
            self._digests[group[0]] = digest([asdict(layout) for each in group for layout in self._layouts[each]])
        return self._digests[group[0]]

    def _expected(self, index: int) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        shapes = ENGINES[self._engine].shapes(self._model.hooked, self._layouts[index], self._hooks)
        return {
            f"{side}.{name}": (shape, torch.int64 if name == "sites" else self._model.hooked.cfg.dtype)
            for side, named in zip(SIDES, shapes, strict=True)
            for name, shape in named.items()
        }


def _tensors(pair: RecordedPair) -> dict[str, Tensor]:
    sides = zip(SIDES, pair, strict=True)
    return {f"{side}.{name}": each for side, kept in sides for name, each in kept.tensors().items()}


def _pair(tensors: dict[str, Tensor]) -> RecordedPair:
    clean, corrupted = (
        {name.removeprefix(f"{side}."): each for name, each in tensors.items() if name.startswith(f"{side}.")}
        for side in SIDES
    )
    return Recording.of(clean), Recording.of(corrupted)
