"""The command line: parse, build a spec, call, print. Everything heavy is imported when a command needs it."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechpatch.data import pair_path
from mechpatch.errors import MechpatchError

if TYPE_CHECKING:
    from mechpatch.experiments.run import Tick
    from mechpatch.models import ThoughtModel

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find which layer at which thought position carries a language model's answer.",
)
Model = Annotated[str, typer.Option("--model", help="demo, the directory of a Hugging Face Llama, or a hub name.")]
Adapter = Annotated[Path | None, typer.Option(help="PEFT LoRA directory to merge.")]
Codi = Annotated[Path | None, typer.Option(help="CODI checkpoint: a directory or a state dict.")]
LoraAlpha = Annotated[float | None, typer.Option(help="Of a CODI adapter, which does not store it.  [published: 32]")]
LoraTargets = Annotated[str, typer.Option(help="Modules that a CODI adapter must cover, separated by commas.")]
Latents = Annotated[int | None, typer.Option(min=1, help="Latent or placeholder thoughts.  [published: 6]")]
Dtype = Annotated[str, typer.Option(help="float32, float64 or bfloat16; report numbers from float32.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Pairs = Annotated[str, typer.Option("--pairs", help="demo, or a file of pairs.")]
Cache = Annotated[Path, typer.Option(help="Folder of clean activations; safe to delete.")]
TARGETS = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"


def main() -> None:
    """Entry point: an expected error is one message and its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    try:
        app()
    except MechpatchError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(error.exit_code)


@app.command()
def pairs(
    file: Annotated[str, typer.Argument(help="File of pairs, or demo.")],
    out: Annotated[Path | None, typer.Option(help="Write the kept pairs here, in the prepared format.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    model: Annotated[str | None, typer.Option(help="Count answer tokens with this model's tokenizer.")] = None,
    keep_same_answer: Annotated[bool, typer.Option(help="Flag pairs with equal answers instead of dropping.")] = False,
) -> None:
    """Check and screen a file of pairs."""
    from mechpatch.pairs import (
        describe,
        flag_only,
        identical_questions,
        load_pairs,
        same_answer,
        screen,
        to_prepared,
        unequal_length,
    )
    from mechpatch.storage.atomic import write_json

    path = pair_path(file)
    loaded = load_pairs(path)
    predicates: list[Any] = [identical_questions, flag_only(same_answer) if keep_same_answer else same_answer]
    count = None
    if model is not None or file == "demo":
        count = _token_counter(model or "demo")
        predicates.append(flag_only(unequal_length(count)))
    screening = screen(loaded, predicates)
    found = describe(screening, len(loaded), count)
    if out is not None:
        write_json(out, to_prepared(screening.kept))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    typer.echo(f"{path}: {found['kept']} of {found['total']} pairs kept")
    for each in found["dropped"]:
        detail = ", ".join(f"{key} {value}" for key, value in each.items() if key not in ("pair_id", "reason"))
        typer.echo(f"  dropped {each['pair_id']}: {each['reason']}{f' ({detail})' if detail else ''}")
    for pair_id, reasons in found["flagged"].items():
        typer.echo(f"  flagged {pair_id}: {', '.join(reasons)}")
    difference = found["answer_difference"]
    if difference["mean"] is not None:
        typer.echo(
            f"|clean − corrupted|: min {difference['min']:g}, mean {difference['mean']:.4g}, max {difference['max']:g}"
        )
    if found["answer_tokens"] is None:
        typer.echo("tokens per answer: give --model to count them")
    else:
        counts = ", ".join(f"{n} with {tokens}" for tokens, n in found["answer_tokens"].items())
        typer.echo(f"tokens per answer: {counts}")
    if out is not None:
        typer.echo(f"wrote {out}")


@app.command()
def run(
    experiment: Annotated[str, typer.Argument(help="layer, position or chained.")],
    out: Annotated[Path, typer.Option(help="Run directory; the same command goes on where it was stopped.")],
    model: Model = "demo",
    adapter: Adapter = None,
    codi: Codi = None,
    lora_alpha: LoraAlpha = None,
    lora_targets: LoraTargets = TARGETS,
    latents: Latents = None,
    pairs: Pairs = "demo",
    thoughts: Annotated[str, typer.Option(help="latent, text or placeholder.")] = "latent",
    answer_prefix: Annotated[str, typer.Option(help="Text before the answer.")] = "The answer is:",
    separator: Annotated[str, typer.Option(help="Text before a text chain and before the answer after it.")] = "",
    placeholder_token: Annotated[int | None, typer.Option(help="Token id of placeholder thoughts.  [pad]")] = None,
    layers: Annotated[str | None, typer.Option(help="For example 0-3,7.  [all]")] = None,
    sites: Annotated[str, typer.Option(help="all, or some of thoughts,bot,eot,answer,t0,t1,…")] = "all",
    mode: Annotated[str, typer.Option(help="Chains: relay, cumulative or both.")] = "relay,cumulative",
    direction: Annotated[str, typer.Option(help="denoise (clean into corrupted) or noise.")] = "denoise",
    nulls: Annotated[str, typer.Option(help="Null donors: self,other-pair,same-value,noise.")] = "",
    limit: Annotated[int | None, typer.Option(help="Run the first N pairs only.")] = None,
    keep_same_answer: Annotated[bool, typer.Option(help="Run pairs with equal answers too.")] = False,
    include_incorrect: Annotated[bool, typer.Option(help="Let pairs the model gets wrong into the means.")] = False,
    min_gap: Annotated[float, typer.Option(help="Smallest gap in nats at which recovery is defined.")] = 0.1,
    batch_size: Annotated[int, typer.Option(help="Pairs in one forward pass.")] = 16,
    seed: Annotated[int, typer.Option(help="Of null donors and intervals.")] = 0,
    engine: Annotated[str, typer.Option(help="fast, or reference: one plain hooked run for each patch.")] = "fast",
    check: Annotated[int, typer.Option(help="Cells of each batch compared with plain hooks.")] = 3,
    max_memory: Annotated[int, typer.Option(help="MB for one chunk of patches of the fast engine.")] = 1024,
    dtype: Dtype = "float32",
    device: Device = "auto",
    cache: Cache = Path("cache"),
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Log to Weights & Biases; offline unless WANDB_MODE=online.")
    ] = False,
    wandb_project: Annotated[str, typer.Option(help="Project of --wandb.")] = "mechpatch",
) -> None:
    """Run one experiment over all pairs."""
    from mechpatch import workflow
    from mechpatch.experiments.spec import Spec, parse_layers
    from mechpatch.tracking import null_observer, wandb_observer

    spec = Spec(
        experiment=experiment,
        modes=_split(mode),
        layers=parse_layers(layers) if layers else (),
        sites=_split(sites),
        direction=direction,
        nulls=tuple(name.replace("-", "_") for name in _split(nulls)),
        thoughts=thoughts,
        n_thoughts=latents,
        prefix=answer_prefix,
        separator=separator.encode().decode("unicode_escape") if "\\" in separator else separator,
        placeholder=placeholder_token,
        min_gap=min_gap,
        batch_size=batch_size,
        seed=seed,
        engine=engine,
        checks=check if engine == "fast" else 0,
        memory=max_memory * 2**20,
    )
    loaded = _load(model, adapter, codi, lora_alpha, lora_targets, latents, dtype, device)
    pair_file = workflow.read_pairs(pairs, loaded, spec, limit=limit, keep_same_answer=keep_same_answer)
    _show_screening(pair_file)
    observer = null_observer()
    if wandb:
        config = {"experiment": experiment, "model": loaded.fingerprint, "direction": direction, "thoughts": thoughts}
        observer = wandb_observer(wandb_project, out.name, config, out.parent)
    with _interruptible(out):
        finished = workflow.run_to_directory(
            loaded,
            spec,
            pair_file,
            out,
            cache=cache,
            command=sys.argv,
            include_incorrect=include_incorrect,
            observer=observer,
            progress=_progress,
        )
    observer.finish()
    _show(finished.summary)
    _show_paths(finished.folder, finished.figures)


@app.command()
def plot(
    run_dir: Annotated[Path, typer.Argument(help="Directory of a finished run.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the figures.  [RUN_DIR/figures]")] = None,
    include_incorrect: Annotated[bool, typer.Option(help="Use pairs the model gets wrong, too.")] = False,
) -> None:
    """Draw the figures of a run, as PNG and SVG."""
    from mechpatch.views.figures import plot_run

    _show_paths(run_dir, plot_run(run_dir, out, include_incorrect))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder of the three runs.")] = Path("runs/demo"),
    limit: Annotated[int | None, typer.Option(help="Run the first N pairs only.")] = None,
    cache: Cache = Path("cache"),
    device: Device = "cpu",
) -> None:
    """Run everything on the built-in model: screen its pairs, run the three experiments, draw, and read the result."""
    import pyarrow as pa
    import torch

    from mechpatch import workflow
    from mechpatch.experiments.spec import EXPERIMENTS, Spec
    from mechpatch.stats import summarise
    from mechpatch.storage.atomic import write_json

    torch.set_num_threads(1)  # the model is so small that threads cost more than they give
    loaded = _load("demo", None, None, None, TARGETS, None, "float32", device)
    runs = []
    for experiment in EXPERIMENTS:
        spec = Spec(experiment=experiment, nulls=("self", "other_pair"), batch_size=36)
        pair_file = workflow.read_pairs("demo", loaded, spec, limit=limit)
        if not runs:
            _show_screening(pair_file)
        with _interruptible(out):
            runs.append(
                workflow.run_to_directory(
                    loaded, spec, pair_file, out / experiment, cache=cache, command=sys.argv, progress=_progress
                )
            )
    summary = summarise(pa.concat_tables([each.records for each in runs]), seed=0)
    summary["run"] = {"notes": sorted({note for each in runs for note in each.summary["run"]["notes"]})}
    write_json(out / "summary.json", summary)
    _show(summary)
    for each in runs:
        _show_paths(each.folder, each.figures)


def _load(
    model: str,
    adapter: Path | None,
    codi: Path | None,
    lora_alpha: float | None,
    lora_targets: str,
    latents: int | None,
    dtype: str,
    device: str,
) -> "ThoughtModel":
    """Load and say on stderr what was loaded; the tone of the libraries is turned down."""
    from transformers.utils import logging as transformers_logging

    from mechpatch.models import load_model

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    loaded = load_model(
        model,
        adapter,
        codi,
        lora_alpha=lora_alpha,
        lora_targets=_split(lora_targets),
        n_latents=latents,
        dtype=dtype,
        device=device,
    )
    about = loaded.about
    adapted = f", LoRA rank {about['lora_rank']} alpha {about['lora_alpha']:g}" if "lora_rank" in about else ""
    thoughts = f", {loaded.n_latents} latent thoughts" if loaded.n_latents else ""
    typer.echo(
        f"model {about['base'] if model != 'demo' else 'demo'}{adapted}{thoughts}; {dtype} on {about['device']}; "
        f"fingerprint {loaded.fingerprint}; max |Δlogit| to Hugging Face {loaded.parity:.1e}",
        err=True,
    )
    return loaded


def _token_counter(model: str) -> Any:
    from mechpatch.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _show_screening(pair_file: Any) -> None:
    dropped = pair_file.screening.dropped
    typer.echo(f"pairs {pair_file.path.name}: {len(pair_file.kept)} of {pair_file.total} will be run", err=True)
    for each in dropped[:5]:
        typer.echo(f"  dropped {each.pair.pair_id}: {each.reason}", err=True)
    if len(dropped) > 5:
        typer.echo(f"  … and {len(dropped) - 5} more; `mechpatch pairs` lists them", err=True)


def _show(summary: dict[str, Any]) -> None:
    from mechpatch.views.reading import reading

    typer.echo(reading(summary))
    for note in summary["run"]["notes"]:
        typer.echo(f"Note: {note}")
    for check in summary["checks"]:
        verdict = {True: "holds", False: "FAILS", None: "reported"}[check["holds"]]
        value = "—" if check["value"] is None else f"{check['value']:.3g}"
        typer.echo(f"  check {check['name']}: {value} ({verdict})")


def _show_paths(folder: Path, figures: list[Path]) -> None:
    typer.echo(f"{folder}: effects.parquet, summary.json, run.log")
    for path in figures:
        if path.suffix == ".png":
            typer.echo(f"  {path}")


@contextmanager
def _interruptible(out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; finished pairs are kept in {out}. Run the same command to go on.", err=True)
        raise typer.Exit(130) from None


@contextmanager
def _progress(title: str, total: int) -> "Iterator[Tick]":
    """A bar on stderr with rate and time left; nothing where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]} runs/s")
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total, rate="…")

        def tick(cells: int) -> None:
            speed = bar.tasks[task].speed
            bar.update(task, advance=cells, rate="…" if speed is None else f"{speed:.0f}")

        yield tick
