"""What a run will take, before it is run: counted exactly, and timed on a few of its own pairs.

Each section of a batch's time grows with something that can be counted: unpatched and patched runs with their floating
point operations, checks with those of plain hooks, metrics and records with the number of rows. Two timings, of a few
pairs and of more, tell what a batch costs anyhow from what its work costs. Where a single pair takes long, some layers
of it are timed, once, and their work is all.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.compute as pc

from mechpatch.experiments.cells import patch_of
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import with_thoughts
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner, Todo
from mechpatch.experiments.running.engines import ENGINES
from mechpatch.experiments.running.footprint import bytes_of_weights, footprint_of_batch, require_memory
from mechpatch.experiments.running.numerics import FLOOR_RUNS
from mechpatch.experiments.running.third import run_again
from mechpatch.experiments.spec import recipient
from mechpatch.kinds import Cell
from mechpatch.patching import collate, engine
from mechpatch.patching.engine.work import Work, base_work, plain_work, sweep_work
from mechpatch.patching.patch import Patch
from mechpatch.storage.results import open_run

LONG = 10.0  # seconds that a plan may take for one timing
ROW_BYTES = 60  # of a compressed record, measured on the demo


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What a run computes.

    Attributes:
        plain_runs: hooked forward passes of one pair that a plain loop over cells needs, unpatched ones included.
        plain: their work.
        unpatched, patched, checks: work of the chosen engine, and of the plain runs it is checked with.
        records: rows.
    """

    plain_runs: int
    plain: Work
    unpatched: Work
    patched: Work
    checks: Work
    records: int

    def __add__(self, other: "Counts") -> "Counts":
        names = self.__slots__
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def sections(self) -> dict[str, float]:
        """What the time of each section is proportional to."""
        return {
            "unpatched": float(self.unpatched.flops),
            "patched": float(self.patched.flops),
            "checks": float(self.checks.flops),
            "records": float(self.records),
        }


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
        pairs, cells: how many; cells of one pair, direction and donor.
        weights, peak_memory, memory_bound: bytes; the peak is that of the whole process (on a GPU, of what is on it),
            and the bound the one that chunks of patches are made for.
        storage: bytes of records and cached activations.
        calibrated_on, timed: pairs and patched runs that were timed.
        answered: how many of these pairs the unpatched model answers right on both sides.
        seconds: time of the run itself; loading, summary and figures come on top.
    """

    pairs: int
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

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def count(experiment: Experiment, todos: Iterable[Todo] | None = None) -> Counts:
    """Count the work of what is to be run of some batches; of all without."""
    if todos is None:
        todos = (Todo.whole(experiment, batch) for batch in experiment.batches)
    todos = list(todos)
    donors = Work()
    if any(donor == "mean" for todo in todos for _, donor in todo.cells):  # which needs every pair of the file
        run = {index for todo in todos for index in todo.batch}
        others = (index for index in range(len(experiment.pairs)) if index not in run)
        donors = sum((_unpatched(experiment, index) for index in others), donors)
    counts = Counts(plain_runs=0, plain=Work(), unpatched=donors, patched=Work(), checks=Work(), records=0)
    return sum((_count(experiment, todo) for todo in todos), counts)


def predict(small: Timing, large: Timing, whole: Counts, batches: int) -> float:
    """Seconds that `whole` takes in so many batches, if two batches took what was measured; both may be the same."""
    seconds = 0.0
    for name, work in whole.sections.items():
        few, many = small.counts.sections[name], large.counts.sections[name]
        took_few, took_many = small.seconds[name], large.seconds[name]
        rate = (took_many - took_few) / (many - few) if many > few else 0.0
        if rate <= 0 or many * rate > took_many:  # no overhead to be seen
            rate = took_many / many if many else 0.0
        seconds += rate * work + batches * (took_many - rate * many)
    return seconds


def make_plan(experiment: Experiment) -> Plan:
    """Count a run, and time it on its first pair; on more of its first batch as long as that is quick.

    Raises:
        SpecError: it does not fit into the memory that was asked for.
    """
    require_memory(experiment)
    whole, model, spec = count(experiment), experiment.model, experiment.spec
    indices, size = experiment.batches[0], 1
    sample = _affordable(experiment, indices[:1])
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
        for question in ENGINES[spec.engine].shapes(model.hooked, experiment.layouts[index], spec.hooks)
        for shape in question.values()
    ]
    cached = sum(map(prod, shapes)) * model.hooked.cfg.dtype.itemsize
    footprints = [footprint_of_batch(experiment, each, whole.records) for each in experiment.batches]
    sweeps = [_largest_sweep(experiment, each) for each in experiment.batches]
    return Plan(
        pairs=len(experiment.asked),
        cells=len(experiment.cells(indices)),
        counts=whole,
        weights=bytes_of_weights(model),
        peak_memory=max(found.peak(patches) for found, patches in zip(footprints, sweeps, strict=True)),
        memory_bound=footprints[0].bound,
        storage=cached + ROW_BYTES * whole.records,
        calibrated_on=size,
        timed=large.counts.records,
        answered=answered,
        seconds=predict(small, large, whole, len(experiment.batches)) + max(0.0, first.total - small.total),
    )


def patches_of(cells: Sequence[Cell], sites: Sequence[str]) -> list[tuple[str, list[Patch]]]:
    """Hook point and patches of each sweep in which the fast engine runs some cells: relays step by step."""
    sweeps: dict[tuple[str, str, int], list[tuple[str, Patch]]] = {}
    for cell in cells:
        if cell.thoughts is not None:
            continue
        chain, step = (cell.experiment, cell.step) if cell.source == "step before" else ("", -1)
        found, run = sweeps.setdefault((cell.hook, chain, step), []), (cell.experiment, patch_of(cell, sites))
        if found[-1:] != [run]:  # cells side by side that write the same are one run
            found.append(run)
    return [(hook, [patch for _, patch in runs]) for (hook, *_), runs in sweeps.items()]


def _unpatched(experiment: Experiment, index: int) -> Work:
    """Recording both questions of a pair."""
    model, layouts = experiment.model, experiment.layouts[index]
    if experiment.spec.engine == "fast":
        return base_work(engine.empty_base(model.hooked, model.head, collate(layouts, model.device)))
    return sum((plain_work(model.hooked, collate([layout])) for layout in layouts), Work())


def _count(experiment: Experiment, todo: Todo) -> Counts:
    spec, model, indices = experiment.spec, experiment.model, todo.batch
    patched = plain = checks = Work()
    unpatched = sum((_unpatched(experiment, index) for index in indices), Work())
    directions = {direction for direction, _ in todo.cells}
    for direction in directions:
        layouts = [experiment.layouts[index][recipient(direction)] for index in indices]
        batch = collate(layouts, model.device)
        once = plain_work(model.hooked, batch)
        donors = {donor: cells for (each, donor), cells in todo.cells.items() if each == direction}
        again = [each for cells in donors.values() for each in run_again(spec, cells)]  # with expected answers
        varied = sum((_varied(experiment, indices, direction, cells) for cells in donors.values()), Work())
        runs = once * (1 + sum(map(len, (*donors.values(), *again)))) + varied
        plain += runs
        if spec.engine == "reference":
            patched += runs
            continue
        base = engine.empty_base(model.hooked, model.head, batch)
        patched += varied + base_work(base) * len(again)
        for cells in (*(cells for donor, cells in donors.items() if donor != "self"), *again):
            patched += sum((sweep_work(base, each, hook) for hook, each in patches_of(cells, batch.sites)), Work())
        if checked := min(spec.checks, _asked_about(experiment, donors)):
            checks += once * checked + plain_work(model.hooked, collate(layouts[:1])) * FLOOR_RUNS
    return Counts(
        plain_runs=todo.work + len(indices) * (1 + len(directions)),
        plain=plain,
        unpatched=unpatched,
        patched=patched,
        checks=checks,
        records=todo.work,
    )


def _varied(experiment: Experiment, indices: Sequence[int], direction: str, cells: Sequence[Cell]) -> Work:
    """Unpatched runs with other numbers of thoughts."""
    model, side, work = experiment.model, recipient(direction), Work()
    for number in (cell.thoughts for cell in cells):
        if number is not None:
            layouts = [
                with_thoughts(model, experiment.spec, experiment.pairs[index], experiment.layouts[index], number)[side]
                for index in indices
            ]
            work += plain_work(model.hooked, collate(layouts, model.device))
    return work


def _asked_about(experiment: Experiment, donors: Mapping[str, Sequence[Cell]]) -> int:
    """Cells with the donor that their experiment asks about, of which some are checked."""
    return sum(
        cell.thoughts is None and donor == experiment.donors(cell.experiment)[0]
        for donor, cells in donors.items()
        for cell in cells
    )


def _affordable(experiment: Experiment, indices: Sequence[int]) -> Todo:
    """All of some pairs, if that can be timed in a few seconds; otherwise as many layers as can, spread evenly, in one
    direction and with the donor that is checked."""
    whole, spec = Todo.whole(experiment, indices), experiment.spec
    work, layers = count(experiment, [whole]), spec.select_layers(experiment.model.n_layers)
    runs = UnpatchedRuns(experiment.model, experiment.layouts, spec.engine, None, spec.hooks)
    started = time.perf_counter()
    for index in indices:
        runs.get(index)
    seconds = (time.perf_counter() - started) * work.patched.flops / work.unpatched.flops
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
        runs = UnpatchedRuns(experiment.model, experiment.layouts, spec.engine, kept, spec.hooks)
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
    return max((len(patches) for _, patches in patches_of(experiment.cells(indices), sites)), default=0)
