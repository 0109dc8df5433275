"""The application that every command joins, and its entry point."""

import logging
import sys

import typer

from mechpatch.errors import MechpatchError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Find which layer at which thought position carries a language model's answer.",
)


def main() -> None:
    """Entry point: an expected error is one message and its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", stream=sys.stderr)
    if sys.stderr.isatty():  # a bar shows how far a run is; elsewhere its lines do
        logging.getLogger().handlers[0].setLevel(logging.WARNING)
    try:
        app()
    except MechpatchError as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        sys.exit(error.exit_code)
