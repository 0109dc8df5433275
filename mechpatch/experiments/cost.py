"""What a run will take, before it is run: counted exactly, and timed on a few of its own pairs.

Each section of a batch's time grows with something that can be counted: unpatched and patched runs with their floating
point operations, checks with those of plain hooks, metrics and records with the number of rows. Two timings, of a few
pairs and of more, tell what a batch costs anyhow from what its work costs. Where a single pair takes long, some layers
of it are timed, once, and their work is all. They have fewer rows in each product than the run will have, and the
weights of a product must be read for few rows as for many: what that costs is timed on some products, and counted.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.compute as pc
import torch
from transformer_lens import HookedTransformer

from mechpatch.catalogue import PAIRED
from mechpatch.experiments.counted import Counts, count, sweeps_of
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner, Todo
from mechpatch.experiments.running.engines import ENGINES
from mechpatch.experiments.running.footprint import bytes_of_weights, footprint_of_batch, require_memory
from mechpatch.experiments.running.screened import seconds_of_screen
from mechpatch.storage.results import open_run

LONG = 10.0  # seconds that a plan may take for one timing
COUNTED = 16  # batches that are counted to foresee all
FEW, MANY = 8, 256  # rows of products that are timed
READ, ROUNDS = 8, 3  # blocks whose products are timed, and how often
ROW_BYTES = 60  # of a compressed record, measured on the demo


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the sections of a batch took."""

    counts: Counts
    seconds: Mapping[str, float]

    @property
    def total(self) -> float:
        """Seconds of all sections."""
        return sum(self.seconds.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will take.

    Attributes:
        pairs, batches, cells: how many; cells of one pair, direction and donor.
        weights, peak_memory, memory_bound: bytes; the peak is that of the whole process (on a GPU, of what is on it),
            and the bound the one that chunks of patches are made for.
        storage: bytes of records and cached activations.
        calibrated_on, timed: pairs and patched runs that were timed.
        answered: how many of these pairs the unpatched model answers right on both sides.
        seconds: time of the run itself; loading, summary and figures come on top.
        screening: seconds of a screen's estimates, before the run; 0 without one.
    """

    pairs: int
    batches: int
    cells: int
    counts: Counts
    weights: int
    peak_memory: int
    memory_bound: int
    storage: int
    calibrated_on: int
    timed: int
    answered: int
    seconds: float
    screening: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def predict(small: Timing, large: Timing, whole: Counts, batches: int, rows: float = 0.0) -> float:
    """Seconds that `whole` takes in so many batches, if two batches took what was measured; both may be the same.

    Args:
        rows: see `rows_for_reading`.
    """
    seconds, less, more = 0.0, small.counts.sections(rows), large.counts.sections(rows)
    for name, work in whole.sections(rows).items():
        few, many = less[name], more[name]
        took_few, took_many = small.seconds[name], large.seconds[name]
        rate = (took_many - took_few) / (many - few) if many > few else 0.0
        if rate <= 0 or many * rate > took_many:  # no overhead to be seen
            rate = took_many / many if many else 0.0
        seconds += rate * work + batches * (took_many - rate * many)
    return seconds


def foresee(experiment: Experiment, first: Timing, todos: Sequence[Todo]) -> float:
    """Seconds that batches take one after the other, if one of them took what was timed.

    Of many batches some are counted, evenly chosen: to count them all would keep a cluster waiting.
    """
    some = todos[:: -(-len(todos) // COUNTED)]
    share = sum(todo.work for todo in todos) / sum(todo.work for todo in some)
    return predict(first, first, count(experiment, some), len(some)) * share


@torch.no_grad()
def rows_for_reading(model: HookedTransformer) -> float:
    """How many rows of a product take as long as its weights take to be read, on this machine; 0 where none is seen."""
    # One matrix of each block after the other, so that none is in a cache from the time before.
    blocks = model.blocks[:READ]
    weights = [max((each for each in block.parameters() if each.ndim == 2), key=torch.numel) for block in blocks]
    found: dict[int, float] = {}
    for rows in FEW, MANY:
        tries = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            products = [each.new_ones(rows, len(each)) @ each for each in weights]
            products[-1][0, 0].item()  # a GPU has done all of them
            tries.append(time.perf_counter() - started)
        found[rows] = min(tries)
    each = (found[MANY] - found[FEW]) / (MANY - FEW)
    return max(0.0, found[FEW] / each - FEW) if each > 0 else 0.0


def make_plan(experiment: Experiment) -> Plan:
    """Count a run, and time it on its first pair; on more of its first batch as long as that is quick.

    Raises:
        SpecError: it does not fit into the memory that was asked for.
    """
    require_memory(experiment)
    whole, model, spec = count(experiment), experiment.model, experiment.spec
    indices, size, rows = experiment.batches[0], 1, rows_for_reading(model.hooked)
    sample = _affordable(experiment, indices[:1], rows)
    first, answered = _timed(experiment, sample)
    small = large = first
    if sample == Todo.whole(experiment, indices[:1]) and first.total < LONG:
        small, _ = _timed(experiment, sample)  # tells what each batch costs from what the first of a process costs
        large = small
        while size < len(indices) and large.total < LONG / 2:
            size = min(4 * size, len(indices))
            large, answered = _timed(experiment, Todo.whole(experiment, indices[:size]))
    shapes = [
        shape
        for index in experiment.asked
        for question in ENGINES[spec.engine].shapes(model.hooked, experiment.layouts[index], spec.points)
        for shape in question.values()
    ]
    cached = sum(map(prod, shapes)) * model.hooked.cfg.dtype.itemsize
    footprints = [footprint_of_batch(experiment, each, whole.records) for each in experiment.batches]
    sweeps = [_largest_sweep(experiment, each) for each in experiment.batches]
    return Plan(
        pairs=len(experiment.asked),
        batches=len(experiment.batches),
        cells=len(experiment.cells(indices)),
        counts=whole,
        weights=bytes_of_weights(model),
        peak_memory=max(found.peak(patches) for found, patches in zip(footprints, sweeps, strict=True)),
        memory_bound=footprints[0].bound,
        storage=cached + ROW_BYTES * whole.records,
        calibrated_on=size,
        timed=large.counts.records,
        answered=answered,
        seconds=predict(small, large, whole, len(experiment.batches), rows) + max(0.0, first.total - small.total),
        screening=seconds_of_screen(experiment, LONG / 2),
    )


def _affordable(experiment: Experiment, indices: Sequence[int], rows: float) -> Todo:
    """All of some pairs, if that can be timed in a few seconds; otherwise as many layers as can, spread evenly, in one
    direction and with the donor that is checked."""
    whole, spec = Todo.whole(experiment, indices), experiment.spec
    work, layers = count(experiment, [whole]), spec.select_layers(experiment.model.n_layers)
    runs = UnpatchedRuns(experiment.model, experiment.layouts, spec.engine, None, spec.points, [indices])
    started = time.perf_counter()
    for index in indices:
        runs.get(index)
    seconds = (time.perf_counter() - started) * work.patched.effort(rows) / work.unpatched.effort(rows)
    if seconds <= LONG:
        return whole
    part = max(whole.cells, key=lambda each: len(whole.cells[each]))  # the first of the largest ones
    seconds *= len(whole.cells[part]) * len(indices) / whole.work
    kept = evenly(layers, max(1, int(len(layers) * LONG / seconds)))
    some = [cell for cell in whole.cells[part] if cell.layer in kept]
    return replace(whole, cells={part: some or whole.cells[part][:1]})


def evenly(layers: Sequence[int], number: int) -> set[int]:
    """At most so many of the layers, each from the middle of its share."""
    number = min(number, len(layers))
    return {layers[(2 * place + 1) * len(layers) // (2 * number)] for place in range(number)}


def _timed(experiment: Experiment, todo: Todo) -> tuple[Timing, int]:
    """Run part of a batch, and write what a run writes: its time, and how many pairs are answered right."""
    if todo != Todo.whole(experiment, todo.batch):  # a check is a few plain runs, and one tells how long they take
        experiment = replace(experiment, spec=replace(experiment.spec, checks=min(1, experiment.spec.checks)))
    answered = 0
    with TemporaryDirectory() as folder, open_run(Path(folder) / "run", {}) as directory:
        spec, kept = experiment.spec, Path(folder) / "cache"
        runs = UnpatchedRuns(experiment.model, experiment.layouts, spec.engine, kept, spec.points, [todo.batch])
        runner = BatchRunner.prepare(experiment, runs, lambda cells: None)
        for part in runner.run(todo):
            with runner.watch.measure("records"):
                directory.write_shard({"direction": part.direction, "donor": part.donor}, part.table)
            right = part.table.filter(pc.field("both_correct"))["pair_index"]
            answered = max(answered, len(right.unique()))
    return Timing(count(experiment, [todo]), runner.watch.seconds), answered


def _largest_sweep(experiment: Experiment, indices: Sequence[int]) -> int:
    """The most patches that are run together."""
    sites = experiment.layouts[indices[0]][0].sites
    sweeps = sweeps_of(PAIRED, experiment.cells(indices), sites)
    return max((len(runs.patches) for _, runs in sweeps), default=0)
