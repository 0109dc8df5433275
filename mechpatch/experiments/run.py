"""Running an experiment: batches in, one shard of records per pair out, then the table of them all.

pairs -> layouts -> batches -> unpatched runs (cache) -> patched runs -> metrics -> shards -> effects.parquet
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mechpatch.experiments.activations import UnpatchedRuns
from mechpatch.experiments.batches import BatchRunner, Tick
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.headline import headline
from mechpatch.experiments.numerics import Rounding
from mechpatch.experiments.plan import Timing, count, predict
from mechpatch.patching.memory import peak_memory
from mechpatch.storage.results import RunDirectory, read_effects

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the missing batches took.

    Attributes:
        seconds: from the first batch to `effects.parquet`.
        whole: nothing was there before.
        expected: what was expected after the first batch; None where it was the only one.
        sections: seconds by section, see `Stopwatch`.
        rounding: of the cells that were computed both ways; None if there were none.
    """

    seconds: float
    whole: bool
    expected: float | None
    sections: Mapping[str, float]
    rounding: Rounding | None


def run_experiment(
    experiment: Experiment,
    directory: RunDirectory,
    cache: Path | None,
    tick: Tick = lambda cells: None,
    pair_done: Callable[[dict[str, object]], None] = lambda row: None,
    done_in: Callable[[Pace], None] = lambda pace: None,
) -> pa.Table:
    """Run what is missing in `directory`, write `effects.parquet`, and return it.

    Args:
        cache: folder of unpatched activations; None for none.
        tick: progress.
        pair_done: told of each finished pair.
        done_in: told how long it took, at the end.

    Raises:
        NumericsError: a forward pass gave NaN or infinity.
        StorageError: a shard cannot be written.
    """
    started = time.monotonic()
    runs = UnpatchedRuns(experiment.model, experiment.layouts, experiment.spec.engine, cache)
    runner = BatchRunner.prepare(experiment, runs, tick)
    done = directory.done()
    missing = [indices for indices in experiment.batches if not done.issuperset(indices)]
    tick(sum(experiment.work(indices) for indices in experiment.batches if indices not in missing))
    expected = None
    for indices in missing:
        begun = time.monotonic()
        tables = runner.run(indices)
        seconds = (time.monotonic() - begun) / len(indices)
        for index, table in zip(indices, tables, strict=True):
            if index not in done:
                with runner.watch.measure("records"):
                    directory.write_shard(index, table)
            row = headline(table) | {"seconds": round(seconds, 3)}
            log.info("pair %s", " ".join(f"{key}={value}" for key, value in row.items()))
            pair_done(row)
        if len(missing) > 1 and expected is None:
            first = Timing(count(experiment, [indices]), dict(runner.watch.seconds))
            expected = predict(first, first, count(experiment, missing), len(missing))
            log.info("expected to take %.1f s in all", expected)
    if runner.check.found is not None:
        log.info("%s", runner.check.found)
    path = directory.finish(range(len(experiment.pairs)))
    log.info("wrote %s; peak memory %.0f MB", path.name, peak_memory(experiment.model.device) / 1e6)
    whole = len(missing) == len(experiment.batches)
    done_in(Pace(time.monotonic() - started, whole, expected, runner.watch.seconds, runner.check.found))
    return read_effects(directory.folder)
