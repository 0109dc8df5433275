"""Running an experiment: batches in, one shard of records per pair out, then the table of them all.

pairs -> layouts -> batches -> unpatched runs (cache) -> patched runs -> metrics -> shards -> effects.parquet
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa

from mechpatch.experiments.activations import UnpatchedRuns
from mechpatch.experiments.batches import BatchRunner, Tick
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.spec import PAIRED
from mechpatch.patching.memory import peak_memory
from mechpatch.storage.results import RunDirectory, read_effects

log = logging.getLogger(__name__)


def run_experiment(
    experiment: Experiment,
    directory: RunDirectory,
    cache: Path | None,
    tick: Tick = lambda cells: None,
    pair_done: Callable[[dict[str, object]], None] = lambda row: None,
) -> pa.Table:
    """Run what is missing in `directory`, write `effects.parquet`, and return it.

    Args:
        cache: folder of unpatched activations; None for none.
        tick: progress.
        pair_done: told of each finished pair.

    Raises:
        NumericsError: a forward pass gave NaN or infinity.
        StorageError: a shard cannot be written.
    """
    runs = UnpatchedRuns(experiment.model, experiment.layouts, experiment.spec.engine, cache)
    runner = BatchRunner.prepare(experiment, runs, tick)
    done = directory.done()
    for indices in experiment.batches:
        if done.issuperset(indices):
            tick(experiment.work(indices))
            continue
        started = time.monotonic()
        tables = runner.run(indices)
        seconds = (time.monotonic() - started) / len(indices)
        for index, table in zip(indices, tables, strict=True):
            if index not in done:
                directory.write_shard(index, table)
            row = _headline(experiment.pairs[index].pair_id, table) | {"seconds": round(seconds, 3)}
            log.info("pair %s", " ".join(f"{key}={value}" for key, value in row.items()))
            pair_done(row)
    path = directory.finish(range(len(experiment.pairs)))
    log.info("wrote %s; peak memory %.0f MB", path.name, peak_memory() / 1e6)
    return read_effects(directory.folder)


def _headline(pair_id: str, table: pa.Table) -> dict[str, object]:
    """What the log says of a pair: its largest recovery, where, and whether the model answers both sides."""
    rows = [
        row
        for row in table.select(["direction", "donor", "layer", "site", "recovery", "structural"]).to_pylist()
        if (row["direction"], row["donor"]) == (table["direction"][0].as_py(), PAIRED)
        and row["recovery"] is not None
        and not row["structural"]
    ]
    best = max(rows, key=lambda row: row["recovery"], default=None)
    correct = bool(table["both_correct"][0].as_py()) if len(table) else None
    found = (
        {} if best is None else {"layer": best["layer"], "site": best["site"], "recovery": round(best["recovery"], 3)}
    )
    return {"pair_id": pair_id, "both_correct": correct, **found}
