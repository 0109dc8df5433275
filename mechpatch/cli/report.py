"""`mechpatch report`: one self-contained page from run directories."""

from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Directories of finished runs.")],
    out: Annotated[Path, typer.Option(help="The page; an older one is replaced.")] = Path("report.html"),
) -> None:
    """Write one page that opens offline: figures, tables and pairs of one or several runs."""
    from mechpatch.views.report import write_report

    written = write_report(runs, out)
    typer.echo(f"wrote {written} ({written.stat().st_size / 1e6:.1f} MB); open it in a browser, no network is needed")
