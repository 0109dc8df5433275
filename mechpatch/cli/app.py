"""The application that every command joins, and its entry point."""

import logging
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mechpatch.errors import MechpatchError


class Commands(TyperGroup):
    """The commands; Ctrl-C ends each with a word and exit code 130, where it has nothing better to say."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo("stopped", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# Libraries that decide numbers; a report of a fault needs them.
LIBRARIES = ("torch", "transformers", "transformer-lens", "peft")


def _show_versions(asked: bool) -> bool:
    if asked:
        typer.echo(f"mechpatch {_version('mechpatch')}")
        libraries = ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
        typer.echo(f"Python {platform.python_version()}, {libraries}")
        raise typer.Exit
    return asked


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "(not installed)"


@app.callback()
def mechpatch(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_versions, is_eager=True, help="Show versions and exit.")
    ] = False,
) -> None:
    """Find which layer at which thought position carries a language model's answer.

    Start with: mechpatch demo
    """


def main() -> None:
    """Entry point: an expected error is one message and its exit code."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a sign shows its code
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    if sys.stderr.isatty():  # a bar shows how far a run is; elsewhere its lines do
        logging.getLogger().handlers[0].setLevel(logging.WARNING)
    try:
        app()
    except MechpatchError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(error.exit_code)
    except (OSError, MemoryError) as error:  # of a path or a machine, and so the user's to mend
        typer.secho(f"error: {_said(error)}", err=True, fg="red")
        sys.exit(MechpatchError.exit_code)


def _said(error: OSError | MemoryError) -> str:
    if isinstance(error, MemoryError):
        return "the memory of this machine does not suffice; choose a smaller --batch-size or --max-memory"
    return f"{str(error.filename)[:200]}: {error.strerror}" if error.filename else str(error)
