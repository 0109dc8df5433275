"""Running an experiment: batches in, a shard of records for each direction and donor out, then the table of them all.

pairs -> layouts -> batches -> unpatched runs (cache) -> patched runs -> metrics -> shards -> effects.parquet

Batches may be run anywhere and end in any order; what is kept of them is written here alone.
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from mechpatch.experiments.cost import Timing, foresee
from mechpatch.experiments.counted import count
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.batches import Tick
from mechpatch.experiments.running.found import (
    arrange,
    describe,
    describe_part,
    find,
    mixture_of,
    rounding_of,
    rows,
    superseded,
    with_candidates,
)
from mechpatch.experiments.running.headline import headline
from mechpatch.experiments.running.numerics import Rounding
from mechpatch.experiments.running.stopwatch import Stopwatch
from mechpatch.experiments.running.where import Here, RunBatches
from mechpatch.formats import amount
from mechpatch.patching.memory import peak_memory
from mechpatch.storage.memory import MemoryRun
from mechpatch.storage.results import RunDirectory

log = logging.getLogger(__name__)

SHORT = 30.0  # seconds: of a run that takes no longer nobody counts what is left


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the missing batches took.

    Attributes:
        seconds: from the first batch to `effects.parquet`.
        whole: nothing was there before.
        expected: what was expected after the first batch; None where it was the only one.
        sections: seconds by section, see `Stopwatch`; added up over all that ran at the same time.
        rounding: differences of the cells that were computed both ways; None if there were none.
        mixture: what is to be said of parts that were computed under other settings than the run was begun under.
    """

    seconds: float
    whole: bool
    expected: float | None
    sections: Mapping[str, float]
    rounding: Rounding | None
    mixture: tuple[str, ...] = ()


def run_experiment(
    experiment: Experiment,
    directory: RunDirectory | MemoryRun,
    cache: Path | None,
    tick: Tick = lambda cells: None,
    pair_done: Callable[[dict[str, object]], None] = lambda row: None,
    done_in: Callable[[Pace], None] = lambda pace: None,
    say: Callable[[str], None] = lambda text: None,
    run_batches: RunBatches | None = None,
) -> pa.Table:
    """Run what is missing in `directory`, make all rows its records, and return them.

    Args:
        cache: folder of unpatched activations; None for none.
        tick: progress.
        pair_done: told of each finished pair.
        done_in: told how long it took, at the end.
        say: told what was there, before anything is run.
        run_batches: runs what is missing; by default `Here`, with `cache`.

    Raises:
        NumericsError: a forward pass gave NaN or infinity.
        StorageError: a shard cannot be written.
    """
    started = time.monotonic()
    shards = directory.shards()
    found = [find(experiment, batch, shards) for batch in experiment.batches]
    missing = [held for held in found if held.missing.cells]
    if shards:
        say(describe(experiment, shards, found))
    run_batches = run_batches or Here(cache)
    tick(sum(experiment.work(held.batch) - held.missing.work for held in found))
    unbegun = all(held.missing.work == experiment.work(held.batch) for held in found)
    expected, watch = None, Stopwatch()
    left = [len(held.missing.cells) for held in missing]  # parts of each batch that are to come
    took = [Stopwatch() for _ in missing]
    with closing(run_batches(experiment, [held.missing for held in missing], tick)) as ran:
        for number, part, seconds, machine in ran if missing else ():
            held = missing[number]
            took[number].add(seconds)
            with took[number].measure("records"):
                measured = part.rounding and part.rounding.as_json()
                shards.append(directory.write_shard(describe_part(held.batch, part), part.table, measured, {**machine}))
            left[number] -= 1
            if left[number]:
                continue
            watch.add(took[number].seconds)
            table = rows(directory, find(experiment, held.batch, shards))
            each = round(sum(took[number].seconds.values()) / len(held.batch), 3)
            for index in held.batch:
                row = headline(table.filter(pa.array(table["pair_index"].to_numpy() == index))) | {"seconds": each}
                log.info("pair %s", " ".join(f"{key}={value}" for key, value in row.items()))
                pair_done(row)
            if expected is None and len(missing) > 1 and each * len(held.batch) * len(missing) > SHORT:
                first = Timing(count(experiment, [held.missing]), dict(took[number].seconds))
                todos = [held.missing for held in missing]
                expected = foresee(experiment, first, todos) / run_batches.at_once
                log.info("expected to take %.1f s in all", expected)
    assert not any(left), f"parts of {sum(map(bool, left))} batches were not given"
    whole = [find(experiment, batch, shards) for batch in experiment.batches]
    rounding = rounding_of(whole)
    if rounding is not None:
        log.info("%s", rounding)
    table = arrange(pa.concat_tables([rows(directory, held) for held in whole]), experiment)
    directory.finish(with_candidates(table, experiment.known.choices))
    for shard in superseded(experiment, shards):
        directory.remove_shard(shard)
    log.info("all records are there; peak memory %sB", amount(peak_memory(experiment.model.device)))
    mixture = mixture_of(directory.spec.get("machine", {}), whole)
    done_in(Pace(time.monotonic() - started, unbegun, expected, watch.seconds, rounding, mixture))
    return directory.records()
