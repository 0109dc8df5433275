"""A whole run, from model, pairs and spec to a directory with records, summary, log and figures."""

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from mechpatch.data import pair_path
from mechpatch.errors import SpecError
from mechpatch.experiments.batches import Tick
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.footprint import require_memory
from mechpatch.experiments.growth import beyond, grown, join
from mechpatch.experiments.inspection import inspect_pairs
from mechpatch.experiments.layouts import run_predicates
from mechpatch.experiments.notes import notes
from mechpatch.experiments.numerics import record_tolerance
from mechpatch.experiments.plan import Plan, make_plan
from mechpatch.experiments.run import Pace, run_experiment
from mechpatch.experiments.spec import Spec
from mechpatch.experiments.strongest import largest_effects
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair, Screening, describe, load_pairs, screen, to_prepared
from mechpatch.patching.memory import memory_bound, peak_memory
from mechpatch.reprs import short_repr
from mechpatch.stats import leading, summarise
from mechpatch.storage.atomic import writing
from mechpatch.storage.keys import digest, file_digest
from mechpatch.storage.results import PAIRS, PLAN, log_to, open_run
from mechpatch.storage.sealed import read_sealed, write_sealed
from mechpatch.thoughts.layout import encode
from mechpatch.tracking import Observer, null_observer
from mechpatch.views.figures import plot_run
from mechpatch.views.report import write_report

log = logging.getLogger(__name__)

LIBRARIES = ("mechpatch", "torch", "transformers", "transformer-lens", "peft")
REPORT = "report.html"
Progress = Callable[[str, int], AbstractContextManager[Tick]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a run left behind."""

    folder: Path
    records: pa.Table
    summary: dict[str, Any]
    figures: list[Path]
    report: Path | None

    __repr__ = short_repr

    def as_json(self) -> dict[str, Any]:
        """What a script needs of a run: what was found, which checks failed, and where everything is."""
        checks = self.summary["checks"]
        return {
            "run": str(self.folder),
            "report": None if self.report is None else str(self.report),
            "figures": [str(path) for path in self.figures],
            "counts": self.summary["counts"],
            "top": self.summary["top"],
            "checks_failed": [check for check in checks if check["holds"] is False],
            "notes": self.summary["run"]["notes"],
            "seconds": self.summary["run"]["seconds"],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFile:
    """A file of pairs, read and screened for one model and spec.

    Attributes:
        name: as it was asked for.
        limit, only: which of the kept pairs are asked for: the first so many, or those with these ids.
    """

    name: str
    path: Path
    total: int
    screening: Screening
    limit: int | None
    only: tuple[str, ...]

    __repr__ = short_repr

    @property
    def kept(self) -> list[Pair]:
        """The pairs that could be run, which donors and batches are taken from."""
        return list(self.screening.kept)

    @property
    def asked(self) -> list[int]:
        """Indices of the kept pairs that are asked for."""
        if self.only:
            names = [pair.pair_id for pair in self.kept]
            return sorted(names.index(name) for name in self.only)
        return list(range(len(self.kept)))[: self.limit]


def read_pairs(
    name: str,
    model: ThoughtModel,
    spec: Spec,
    *,
    limit: int | None = None,
    only: Sequence[str] = (),
    keep_same_answer: bool = False,
) -> PairFile:
    """Load and screen a file of pairs.

    Args:
        limit: run the first so many; None for all.
        only: run those with these ids instead.

    Raises:
        PairError: lists every fault of the file.
        SpecError: a pair that was asked for is not there, or was dropped.
    """
    if limit is not None and limit < 1:
        raise SpecError(f"--limit is {limit}, expected at least 1 pair")
    path = pair_path(name)
    pairs = load_pairs(path)
    screening = screen(pairs, run_predicates(model, spec, keep_same_answer))
    dropped = {each.pair.pair_id: each.reason for each in screening.dropped}
    kept = [pair.pair_id for pair in screening.kept]
    for wanted in only:
        if wanted in dropped:
            raise SpecError(f"--pair {wanted}: {path} has it, and it cannot be run: {dropped[wanted]}")
        if wanted not in kept:
            more = f" and {len(kept) - 5} more" if len(kept) > 5 else ""
            raise SpecError(f"--pair {wanted}: no such pair in {path}; it has {', '.join(kept[:5])}{more}")
    return PairFile(
        name=name, path=path, total=len(pairs), screening=screening, limit=limit, only=tuple(dict.fromkeys(only))
    )


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
    say: Callable[[str], None] = lambda text: None,
) -> Finished:
    """Run `spec` over `pairs` into `out`, or let the run that is there grow by them, and draw the figures.

    Args:
        cache: folder of unpatched activations, None for none.
        command: how the run was asked for, for the record.
        include_incorrect: let pairs that the unpatched model gets wrong into means and figures.
        progress: opens a progress bar with a title and a total.
        inspected: pairs to look inside, those with the largest effect.
        report: write the page, too; one that is there is written anew.
        say: told what was there, before anything is run.
    """
    observer = observer or null_observer()
    experiment = Experiment.prepare(model, spec, pairs.kept, pairs.asked)
    require_memory(experiment)
    started = time.monotonic()
    described = describe_run(model, spec, pairs, command)
    with open_run(out, described, join) as directory, log_to(out):
        experiment = grown(experiment, directory.spec)
        require_memory(experiment)
        spec = experiment.spec
        log.info("started: %d pairs, model %s, parity %.1e", len(experiment.asked), model.fingerprint, model.parity)
        write_sealed(out / PAIRS, describe_pairs(model, pairs, experiment))

        def said(text: str) -> None:
            log.info(text)
            say(f"{out}: {text}")

        if more := beyond(directory.spec, described):
            said(more)
        total = sum(experiment.work(batch) for batch in experiment.batches)
        paces: list[Pace] = []
        with progress("patched runs", total) if progress else nullcontext(lambda cells: None) as tick:
            records = run_experiment(experiment, directory, cache, tick, observer.pair_done, paces.append, said)
        (pace,) = paces
        tolerance = record_tolerance(pace.rounding, experiment.layouts)
        summary = summarise(records, spec.seed, include_incorrect, tolerance)
        summary["run"] = {
            "seconds": round(time.monotonic() - started, 3),
            "run_seconds": round(pace.seconds, 3),
            "sections": {name: round(seconds, 3) for name, seconds in pace.sections.items()},
            "expected": _expected(out, model, spec, pairs, pace),
            "peak_memory_bytes": peak_memory(model.device),
            "pairs_total": pairs.total,
            "pairs_dropped": len(pairs.screening.dropped),
            "rounding": pace.rounding and pace.rounding.as_json(),
            "notes": notes(spec, records, pace.rounding),
        }
        directory.write_summary(summary)
        figures = plot_run(out, include_incorrect=include_incorrect)
        if inspected:
            inspect_pairs(model, spec, experiment.pairs, largest_effects(records, inspected), out)
        page = write_report([out], out / REPORT) if report or (out / REPORT).exists() else None
        log.info("finished in %.1f s", time.monotonic() - started)
    observer.summary(headline(summary), [path for path in figures if path.suffix == ".png"], page)
    return Finished(folder=out, records=records, summary=summary, figures=figures, report=page)


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


def _expected(out: Path, model: ThoughtModel, spec: Spec, pairs: PairFile, pace: Pace) -> dict[str, Any] | None:
    """How long the run was expected to take, and from what: its plan, or its first batch."""
    if pace.whole and (out / PLAN).is_file():
        plan = read_sealed(out / PLAN, "delete it, and plan again if you wish")
        if plan["of"] == _identity(model, spec, pairs):
            return {"of": "its plan", "seconds": plan["seconds"]}
    return None if pace.expected is None else {"of": "its first batch", "seconds": round(pace.expected, 3)}


def _identity(model: ThoughtModel, spec: Spec, pairs: PairFile) -> str:
    """Fingerprint of all that decides how much is run."""
    described = describe_run(model, spec, pairs, ())
    return digest({name: described[name] for name in ("spec", "model", "pairs")})


def describe_run(model: ThoughtModel, spec: Spec, pairs: PairFile, command: Sequence[str]) -> dict[str, Any]:
    """Everything that is needed to repeat a run; what only says where it came from is under `environment`."""
    names = [pair.pair_id for pair in pairs.kept]
    return {
        "spec": asdict(spec),
        "model": {"fingerprint": model.fingerprint, "dtype": model.about.get("dtype")},
        "pairs": {
            "sha256": file_digest(pairs.path),
            "content": digest(to_prepared(pairs.kept)),
            "kept": names,
            "run": [names[index] for index in pairs.asked],
        },
        "machine": {"device": model.device.type, "threads": torch.get_num_threads()},
        "versions": {name: version(name) for name in LIBRARIES},
        "command": list(command),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {
            "model": model.about,
            "parity": model.parity,
            "pairs": pairs.name,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "memory": memory_bound(model.device, spec.memory),
        },
    }


def describe_pairs(model: ThoughtModel, pairs: PairFile, experiment: Experiment) -> dict[str, Any]:
    """The pairs that could be run, with their tokens and the position of every site, clean and corrupted side by side.

    All of them, because donors come from them all; which were run `spec.json` says.
    """
    described = []
    for prepared, layouts in zip(to_prepared(pairs.kept), experiment.layouts, strict=True):
        described.append(
            prepared
            | {
                "layout": {
                    name: {
                        "tokens": model.tokenizer.convert_ids_to_tokens(list(layout.prompt)),
                        "n_latents": layout.n_latents,
                        "tail": model.tokenizer.convert_ids_to_tokens(list(layout.tails[side].tokens)),
                        "sites": dict(zip(layout.sites, layout.positions(side), strict=True)),
                    }
                    for side, (name, layout) in enumerate(zip(("clean", "corrupted"), layouts, strict=True))
                }
            }
        )
    return {
        "screening": describe(pairs.screening, pairs.total, lambda answer: len(encode(model.tokenizer, answer))),
        "pairs": described,
    }


def headline(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The few numbers that a tracker shows: the counts, and the leading cell of each direction, its switch first."""
    found: dict[str, Any] = dict(summary["counts"])
    for cell in leading(summary):
        own = {
            "switched": cell["switched"]["share"],
            "neither": cell["neither"]["share"],
            "effect": cell["effect"]["mean"],
            "recovery": cell["recovery"]["mean"],
            **{f"switched_{donor}": test["share"] for donor, test in cell["switched"]["beyond"].items()},
            **{name: cell[name] for name in ("experiment", "layer", "site", "step")},
        }
        found |= {f"{cell['direction']}_{name}": value for name, value in own.items()}
    return found
