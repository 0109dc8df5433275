"""The screen: first-order estimates of every candidate, and with them the choice of the cells that are run.

It is made once, before anything is patched, and kept in the run directory: a run that is resumed, or grows, keeps it.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from einops import reduce
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mechpatch.experiments.cells import frame_of
from mechpatch.experiments.choice import Candidates, choose
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.continuations import Openings
from mechpatch.experiments.running.prepared import PreparedBatch, prepare
from mechpatch.formats import duration
from mechpatch.metrics import wide
from mechpatch.patching import collate
from mechpatch.patching.attribution import ByPart, Measure, attribute, bytes_of_gradients
from mechpatch.patching.wide import float64_device
from mechpatch.reprs import short_repr
from mechpatch.storage.choices import Choice
from mechpatch.storage.memory import MemoryRun
from mechpatch.storage.results import RunDirectory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Estimates:
    """Of some pairs of a batch in one direction, by hook point.

    Attributes:
        by_part: shares of the gap, as `effect` is; NaN for a pair whose gap is too small.
        right: whether the unpatched model answers a pair right on both sides.
    """

    sites: tuple[str, ...]
    direction: str
    by_part: dict[str, Float[np.ndarray, "pair layer site part"]]
    right: Bool[np.ndarray, " pair"]

    __repr__ = short_repr


def screened(
    experiment: Experiment,
    directory: RunDirectory | MemoryRun,
    cache: Path | None,
    say: Callable[[str], None] = lambda text: None,
) -> Experiment:
    """The experiment with the cells that a screen chose, now or when the run began; as it is without a screen.

    Args:
        cache: folder of unpatched activations; None for none.
        say: told what was chosen.

    Raises:
        StorageError: what was chosen cannot be read or kept.
    """
    if experiment.spec.screen is None:
        return experiment
    kept = {(choice.experiment, choice.hook): choice for choice in directory.choices()}
    among = experiment.candidates
    new = [each for each in among if (each.experiment, each.hook) not in kept]
    if new:
        started = time.monotonic()
        found = _choices(experiment, new, cache)
        kept |= {(choice.experiment, choice.hook): choice for choice in found}
        directory.keep_choices([*kept.values()])
        for choice in found:
            took = duration(time.monotonic() - started)
            say(f"screened {choice.candidates:,} cells of {choice.hook} in {took}: {len(choice.cells):,} are run")
    return experiment.choosing([kept[each.experiment, each.hook] for each in among])


def seconds_of_screen(experiment: Experiment, quick: float) -> float:
    """Seconds that the estimates of a run take, timed on its first pair; on its first batch where a pair is quick.

    What is patched and cached anyhow, the unpatched runs, is not in it.

    Args:
        quick: seconds that a timing may take.
    """
    spec = experiment.spec
    if spec.screen is None:
        return 0.0
    hooks = tuple(dict.fromkeys(each.hook for each in experiment.candidates))
    first = experiment.batches[0]
    took = _seconds_of(experiment, first[:1], hooks)
    for size in (1, len(first)):  # a process does its first estimates slowly
        if took * size < quick:
            took = _seconds_of(experiment, first[:size], hooks) / size
    return took * len(experiment.asked) * len(spec.directions)


def _seconds_of(experiment: Experiment, indices: Sequence[int], hooks: Sequence[str]) -> float:
    """Seconds that the estimates of some pairs of one batch take in one direction."""
    prepared = next(_prepared(experiment, [indices], [indices], None))
    started = time.perf_counter()
    for _ in _of_batch(prepared, hooks):
        pass
    return time.perf_counter() - started


def _choices(experiment: Experiment, among: Sequence[Candidates], cache: Path | None) -> list[Choice]:
    """The choice of each map; means are over the pairs that are answered right, or over all where none is."""
    spec, hooks = experiment.spec, tuple(dict.fromkeys(each.hook for each in among))
    totals = [{key: _Sums.of(each) for key in product(spec.directions, (True, False))} for each in among]
    for found in _estimates(experiment, hooks, cache):
        for total in totals:
            total[found.direction, True].add(experiment, found, found.right)
            total[found.direction, False].add(experiment, found, ~found.right)
    chosen = []
    for each, total in zip(among, totals, strict=True):
        able = any(total[direction, True].most for direction in spec.directions)
        of = {direction: total[direction, able] for direction in spec.directions}
        means, pairs = {name: sums.mean for name, sums in of.items()}, max(sums.most for sums in of.values())
        chosen.append(choose(each, spec.screen or 0, means, pairs, spec.seed))
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Sums over pairs of one map, and of how many pairs."""

    among: Candidates
    sums: Float[np.ndarray, "place part"]
    counts: Int[np.ndarray, " place"]

    @classmethod
    def of(cls, among: Candidates) -> "_Sums":
        places = len(among.cells)
        return cls(among, np.zeros((places, len(among.parts))), np.zeros(places, dtype=np.int64))

    @property
    def mean(self) -> Float[np.ndarray, "place part"]:
        """NaN where there is no pair."""
        with np.errstate(invalid="ignore"):
            return self.sums / self.counts[:, None]

    @property
    def most(self) -> int:
        """The largest number of pairs at any place."""
        return int(self.counts.max(initial=0))

    def add(self, experiment: Experiment, found: Estimates, chosen: Bool[np.ndarray, " pair"]) -> None:
        """Add the chosen pairs of a batch; the estimate of a cell is the sum over all that it writes."""
        values = found.by_part[self.among.hook]
        used = chosen & ~np.isnan(values).any(axis=(1, 2, 3))
        numbers = {place: number for number, place in enumerate(self.among.cells)}
        frame = frame_of(experiment.model, experiment.spec, found.sites, self.among.hook, experiment.known)
        for cell in experiment.own.cells(self.among.experiment, frame):
            if cell.place not in numbers:
                continue
            written = values[used, cell.layer : cell.layer + cell.width]
            parts = written[:, :, [found.sites.index(site) for site in cell.sites]]
            self.sums[numbers[cell.place]] += parts.sum(axis=(0, 1, 2))[[*self.among.parts]]
            self.counts[numbers[cell.place]] += used.sum()


def _estimates(experiment: Experiment, hooks: Sequence[str], cache: Path | None) -> Iterator[Estimates]:
    """Batch by batch, in each direction, a few pairs at a time."""
    for prepared in _prepared(experiment, experiment.batches, experiment.groups, cache):
        yield from _of_batch(prepared, hooks)


def _prepared(
    experiment: Experiment, batches: Sequence[Sequence[int]], groups: Sequence[Sequence[int]], cache: Path | None
) -> Iterator[PreparedBatch]:
    """Each batch in each direction, with its unpatched runs.

    Args:
        groups: pairs that are recorded together on a device.
    """
    model, spec = experiment.model, experiment.spec
    runs = UnpatchedRuns(model, experiment.layouts, spec.engine, cache, spec.points, groups)
    openings = Openings.of(model.tokenizer, model.hooked.cfg.d_vocab, float64_device(model.device))
    for batch in batches:
        recorded = [runs.get(index) for index in batch]
        for direction in spec.directions:
            yield prepare(experiment, direction, batch, recorded, openings, None)


def _of_batch(prepared: PreparedBatch, hooks: Sequence[str]) -> Iterator[Estimates]:
    """As many pairs at once as fit into the memory of a chunk of patches."""
    model, side, layouts = prepared.experiment.model, prepared.side, prepared.layouts
    own, other = (prepared.unpatched.values[each]["answer_logprob_diff"] for each in (side, 1 - side))
    gap = np.where(np.abs(other - own) < prepared.experiment.spec.min_gap, np.nan, other - own)
    size = max(1, prepared.memory // bytes_of_gradients(model.hooked, prepared.batch, hooks))
    for start in range(0, len(layouts), size):
        some = slice(start, start + size)
        batch = collate(layouts[some], model.device)
        donor = {hook: prepared.vectors[hook][1 - side][some] for hook in hooks}
        moved = attribute(model.hooked, model.head, batch, donor, towards_clean(batch.targets))
        yield Estimates(
            sites=batch.sites,
            direction=prepared.direction,
            by_part={hook: _host(values) / gap[some, None, None, None] for hook, values in moved.items()},
            right=prepared.unpatched.both_correct[some],
        )


def towards_clean(targets: Int[Tensor, "pair answer position"]) -> Measure:
    """log p(clean answer) − log p(corrupted answer), whole strings, as `metrics` has it and with gradients."""

    def measure(logits: Float[Tensor, "pair answer position vocab"]) -> Float[Tensor, " pair"]:
        chances = wide(logits).log_softmax(-1)
        asked = targets.to(chances.device)
        chosen = chances.gather(-1, asked.clamp(min=0)[..., None])[..., 0]
        logprob = reduce(chosen * (asked >= 0), "pair answer position -> pair answer", "sum")
        return logprob[:, 0] - logprob[:, 1]

    return measure


def _host(values: ByPart) -> np.ndarray:
    return values.to(float64_device(values.device)).double().cpu().numpy()
