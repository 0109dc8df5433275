"""`mechpatch cache`: where unpatched runs and merged weights are kept, how much they take, and away with them."""

import json
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import OUTPUT, Cache, Json, cache_folder, flag
from mechpatch.formats import amount, megabytes
from mechpatch.storage.cache_folder import LIMIT_VARIABLE, MERGED, entries, remove, size_limit


@app.command()
def cache(
    folder: Cache = None,
    clear: Annotated[bool, flag("--clear", panel=OUTPUT, help="Delete the files of the cache.")] = False,
    as_json: Json = False,
) -> None:
    """Show where unpatched runs and merged weights are kept and how much they take, or delete them.

    Example: mechpatch cache --clear
    """
    place = cache_folder(folder)
    found = [*entries(place), *entries(place / MERGED)]
    gone = [entry for entry in found if clear and remove(entry.path)]
    found = [*entries(place), *entries(place / MERGED)]
    size, limit = sum(entry.size for entry in found), size_limit()
    if as_json:
        typer.echo(json.dumps({"folder": str(place), "files": len(found), "bytes": size, "limit_bytes": limit}))
        return
    if clear:
        in_use = f"; {len(found)} are in use or not yours to delete" if found else ""
        typer.echo(f"{place}: deleted {len(gone)} files, {megabytes(sum(entry.size for entry in gone))}{in_use}")
        return
    typer.echo(f"{place}: {len(found)} files, {megabytes(size)}")
    typer.echo(f"limit {amount(limit)}B (set {LIMIT_VARIABLE}=GB); unpatched runs that were used longest ago go first")
