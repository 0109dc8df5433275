"""`mechpatch guide`: the pages that explain what mechpatch computes and how to use it."""

from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.guide import TOPICS, page


@app.command()
def guide(
    topic: Annotated[
        str | None, typer.Argument(metavar="TOPIC", help="A page; without one, their names.", show_default=False)
    ] = None,
) -> None:
    """Print a page of the guide.

    Example: mechpatch guide first-map
    """
    if topic is not None:
        typer.echo(page(topic))
        return
    width = max(map(len, TOPICS))
    for name, about in TOPICS.items():
        typer.echo(f"{name:{width}}  {about}")
