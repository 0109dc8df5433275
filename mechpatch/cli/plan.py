"""`mechpatch plan`: what a run will take, before it is run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.request import Request, of_request


@app.command()
@of_request
def plan(
    asked: Request,
    out: Annotated[
        Path | None, typer.Option(help="Run directory to keep the plan in; its run says how well it was predicted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Say what a run will take: forward passes, operations, memory, storage and time. Same arguments as `run`."""
    from mechpatch.console import show_plan
    from mechpatch.workflow import plan_run

    made = plan_run(*asked, out)
    if as_json:
        typer.echo(json.dumps(made.as_json()))
    else:
        show_plan(made, asked.spec)
