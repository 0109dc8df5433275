"""A whole run, from model, pairs and spec to a directory with records, summary, log and figures."""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mechpatch.experiments.cost import Plan, make_plan
from mechpatch.experiments.described import describe_pairs, describe_run
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.fastest import AUTO, library_for
from mechpatch.experiments.growth import beyond, join, spec_from
from mechpatch.experiments.pair_file import PairFile as PairFile
from mechpatch.experiments.pair_file import read_pairs as read_pairs
from mechpatch.experiments.running.batches import Tick
from mechpatch.experiments.running.footprint import fitted, require_memory
from mechpatch.experiments.running.intact import require_intact
from mechpatch.experiments.running.notes import notes
from mechpatch.experiments.running.numerics import record_tolerance
from mechpatch.experiments.running.run import Pace, run_experiment
from mechpatch.experiments.running.screened import screened
from mechpatch.experiments.running.where import RunBatches
from mechpatch.experiments.screening import still_known
from mechpatch.experiments.spec import Spec
from mechpatch.inspection.inspect import inspect_pairs
from mechpatch.kinds import tell
from mechpatch.models import ThoughtModel
from mechpatch.names import PRODUCT, TORCH
from mechpatch.own import NOTHING, Own
from mechpatch.patching.engine.product import use
from mechpatch.patching.memory import Memory, peak_memory
from mechpatch.reprs import short_repr
from mechpatch.stats import RunFacts, RunSummary, summarise, write_summary
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.summary_values import Prediction, RoundingFacts
from mechpatch.stats.typical_pairs import typical_pairs
from mechpatch.stats.values_json import as_json
from mechpatch.storage.atomic import writing
from mechpatch.storage.choices import Choice
from mechpatch.storage.keys import digest
from mechpatch.storage.memory import MemoryRun
from mechpatch.storage.results import PAIRS, PLAN, RunDirectory, log_to, open_run
from mechpatch.storage.sealed import read_sealed, write_sealed
from mechpatch.tracking import Observer, headline, null_observer
from mechpatch.views.figures.files import plot_run
from mechpatch.views.report import write_report

log = logging.getLogger(__name__)

REPORT = "report.html"
Progress = Callable[[str, int], AbstractContextManager[Tick]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a run left behind."""

    folder: Path
    records: pa.Table
    summary: RunSummary
    figures: list[Path]
    report: Path | None

    __repr__ = short_repr

    def as_json(self) -> dict[str, Any]:
        """What a script needs of a run: what was found, which checks failed, and where everything is."""
        return {
            "run": str(self.folder),
            "report": None if self.report is None else str(self.report),
            "figures": [str(path) for path in self.figures],
            "counts": as_json(self.summary.counts),
            "top": as_json(self.summary.top),
            "checks_failed": [as_json(check) for check in self.summary.failed()],
            "notes": list(self.summary.run.notes),
            "seconds": self.summary.run.seconds,
        }


@dataclass(frozen=True, slots=True)
class Kept:
    """A run in memory: what a `FinishedRun` reads from a directory."""

    spec: dict[str, Any]
    pairs: dict[str, Any]
    records: pa.Table
    summary: RunSummary
    choices: tuple[Choice, ...] = ()
    folder: None = None

    __repr__ = short_repr


def run_to_directory(
    model: ThoughtModel,
    spec: Spec,
    pairs: PairFile,
    out: Path,
    *,
    cache: Path | None,
    command: Sequence[str] = (),
    include_incorrect: bool = False,
    observer: Observer | None = None,
    progress: Progress | None = None,
    inspected: int = 0,
    report: bool = False,
    own: Own = NOTHING,
    drawn: bool = True,
    mixed: bool = False,
    product: str = AUTO,
    say: Callable[[str], None] = lambda text: None,
    run_batches: RunBatches | None = None,
) -> Finished:
    """Run `spec` over `pairs` into `out`, or let the run that is there grow by them, and draw the figures.

    Args:
        cache: folder of unpatched activations, None for none.
        command: how the run was asked for, for the record.
        include_incorrect: let pairs that the unpatched model gets wrong into means and figures.
        progress: opens a progress bar with a title and a total.
        inspected: how many pairs to look inside, see `typical_pairs`.
        report: write the page, too; one that is there is written anew.
        own: metrics, donors and kinds of the user's own that `spec` names.
        drawn: write figures.
        mixed: go on with a run that was begun under other settings of machine and torch, see `experiments.pinned`.
        product: the library of the engine's matrix products, see `library_for`; a run that is there keeps its own.
        say: told what was there, before anything is run.
        run_batches: runs the batches; by default in this process.
    """
    observer = observer or null_observer()
    experiment = _ready(model, spec, pairs, own)
    started = time.monotonic()
    use(library_for(model, spec.engine, product, cache))
    described = describe_run(model, spec, pairs, command, own)
    with open_run(out, described, partial(join, mixed=mixed)) as directory, log_to(out):
        held, memory = directory.spec, Memory.recorded(directory.spec["machine"])
        use(directory.spec["machine"].get(PRODUCT, TORCH))
        experiment = fitted(experiment.grown(spec_from(held["spec"]), {*held["pairs"]["run"]}, memory), mixed)
        require_memory(experiment)
        spec = experiment.spec
        log.info("started: %d pairs, model %s, parity %.1e", len(experiment.asked), model.fingerprint, model.parity)
        write_sealed(out / PAIRS, describe_pairs(model, pairs, experiment))

        def said(text: str) -> None:
            log.info(text)
            say(f"{out}: {text}")

        if more := beyond(directory.spec, described):
            said(more)
        if known := still_known(experiment, cache):
            said(known)
        experiment = screened(experiment, directory, cache, said)
        records, pace = _run(experiment, directory, cache, progress, observer.pair_done, said, run_batches)
        expected = _expected(out, model, spec, pairs, pace)
        summary = _summary(experiment, records, pace, pairs, include_incorrect, started, expected)
        write_summary(directory.folder, summary)
        figures = plot_run(out, include_incorrect=include_incorrect) if drawn else []
        if inspected:
            leading = next(iter(summary.leading()), None)
            inspect_pairs(model, spec, experiment.pairs, typical_pairs(records, leading, inspected), out)
        page = write_report([out], out / REPORT) if report or (out / REPORT).exists() else None
        log.info("finished in %.1f s", time.monotonic() - started)
    observer.summary(headline(summary), [path for path in figures if path.suffix == ".png"], page)
    return Finished(folder=out, records=records, summary=summary, figures=figures, report=page)


def run_in_memory(
    model: ThoughtModel,
    spec: Spec,
    pairs: PairFile,
    *,
    cache: Path | None = None,
    include_incorrect: bool = False,
    own: Own = NOTHING,
    progress: Progress | None = None,
    product: str = AUTO,
    run_batches: RunBatches | None = None,
) -> Kept:
    """As `run_to_directory`, without a directory: nothing is written but the cache, if there is one."""
    experiment = _ready(model, spec, pairs, own)
    started = time.monotonic()
    use(library_for(model, spec.engine, product, cache))
    directory = MemoryRun(describe_run(model, spec, pairs, (), own))
    experiment = screened(experiment, directory, cache, log.info)
    records, pace = _run(experiment, directory, cache, progress, lambda row: None, log.info, run_batches)
    summary = _summary(experiment, records, pace, pairs, include_incorrect, started, None)
    return Kept(directory.spec, describe_pairs(model, pairs, experiment), records, summary, directory.choices())


def write_run(run: Kept | FinishedRun, out: Path) -> None:
    """Write a run into a new directory. Raises `SpecError` or `StorageError` if it holds something else."""
    with open_run(out, run.spec) as directory:
        write_sealed(out / PAIRS, run.pairs)
        if run.choices:
            directory.keep_choices(run.choices)
        directory.finish(run.records)
        write_summary(directory.folder, run.summary)


def _ready(model: ThoughtModel, spec: Spec, pairs: PairFile, own: Own) -> Experiment:
    """What is run, once all that could be refused beforehand has been asked."""
    experiment = Experiment.prepare(model, spec, pairs.kept, pairs.asked, own)
    require_memory(experiment)
    require_intact(model)
    tell(own.words())
    return experiment


def _run(
    experiment: Experiment,
    directory: RunDirectory | MemoryRun,
    cache: Path | None,
    progress: Progress | None,
    pair_done: Callable[[dict[str, object]], None],
    said: Callable[[str], None],
    run_batches: RunBatches | None,
) -> tuple[pa.Table, Pace]:
    """All rows of an experiment, and how long they took."""
    total = sum(experiment.work(batch) for batch in experiment.batches)
    paces: list[Pace] = []
    with progress("patched runs", total) if progress else nullcontext(lambda cells: None) as tick:
        records = run_experiment(experiment, directory, cache, tick, pair_done, paces.append, said, run_batches)
    (pace,) = paces
    return records, pace


def _summary(
    experiment: Experiment,
    records: pa.Table,
    pace: Pace,
    pairs: PairFile,
    include_incorrect: bool,
    started: float,
    expected: Prediction | None,
) -> RunSummary:
    """What the records say, and how the run went."""
    spec, model = experiment.spec, experiment.model
    tolerance = record_tolerance(pace.rounding, experiment.layouts)
    summary = summarise(records, spec.seed, include_incorrect, tolerance, experiment.known.choices)
    asked = [experiment.pairs[index] for index in experiment.asked]
    run = RunFacts(
        seconds=round(time.monotonic() - started, 3),
        run_seconds=round(pace.seconds, 3),
        sections={name: round(seconds, 3) for name, seconds in pace.sections.items()},
        expected=expected,
        peak_memory_bytes=peak_memory(model.device),
        pairs_total=pairs.total,
        pairs_dropped=len(pairs.screening.dropped),
        rounding=pace.rounding and RoundingFacts(**pace.rounding.as_json()),
        notes=tuple(notes(spec, records, pace.rounding, asked, model.doubt, pace.mixture)),
    )
    return summary.of_run(run)


def plan_run(model: ThoughtModel, spec: Spec, pairs: PairFile, out: Path | None = None) -> Plan:
    """What `run_to_directory` will take; kept in the run directory `out`, if there is one, for its run to be held to.

    Raises:
        StorageError: `out` is neither empty nor a run, or cannot be written.
    """
    plan = make_plan(Experiment.prepare(model, spec, pairs.kept, pairs.asked))
    if out is not None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
        write_sealed(out / PLAN, {"of": _identity(model, spec, pairs), **plan.as_json()})
    return plan


def _expected(out: Path, model: ThoughtModel, spec: Spec, pairs: PairFile, pace: Pace) -> Prediction | None:
    """How long the run was expected to take, and from what: its plan, or its first batch."""
    if pace.whole and (out / PLAN).is_file():
        plan = read_sealed(out / PLAN, "delete it, and plan again if you wish")
        if plan["of"] == _identity(model, spec, pairs):
            return Prediction(of="its plan", seconds=plan["seconds"])
    return None if pace.expected is None else Prediction(of="its first batch", seconds=round(pace.expected, 3))


def _identity(model: ThoughtModel, spec: Spec, pairs: PairFile) -> str:
    """Fingerprint of all that decides how much is run."""
    described = describe_run(model, spec, pairs, ())
    return digest({name: described[name] for name in ("spec", "model", "pairs")})
