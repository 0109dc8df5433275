"""How much a run computes, counted exactly before anything is run: unpatched and patched runs, checks and records."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mechpatch.catalogue import PAIRED
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.layouts import with_thoughts
from mechpatch.experiments.running.batches import Todo
from mechpatch.experiments.running.numerics import FLOOR_RUNS
from mechpatch.experiments.running.patched import Runs, runs_of, together
from mechpatch.experiments.running.third import run_again
from mechpatch.experiments.spec import recipient
from mechpatch.kinds import Cell
from mechpatch.patching import collate, engine
from mechpatch.patching.engine.work import Work, base_work, plain_work, said_work, sweep_work


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
    def flops(self) -> int:
        """Operations of the chosen engine and its checks."""
        return self.unpatched.flops + self.patched.flops + self.checks.flops

    def sections(self, rows: float = 0.0) -> dict[str, float]:
        """What the time of each section is proportional to.

        Args:
            rows: how many rows of a product take as long as its weights take to be read.
        """
        works = {"unpatched": self.unpatched, "patched": self.patched, "checks": self.checks}
        return {name: work.effort(rows) for name, work in works.items()} | {"records": float(self.records)}


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


def sweeps_of(donor: str, cells: Sequence[Cell], sites: Sequence[str]) -> list[tuple[str, Runs]]:
    """Hook point and runs of each sweep in which some cells are run."""
    return [(hook, runs_of(those, sites)) for (hook, _), those in together(donor, cells).items()]


def _unpatched(experiment: Experiment, index: int) -> Work:
    """Recording both questions of a pair."""
    model, layouts = experiment.model, experiment.layouts[index]
    if experiment.spec.engine == "fast":
        return base_work(engine.empty_base(model.hooked, model.head, collate(layouts, model.device)))
    return sum((plain_work(model.hooked, collate([layout])) for layout in layouts), Work())


def _count(experiment: Experiment, todo: Todo) -> Counts:
    spec, model, indices = experiment.spec, experiment.model, todo.batch
    patched = plain = checks = Work()
    say = spec.say or 0
    unpatched = sum((_unpatched(experiment, index) for index in indices), Work())
    directions = {direction for direction, _ in todo.cells}
    for direction in directions:
        layouts = [experiment.layouts[index][recipient(direction)] for index in indices]
        batch = collate(layouts, model.device)
        once = plain_work(model.hooked, batch)
        donors = {donor: cells for (each, donor), cells in todo.cells.items() if each == direction}
        again = [each for cells in donors.values() for each in run_again(spec, cells)]  # with expected answers
        varied = sum((_varied(experiment, indices, direction, cells) for cells in donors.values()), Work())
        said = once * (say * sum(len(_written(cells)) for cells in donors.values()))  # a run for each token
        runs = once * (1 + sum(map(len, (*donors.values(), *again)))) + varied + said
        plain += runs
        if spec.engine == "reference":
            patched += runs
            continue
        base = engine.empty_base(model.hooked, model.head, batch)
        patched += varied + base_work(base) * len(again) + said_work(base, range(len(indices)), say)
        sweeps = [(donor, cells, say) for donor, cells in donors.items() if donor != "self"]
        for donor, cells, count in (*sweeps, *((PAIRED, cells, 0) for cells in again)):
            for hook, runs in sweeps_of(donor, cells, batch.sites):
                patched += sweep_work(base, runs.patches, hook, count, runs.handed)
        if checked := min(spec.checks, _asked_about(experiment, donors)):
            checks += once * checked + plain_work(model.hooked, collate(layouts[:1])) * FLOOR_RUNS
    return Counts(
        plain_runs=todo.work * (1 + say) + len(indices) * (1 + len(directions)),
        plain=plain,
        unpatched=unpatched,
        patched=patched,
        checks=checks,
        records=todo.work,
    )


def _written(cells: Sequence[Cell]) -> list[Cell]:
    """Cells in which something is written."""
    return [cell for cell in cells if cell.thoughts is None]


def _varied(experiment: Experiment, indices: Sequence[int], direction: str, cells: Sequence[Cell]) -> Work:
    """Unpatched runs with other numbers of thoughts, and what they say."""
    model, spec, side, work = experiment.model, experiment.spec, recipient(direction), Work()
    for number in (cell.thoughts for cell in cells):
        if number is not None:
            layouts = [
                with_thoughts(model, spec, experiment.pairs[index], experiment.layouts[index], number)[side]
                for index in indices
            ]
            batch = collate(layouts, model.device)
            once = plain_work(model.hooked, batch)
            work += once
            if spec.say and spec.engine == "reference":
                work += once * spec.say
            elif spec.say:
                base = engine.empty_base(model.hooked, model.head, batch)
                work += base_work(base) + said_work(base, range(len(indices)), spec.say)
    return work


def _asked_about(experiment: Experiment, donors: Mapping[str, Sequence[Cell]]) -> int:
    """Cells with the donor that their experiment asks about, of which some are checked."""
    return sum(
        cell.thoughts is None and donor == experiment.donors(cell.experiment)[0]
        for donor, cells in donors.items()
        for cell in cells
    )
