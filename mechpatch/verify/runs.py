"""Laws 9 and 10, on whole runs in a temporary directory, and the relations that are reported and not asserted."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from mechpatch.catalogue import DIRECTIONS
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.run import run_experiment
from mechpatch.experiments.spec import Spec, parse_experiments
from mechpatch.patching import engine
from mechpatch.stats.checks import checks
from mechpatch.storage.results import EFFECTS, open_run
from mechpatch.verify.context import SIDES, Context
from mechpatch.verify.law import Measured, Worst

EXPERIMENTS = ("layer", "position", "chained")  # as a person types them


class Stopped(Exception):
    """Ends a run between two pairs, as Ctrl-C would."""


def baselines(context: Context) -> Measured:
    """Law 9: the unpatched run is the same for either engine, every experiment and both directions."""
    worst = Worst()
    for side in (0, 1):
        model, expected = context.model, context.runs[side]
        base = engine.base_run(model.hooked, model.head, context.batches[side])
        worst.show(base.outcome.logits, expected.logits, f"fast and plain, {SIDES[side]}")
        for index in range(len(context.pairs)):
            alone = context.alone(index, side).outcome
            width = alone.logits.shape[2]
            worst.show(alone.logits, expected.logits[[index], :, :width], f"alone, {context.name(index, side)}")
    tables = [_records(context, experiment, direction) for experiment in EXPERIMENTS for direction in DIRECTIONS]
    for check in checks(pa.concat_tables(tables), True, context.tolerance):
        if check.name == "baselines_agree" and check.value is not None and not check.value <= worst.deviation:
            worst.deviation, worst.where = check.value, "records of layer, position and chained runs"
    # A log probability of a whole answer sums over its tokens.
    tokens = max(int((batch.targets >= 0).sum(-1).max()) for batch in context.batches)
    return worst.measured(2 * tokens * context.tolerance)


def resumed(context: Context) -> Measured:
    """Law 10: a run that is stopped after its first pair and goes on ends with the bytes of one that was not."""
    spec = _spec(context, "position", "denoise", batch_size=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole = _run(context, spec, folder / "whole", stop=False)
        _run(context, spec, folder / "parts", stop=True)
        parts = _run(context, spec, folder / "parts", stop=False)
    different = sum(a != b for a, b in zip(whole, parts, strict=False)) + abs(len(whole) - len(parts))
    return Measured(float(different), 0.0, f"{len(whole)} bytes of {EFFECTS}")


def relations(context: Context) -> list[dict[str, Any]]:
    """What is worth knowing and need not hold: do single thoughts add up, do experiments rank the layers alike."""
    table = pa.concat_tables([_records(context, experiment, "denoise") for experiment in EXPERIMENTS])
    found = checks(table, True, context.tolerance)
    return [
        {"name": check.name, "value": check.value, "explanation": check.explanation}
        for check in found
        if check.kind == "reported"
    ]


def _spec(context: Context, experiment: str, direction: str, **changes: Any) -> Spec:
    """The context's spec for one experiment."""
    return replace(
        context.spec,
        experiments=parse_experiments([experiment]),
        directions=(direction,),
        layers=context.layers,
        nulls=(),
        checks=0,
        **changes,
    )


def _records(context: Context, experiment: str, direction: str) -> pa.Table:
    """All rows of one experiment on the two pairs; run once."""
    if (key := (experiment, direction)) not in context.tables:
        with tempfile.TemporaryDirectory() as name, open_run(Path(name) / "run", {}) as directory:
            prepared = Experiment.prepare(context.model, _spec(context, experiment, direction), context.pairs)
            context.tables[key] = run_experiment(prepared, directory, None)
    return context.tables[key]


def _run(context: Context, spec: Spec, folder: Path, stop: bool) -> bytes:
    """The bytes of the records; of a run that is stopped there are none."""

    def pair_done(row: dict[str, object]) -> None:
        if stop:
            raise Stopped

    prepared = Experiment.prepare(context.model, spec, context.pairs)
    try:
        with open_run(folder, {}) as directory:
            run_experiment(prepared, directory, None, pair_done=pair_done)
    except Stopped:
        return b""
    return (folder / EFFECTS).read_bytes()
