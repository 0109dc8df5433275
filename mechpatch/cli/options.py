"""What several commands share: their options, loading a model, and being interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mechpatch.models import ThoughtModel

Model = Annotated[str, typer.Option("--model", help="demo, the directory of a Hugging Face model, or a hub name.")]
Adapter = Annotated[Path | None, typer.Option(help="PEFT LoRA directory to merge.")]
Codi = Annotated[Path | None, typer.Option(help="CODI checkpoint: a directory or a state dict.")]
LoraAlpha = Annotated[float | None, typer.Option(help="Of a CODI adapter, which does not store it.  [published: 32]")]
LoraTargets = Annotated[
    str | None, typer.Option(help="Modules that a CODI adapter must cover, with commas.  [those of the published ones]")
]
Latents = Annotated[int | None, typer.Option(min=1, help="Latent or placeholder thoughts.  [published: 6]")]
Dtype = Annotated[str, typer.Option(help="float32, float64 or bfloat16; report numbers from float32.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Pairs = Annotated[str, typer.Option("--pairs", help="demo, or a file of pairs.")]
Thoughts = Annotated[str, typer.Option(help="latent, text or placeholder.")]
AnswerPrefix = Annotated[str, typer.Option(help="Text before the answer, and one space unless it ends in \\n or \\t.")]
Separator = Annotated[str, typer.Option(help="Text before a text chain and before the answer after it; \\n, \\t.")]
PlaceholderToken = Annotated[int | None, typer.Option(help="Token id of placeholder thoughts.  [pad]")]
Cache = Annotated[Path, typer.Option(help="Folder of clean activations; safe to delete.")]


def load(
    model: str,
    adapter: Path | None,
    codi: Path | None,
    lora_alpha: float | None,
    lora_targets: str | None,
    latents: int | None,
    dtype: str,
    device: str,
) -> "ThoughtModel":
    """Load and say on stderr what was loaded; the tone of the libraries is turned down."""
    from transformers.utils import logging as transformers_logging

    from mechpatch.console import show_model
    from mechpatch.models import load_model

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    loaded = load_model(
        model,
        adapter,
        codi,
        lora_alpha=lora_alpha,
        lora_targets=split(lora_targets) if lora_targets else None,
        n_latents=latents,
        dtype=dtype,
        device=device,
    )
    show_model(model, loaded)
    return loaded


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
