"""What the command line shows: screening, the result in words, and paths."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from mechpatch.experiments.cost import Plan
from mechpatch.experiments.running.footprint import LIBRARIES, PER_TOKEN
from mechpatch.experiments.running.notes import wrong_base
from mechpatch.experiments.spec import Spec
from mechpatch.experiments.spread import Spread
from mechpatch.families import PLAIN
from mechpatch.formats import amount, duration, scientific, significant, written
from mechpatch.models import ThoughtModel
from mechpatch.models.checkpoint import said
from mechpatch.models.trial import Contents, Trial
from mechpatch.stats import RunSummary
from mechpatch.verify import Findings
from mechpatch.views.words.ending import ending
from mechpatch.workflow import PairFile

DROPPED_SHOWN = 5


def show_model(name: str, model: ThoughtModel) -> None:
    """One line on stderr: what was loaded, of which family, how it was adapted, and how exact it is."""
    about = model.about
    family = f": {about['title']}" if about.get("title") and about.get("family") != PLAIN.name else ""
    without = f", left out {said(about['left_out'])}" if about.get("left_out") else ""
    adapted = f", LoRA rank {about['lora_rank']} alpha {about['lora_alpha']:g}" if "lora_rank" in about else ""
    thoughts = f", {model.n_latents} latent thoughts" if model.n_latents else ""
    typer.echo(
        f"model {name}{family}{adapted}{thoughts}{without}; {about['dtype']} on {about['device']}; "
        f"fingerprint {model.fingerprint}; max |Δlogit| to Hugging Face {scientific(model.parity)}",
        err=True,
    )


def show_contents(found: Contents) -> None:
    """What a checkpoint is, as its keys tell."""
    one_of = "one of " if len(found.architectures) > 1 else ""
    lines = {"family": f"{found.title}, given as {found.option}"}
    lines["architecture"] = one_of + ", ".join(found.architectures)
    parts = ["all weights of the model"] if found.has_base else ["what is put on a base"]
    parts += [f"a LoRA of rank {found.rank}"] if found.rank else []
    parts += [f"an embedding of {found.rows} rows"] if found.rows else []
    lines["holds"] = ", ".join(parts)
    lines["left out"] = said(found.left_out) or "nothing"
    lines["thoughts"] = f"{found.n_latents} latent thoughts, unless --latents says otherwise" if found.n_latents else ""
    if found.rank:
        told = "as its configuration says" if found.alpha_is_stored else "as published: give --lora-alpha"
        lines["alpha"] = f"{found.alpha:g}, {told}"
    _show_lines(lines)


def show_trial(found: Trial | None, dtype: str) -> None:
    """What a load would make of a checkpoint; None if its base is not known."""
    if found is None:
        _show_lines({"missing": "not known: give its base as --model"})
        return
    ids = ", ".join(f"{role} {token}" for role, token in found.special.items())
    taken = LIBRARIES + PER_TOKEN * found.n_tokens + found.weights
    memory = f"about {amount(taken)}B in {dtype}: weights {amount(found.weights)}B, the rest libraries and tokenizer"
    memory += f"; while it loads {amount(found.passing)}B more" if found.passing else ""
    base = f"may be the wrong one: {found.doubt}" if found.doubt else ""
    _show_lines({"loads as": found.architecture, "missing": "nothing", "ids": ids, "memory": memory, "base": base})


def _show_lines(lines: Mapping[str, str]) -> None:
    for name, text in lines.items():
        if text:
            typer.echo(f"{name:>16}  {text}")


def show_screening(pairs: PairFile) -> None:
    """How many pairs are asked for, and the first that were dropped, on stderr."""
    dropped = pairs.screening.dropped
    typer.echo(
        f"pairs {pairs.path.name if pairs.path else pairs.name}: {len(pairs.asked)} of {pairs.total} are asked for",
        err=True,
    )
    for each in dropped[:DROPPED_SHOWN]:
        typer.echo(f"  dropped {each.pair.pair_id}: {each.reason}", err=True)
    if len(dropped) > DROPPED_SHOWN:
        typer.echo(f"  … and {len(dropped) - DROPPED_SHOWN} more; `mechpatch pairs` lists them", err=True)


def announce(text: str) -> None:
    """A line on a terminal's stderr; elsewhere the log's own lines say it."""
    if sys.stderr.isatty():
        typer.echo(text, err=True)


def show_plan(plan: Plan, spec: Spec, doubt: str) -> None:
    """What a run will take, in a few lines.

    Args:
        doubt: why the base may be the wrong one, see `ThoughtModel`.
    """
    counts = plan.counts
    computed = counts.unpatched + counts.patched
    fewer = counts.plain.flops / computed.flops
    donors = f" × {len(spec.donors)} donors" if spec.nulls else ""
    directions = f" × {len(spec.directions)} directions" if len(spec.directions) > 1 else ""
    lines = {
        "to run": f"{plan.pairs} pairs × {plan.cells} cells{donors}{directions} = {counts.records:,} patched runs",
        "plain hooks": f"{counts.plain_runs:,} forward passes, {amount(counts.plain.token_layers)} token-layers, "
        f"{amount(counts.plain.flops)}FLOP",
        f"{spec.engine} engine": f"{amount(computed.token_layers)} token-layers, {amount(computed.flops)}FLOP "
        f"({written(fewer, '.1f')} × fewer), and {amount(counts.checks.flops)}FLOP for its checks",
        "memory": f"weights {amount(plan.weights)}B, peak about {amount(plan.peak_memory)}B, libraries included",
        "model": f"answers {plan.answered} of the {plan.calibrated_on} tried pairs right on both sides",
        "base": wrong_base(doubt, plan.answered, plan.calibrated_on),
        "storage": f"about {amount(plan.storage)}B, records and cache",
        "time": f"about {duration(plan.seconds)} (timed on {plan.timed:,} patched runs of "
        f"{plan.calibrated_on} of the pairs; loading, summary and figures come on top)",
    }
    if spec.screen is not None:
        lines["screen"] = f"about {duration(plan.screening)} more, before that, for the estimates that choose the cells"
    _show_lines(lines)


def show_spread(found: Sequence[Spread], plan: Plan, teraflops: float | None) -> None:
    """A line for each number of workers, and what the figures rest on.

    Args:
        teraflops: the rate of one worker that was stated; None where this machine's was measured.
    """
    for each in found:
        cost = "" if each.cost is None else f", cost {significant(each.cost)}"
        busy = "" if each.busy > 0.995 else f", busy {each.busy:.0%} of it"
        count = f"{each.workers:,} worker{'s' * (each.workers > 1)}"
        typer.echo(f"{count:>16}  {duration(each.hours * 3600)}{busy}{cost}")
    rate = "as long as here" if teraflops is None else f"{significant(teraflops)} TFLOP/s, as stated"
    typer.echo(
        f"{'':>16}  computed, not measured: {plan.batches:,} batches, {amount(plan.counts.flops)}FLOP, each worker "
        f"{rate}; start and loading come on top"
    )


def show_summary(summary: RunSummary) -> None:
    """What a run did and found, and the best cells; the long text is in the report."""
    typer.echo("\n".join(ending(summary)))
    if expected := summary.run.expected:
        took = summary.run.run_seconds
        typer.echo(f"The runs took {duration(took)}; {duration(expected.seconds)} were predicted from {expected.of}.")


def show_paths(folder: Path, figures: Sequence[Path], report: Path | None = None) -> None:
    """Where records, pictures and the page are."""
    drawn = f"; figures in {figures[0].parent}" if figures else ""
    typer.echo(f"{folder}: effects.parquet, summary.json, run.log{drawn}")
    if report is not None:
        typer.echo(f"report: {report} (opens in a browser, no network is needed)")


def show_findings(findings: Findings, pairs: Sequence[str]) -> None:
    """The laws with their largest deviations, what was found beside them, and the likely cause of a failure."""
    table = Table("", "law", "largest", "tolerance", "verdict", box=SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[2:4]:
        column.justify = "right"
    for each in findings.verdicts:
        numbers = [scientific(value) for value in (each.deviation, each.tolerance)]
        style = "red" if each.failed else "dim" if each.deviation is None else ""
        table.add_row(str(each.number), each.says, *numbers, each.verdict, style=style)
    typer.echo(f"verified on {', '.join(pairs)}; deviations of logits unless the law says otherwise")
    if findings.rounding:
        typer.echo(findings.rounding)
    Console().print(table)
    for each in findings.verdicts:
        if each.failed or each.deviation is None or each.key == "alpha":  # how many are right is worth knowing anyway
            typer.echo(f"  {each.number}, {each.says}: {each.verdict}{f': {each.note}' if each.note else ''}")
    for relation in findings.relations:
        name, value = relation["name"].replace("_", " "), significant(relation["value"])
        typer.echo(f"  reported, not asserted: {name}: {value}")
    if not findings.failed:
        tried = sum(each.deviation is not None for each in findings.verdicts)
        typer.echo(f"All {tried} laws that apply hold.")
        return
    typer.echo(f"{len(findings.failed)} of {len(findings.verdicts)} laws fail: do not rely on numbers from this model.")
    for cause in findings.causes:
        typer.echo(f"Likely cause: {cause}.")
    if not findings.causes:
        typer.echo("No known cause fits; the lines above say where the largest deviation is.")
