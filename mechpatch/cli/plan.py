"""`mechpatch plan`: what a run will take, before it is run."""

import json
from math import inf
from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import OUTPUT, RUNNING, Json, option
from mechpatch.cli.request import Request, of_request
from mechpatch.errors import SpecError


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
    on_workers: Annotated[
        str | None,
        option(
            "--workers",
            panel=RUNNING,
            metavar="LIST",
            help="Say what it takes on so many workers of a cluster, for example 1,8,64.",
            show_default="none",
        ),
    ] = None,
    teraflops: Annotated[
        float | None,
        option(
            "--tflops",
            panel=RUNNING,
            metavar="RATE",
            help="What one worker computes, in TFLOP/s.",
            show_default="what this machine is timed at",
        ),
    ] = None,
    price: Annotated[
        float | None,
        option("--price", panel=RUNNING, metavar="PRICE", help="Of one worker for an hour.", show_default="none"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a run will take: forward passes, operations, memory, storage and time.

    It takes the arguments of run. Example: mechpatch plan all --nulls other-pair
    """
    from mechpatch.console import show_plan, show_spread
    from mechpatch.experiments.spread import parse_workers, seconds_at, spread
    from mechpatch.workflow import plan_run

    counts = parse_workers(on_workers) if on_workers else ()
    for name, value in (("--tflops", teraflops), ("--price", price)):
        if value is not None and not (counts and 0 < value < inf):
            raise SpecError(f"{name} {value:g}: expected more than 0, and with --workers alone")
    made = plan_run(asked.model, asked.spec, asked.pairs, out)
    seconds = made.seconds if teraflops is None else seconds_at(made.counts.flops, teraflops)
    found = spread(made.batches, seconds, counts, price)
    if as_json:
        workers = {"workers": [each.as_json() for each in found], "tflops": teraflops} if counts else {}
        typer.echo(json.dumps(made.as_json() | workers))
    else:
        show_plan(made, asked.spec, asked.model.doubt)
        if found:
            show_spread(found, made, teraflops)
