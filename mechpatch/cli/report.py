"""`mechpatch report`: one self-contained page from run directories."""

from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import OUTPUT, option
from mechpatch.formats import megabytes
from mechpatch.storage.folders import require_run
from mechpatch.storage.remote import local_run


@app.command()
def report(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN_DIR", help="Directories of finished runs, or URLs such as s3://runs/a.")
    ],
    out: Annotated[
        Path, option("--out", panel=OUTPUT, metavar="FILE", help="The page; an older one is replaced.")
    ] = Path("report.html"),
) -> None:
    """Write one page that opens offline: figures, tables and pairs of one or several runs.

    Example: mechpatch report runs/demo --out demo.html
    """
    folders = [local_run(run) for run in runs]
    for run_dir in folders:
        require_run(run_dir)

    from mechpatch.views.report import write_report

    written = write_report(folders, out)
    typer.echo(f"wrote {written} ({megabytes(written.stat().st_size)}); open it in a browser, no network is needed")
