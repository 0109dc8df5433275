"""What several commands share: their options in panels, loading a model, and being interrupted.

The help of an option holds no text in brackets, which would be taken for markup: a default in words is `show_default`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mechpatch.data import SHIPPED
from mechpatch.source import ModelSource
from mechpatch.storage.cache_folder import default_folder, size_limit

if TYPE_CHECKING:
    from mechpatch.models import ThoughtModel

# The panels of --help, in the order in which a reader decides.
MODEL, ASKED, EXPERIMENT, RUNNING, OUTPUT = "Model", "Pairs and thoughts", "Experiment", "Running", "Output"


def option(*names: str, panel: str, **settings: Any) -> Any:
    """An option of a panel, its value named in one word so that 80 columns suffice."""
    return typer.Option(*names, rich_help_panel=panel, **{"metavar": "TEXT", **settings})


def flag(name: str, *more: str, panel: str, help: str) -> Any:
    """An option that is given or not, without a negative form."""
    return typer.Option(name, *more, rich_help_panel=panel, help=help, show_default=False)


Model = Annotated[
    str,
    option(
        "--model",
        panel=MODEL,
        metavar="NAME",
        help=f"{', '.join(SHIPPED)}, the directory of a Hugging Face model, or a hub name.",
    ),
]
ModelOfRun = Annotated[
    str | None,
    option(
        "--model",
        panel=MODEL,
        metavar="NAME",
        help="Where the model of the run is now.",
        show_default="as spec.json says",
    ),
]
Adapter = Annotated[
    Path | None, option("--adapter", panel=MODEL, metavar="DIR", help="PEFT LoRA directory to merge into it.")
]
Codi = Annotated[
    Path | None, option("--codi", panel=MODEL, metavar="PATH", help="CODI checkpoint: a directory or a state dict.")
]
LoraAlpha = Annotated[
    float | None,
    option(
        "--lora-alpha",
        panel=MODEL,
        metavar="ALPHA",
        help="Alpha of a CODI adapter, which does not store it.",
        show_default="32, as published",
    ),
]
LoraTargets = Annotated[
    str | None,
    option(
        "--lora-targets",
        panel=MODEL,
        metavar="LIST",
        help="Modules that a CODI adapter must cover, with commas between.",
        show_default="as published",
    ),
]
Dtype = Annotated[
    str,
    option("--dtype", panel=MODEL, metavar="NAME", help="float32, float64 or bfloat16; report numbers from float32."),
]
Device = Annotated[str, option("--device", panel=MODEL, metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
Pairs = Annotated[
    str | None,
    option(
        "--pairs",
        panel=ASKED,
        metavar="FILE",
        help=f"A file of pairs, or {' or '.join(SHIPPED)}.",
        show_default="those of the model, or demo",
    ),
]
Thoughts = Annotated[str, option("--thoughts", panel=ASKED, metavar="KIND", help="latent, text or placeholder.")]
Latents = Annotated[
    int | None,
    option(
        "--latents",
        panel=ASKED,
        metavar="N",
        help="Number of latent or placeholder thoughts.",
        show_default="as published: 6 with --codi",
    ),
]
AnswerPrefix = Annotated[
    str | None,
    option(
        "--answer-prefix",
        panel=ASKED,
        help="Text before the answer; one space follows unless it ends in \\n or \\t.",
        show_default="that of the family",
    ),
]
Separator = Annotated[
    str,
    option(
        "--separator",
        panel=ASKED,
        help="Text before a text chain and before the answer after it; knows \\n and \\t.",
        show_default="none",
    ),
]
PlaceholderToken = Annotated[
    int | None,
    option(
        "--placeholder-token",
        panel=ASKED,
        metavar="ID",
        help="Token of placeholder thoughts.",
        show_default="the pad token",
    ),
]
Screen = Annotated[
    int | None,
    option(
        "--screen",
        panel=EXPERIMENT,
        metavar="N",
        help="Of heads and neurons, run the N cells that gradients point at, and 50 random ones.",
        show_default="all",
    ),
]
Distances = Annotated[
    str,
    option(
        "--distances",
        panel=EXPERIMENT,
        metavar="WHERE",
        help="Where KL, L2 and changed predictions are read: answer (all its tokens) or first.",
    ),
]
Seed = Annotated[int, option("--seed", panel=RUNNING, metavar="N", help="Seed of everything that is drawn.")]
Cache = Annotated[
    Path | None,
    option(
        "--cache",
        panel=RUNNING,
        metavar="DIR",
        help="Folder of unpatched runs; safe to delete, see mechpatch cache.",
        show_default="cache of the project, or the user's",
        envvar="MECHPATCH_CACHE",
    ),
]
Ray = Annotated[
    str | None,
    option(
        "--ray",
        panel=RUNNING,
        metavar="ADDRESS",
        help="Run batches on a Ray cluster: local (this machine), auto (the cluster it belongs to) or HOST:PORT.",
        show_default="in this process",
    ),
]
Workers = Annotated[
    int | None,
    option(
        "--workers",
        panel=RUNNING,
        metavar="N",
        help="Workers of --ray, each with as many threads as this process.",
        show_default="as many as there is room for",
    ),
]
GpusPerWorker = Annotated[
    float | None,
    option(
        "--gpus-per-worker",
        panel=RUNNING,
        metavar="N",
        help="GPUs that a worker of --ray takes.",
        show_default="1 with --device cuda",
    ),
]
Incorrect = Annotated[
    bool, flag("--include-incorrect", panel=OUTPUT, help="Let pairs that the model gets wrong into the means.")
]
Json = Annotated[bool, flag("--json", panel=OUTPUT, help="Print one JSON object on stdout; all else goes to stderr.")]
Quiet = Annotated[
    bool, flag("--quiet", "-q", panel=OUTPUT, help="Print the path of the result only; warnings and errors remain.")
]


def load(source: ModelSource, dtype: str, device: str, *, quiet: bool = False) -> "ThoughtModel":
    """Load and say on stderr what was loaded; the tone of the libraries is turned down."""
    from transformers.utils import logging as transformers_logging

    from mechpatch.console import show_model
    from mechpatch.models import load_source

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    loaded = load_source(source, dtype=dtype, device=device)
    if not quiet:
        show_model(str(source.base), loaded)
        values = {
            "--lora-alpha": (source.lora_alpha, loaded.about.get("lora_alpha")),
            "--latents": (source.n_latents, loaded.n_latents),
        }
        given = [name for name, (asked, found) in values.items() if source.checkpoint and found and asked is None]
        assumed = [f"{name} {values[name][1]:g}" for name in given]
        if assumed:  # neither is stored in a checkpoint, and a wrong one changes every number
            typer.echo(f"not given, so taken as published: {' and '.join(assumed)}", err=True)
    return loaded


def hush() -> None:
    """Leave only warnings and errors on stderr."""
    for handler in logging.getLogger().handlers:
        handler.setLevel(logging.WARNING)


def cache_folder(asked: Path | None) -> Path:
    """The folder that was asked for, or where the cache lies. Refuses a limit of its size that is no number."""
    size_limit()
    return asked or default_folder(Path.cwd())


def unescaped(text: str) -> str:
    """A text as it was meant: a shell hands on `\\n` as two characters."""
    return text.replace("\\n", "\n").replace("\\t", "\t")


def split(text: str) -> tuple[str, ...]:
    """The items of a list that was written with commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@contextmanager
def interruptible(out: Path) -> Iterator[None]:
    """Turn Ctrl-C into a word on how to go on, and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; finished pairs are kept in {out}. Run the same command to go on.", err=True)
        raise typer.Exit(130) from None
