"""`mechpatch inspect`: look inside single pairs of a run."""

from pathlib import Path
from typing import Annotated

import typer

from mechpatch.cli.app import app
from mechpatch.cli.options import Adapter, Codi, Device, load


@app.command()
def inspect(
    run_dir: Annotated[Path, typer.Argument(help="Directory of a finished run.")],
    pair: Annotated[list[str] | None, typer.Option(help="Id of a pair; may be given several times.")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Without --pair: the N pairs with the largest effect.  [1]")
    ] = None,
    layer: Annotated[int | None, typer.Option(help="Show the run patched at this layer …  [strongest]")] = None,
    site: Annotated[str | None, typer.Option(help="… and site: t0, bot, eot, answer, …  [strongest]")] = None,
    out: Annotated[Path | None, typer.Option(help="The page.  [RUN_DIR/inspect/….html]")] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Where the run's model is now.  [as in spec.json]")
    ] = None,
    adapter: Adapter = None,
    codi: Codi = None,
    device: Device = "auto",
) -> None:
    """Look inside pairs of a run: attention, logit lens, residual stream, answers; as data, and as one offline page."""
    from mechpatch.errors import SpecError
    from mechpatch.experiments.inspection import inspect_pairs
    from mechpatch.experiments.reopen import reopen
    from mechpatch.experiments.strongest import At, largest_effects
    from mechpatch.storage.atomic import lock
    from mechpatch.storage.inspections import INSPECTIONS
    from mechpatch.storage.results import read_effects
    from mechpatch.views.inspection_page import write_page

    if (layer is None) != (site is None):
        raise SpecError("--layer and --site name one cell together: give both or neither")
    if pair and top is not None:
        raise SpecError("--pair and --top both say which pairs: give one of them")
    run = reopen(run_dir)
    indices = [run.index(each) for each in dict.fromkeys(pair or ())]
    indices = indices or largest_effects(read_effects(run_dir), top or 1)
    about = run.model
    recorded = {name: Path(about[name]) if about.get(name) else None for name in ("adapter", "codi")}
    moved = model is not None or adapter is not None or codi is not None
    loaded = load(
        model or str(about.get("base")),
        adapter if moved else recorded["adapter"],
        codi if moved else recorded["codi"],
        about.get("lora_alpha") if codi or (not moved and recorded["codi"]) else None,
        ",".join(about.get("lora_targets") or ()),
        about.get("n_latents") or None,
        str(about.get("dtype", "float32")),
        device,
    )
    run.check(loaded)
    at = At(layer, site) if layer is not None and site is not None else None
    with lock(run_dir):
        inspect_pairs(loaded, run.spec, run.pairs, indices, run_dir, at)
        name = "-".join(f"{index:06d}" for index in indices[:8])
        page = write_page(run_dir, indices, out or run_dir / INSPECTIONS / f"{name}.html")
    ids = ", ".join(run.pairs[index].pair_id for index in indices)
    typer.echo(f"{page}: {ids}")
