"""`mechpatch plan`: what a run will take, before it is run."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import OUTPUT, Json, option
from mechpatch.cli.request import Request, of_request


@app.command()
@of_request
def plan(
    asked: Request,
    out: Annotated[
        Path | None,
        option(
            "--out",
            panel=OUTPUT,
            metavar="DIR",
            help="Run directory to keep the plan in; its run says how well it was predicted.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a run will take: forward passes, operations, memory, storage and time.

    It takes the arguments of run. Example: mechpatch plan all --nulls other-pair
    """
    from mechpatch.console import show_plan
    from mechpatch.workflow import plan_run

    made = plan_run(asked.model, asked.spec, asked.pairs, out)
    if as_json:
        typer.echo(json.dumps(made.as_json()))
    else:
        show_plan(made, asked.spec, asked.model.doubt)
