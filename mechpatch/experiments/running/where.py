"""Where the batches of an experiment are run: in this process, or wherever a function of the same signature runs them.

A batch depends on pairs and spec alone, so its parts may come in any order and from anywhere. Whoever asked for them
holds the lock of the run directory and is the only one that writes to it.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner, Part, Tick, Todo
from mechpatch.patching.settings import settings
from mechpatch.reprs import short_repr


class Ran(NamedTuple):
    """A part of a batch that was run.

    Attributes:
        number: of its batch, among those that were given to be run.
        seconds: what it took, by section, see `Stopwatch`; of the first part of a batch, its unpatched runs too.
        machine: the settings under which it was computed, see `patching.settings`.
    """

    number: int
    part: Part
    seconds: Mapping[str, float]
    machine: Mapping[str, Any]


@runtime_checkable  # beartype needs it
class RunBatches(Protocol):
    """Runs batches somewhere.

    Attributes:
        at_once: batches that are run at the same time, for predictions.
    """

    @property
    def at_once(self) -> int: ...

    def __call__(self, experiment: Experiment, todos: Sequence[Todo], tick: Tick) -> Generator[Ran, None, None]:
        """Every part of every batch, once each, in any order; whoever asked closes it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A process that can run the batches of an experiment: what they share is made once, and kept from one to the next.

    Attributes:
        machine: the settings of this process, see `patching.settings`.
    """

    runner: BatchRunner
    machine: Mapping[str, Any]

    __repr__ = short_repr

    @classmethod
    def of(cls, experiment: Experiment, cache: Path | None, tick: Tick) -> "Ready":
        """Make what all batches share; `cache` is the folder of unpatched activations, None for none."""
        model, spec, groups = experiment.model, experiment.spec, experiment.groups
        runs = UnpatchedRuns(model, experiment.layouts, spec.engine, cache, spec.points, groups)
        return cls(BatchRunner.prepare(experiment, runs, tick), settings(model.device, experiment.memory))

    def run(self, number: int, todo: Todo) -> Iterator[Ran]:
        """The parts of a batch that has this number."""
        for part in self.runner.run(todo):
            yield Ran(number, part, self.runner.watch.lap(), self.machine)


@dataclass(frozen=True, slots=True)
class Here:
    """Runs batches in this process, one after the other.

    Attributes:
        cache: folder of unpatched activations; None for none.
    """

    cache: Path | None
    at_once: int = 1

    def __call__(self, experiment: Experiment, todos: Sequence[Todo], tick: Tick) -> Generator[Ran, None, None]:
        """The parts of the batches, in their order."""
        ready = Ready.of(experiment, self.cache, tick)
        for number, todo in enumerate(todos):
            yield from ready.run(number, todo)
