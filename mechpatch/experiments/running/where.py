"""Where the batches of an experiment are run: in this process, or wherever a function of the same signature runs them.

A batch depends on pairs and spec alone, so its parts may come in any order and from anywhere. Whoever asked for them
holds the lock of the run directory and is the only one that writes to it.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner, Part, Tick, Todo
from mechpatch.patching.settings import settings


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
        model, spec, groups = experiment.model, experiment.spec, experiment.groups
        runs = UnpatchedRuns(model, experiment.layouts, spec.engine, self.cache, spec.hooks, groups)
        runner = BatchRunner.prepare(experiment, runs, tick)
        machine = settings(model.device, experiment.memory)
        for number, todo in enumerate(todos):
            for part in runner.run(todo):
                yield Ran(number, part, runner.watch.lap(), machine)
