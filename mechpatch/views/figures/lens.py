"""Where a lens hits each target, layer by layer, and beside it where a write moves the answer."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mechpatch.catalogue import PAIRED, Measure
from mechpatch.points import RESID_POST
from mechpatch.stats.clear import is_clear
from mechpatch.stats.lens import SIDES, LensCell, LensSummary
from mechpatch.stats.probes import ProbeCell, ProbeSummary
from mechpatch.stats.summary_values import Summary
from mechpatch.views.figures.parts import add_bar, mark_structural, separate_cells, write_numbers
from mechpatch.views.figures.theme import SHARE, colours, style
from mechpatch.views.words.lens import hit, target_label
from mechpatch.views.words.probes import probe_label

HITS = Measure(label="pairs that are hit", unit=SHARE)
CELL_WIDTH, CELL_HEIGHT, BESIDE, HIGHEST = 0.36, 0.25, 0.75, 7.0  # inches
ACROSS = 4  # maps in a row
FED = "fed"  # the row of fed-back thoughts, under the layers
Shown = tuple[float | None, bool, bool]  # share, whether it is clear, whether it is zero by construction


def lens_maps(lens: LensSummary, side: str = "clean", run: Summary | None = None) -> Figure:
    """A map of layers (upwards) × sites for each target of one side: the share of pairs that are hit. Bold is clear.

    Args:
        run: the summary of the run that was read; with it a last map shows the share of pairs that switch where the
            vectors of that side are written.
    """
    cells = lens.of(side)
    other = "corrupted_answer" if side == "clean" else "clean_answer"  # of the side that was not run
    targets = sorted({cell.target for cell in cells} - {other}, key=lambda name: (not name.startswith("step"), name))
    sites = list(dict.fromkeys(cell.site for cell in cells if cell.hook == RESID_POST))
    layers = sorted({cell.layer for cell in cells if cell.hook == RESID_POST})
    rows = [*([FED] if any(cell.hook != RESID_POST for cell in cells) else []), *map(str, layers)]
    maps: list[tuple[str, Mapping[tuple[str, str], Shown]]] = [
        (target_label(target), {_row(cell): _hits(cell) for cell in cells if cell.target == target})
        for target in targets
    ]
    if run is not None and (written := _written(run, side)):
        maps.append(("written: pairs switch", written))
    title = f"Lens, {side} questions, {lens.used} pairs: {hit(lens)}. Bold: beyond every control"
    return _drawn(maps, rows, sites, title, "pairs")


def probe_maps(probes: ProbeSummary, run: Summary | None = None) -> Figure:
    """A map of layers (upwards) × sites for each target: R² or accuracy on pairs that were not trained on; below zero
    is drawn as zero. Bold is clear; with `run` a last map shows where clean vectors switch pairs."""
    cells = probes.cells
    sites = list(dict.fromkeys(cell.site for cell in cells if cell.hook == RESID_POST))
    layers = sorted({cell.layer for cell in cells if cell.hook == RESID_POST})
    rows = [*([FED] if any(cell.hook != RESID_POST for cell in cells) else []), *map(str, layers)]
    maps: list[tuple[str, Mapping[tuple[str, str], Shown]]] = [
        (
            probe_label(target),
            {
                _row(cell): (max(0.0, cell.score.mean or 0.0), cell.clear, False)
                for cell in cells
                if cell.target == target
            },
        )
        for target in dict.fromkeys(cell.target for cell in cells)
    ]
    if run is not None and (written := _written(run, "clean")):
        maps.append(("written: pairs switch", written))
    title = f"Probes, {probes.used} pairs: R² or accuracy, in percent. Bold: beyond shuffled labels"
    return _drawn(maps, rows, sites, title, "score or pairs")


def _drawn(
    maps: Sequence[tuple[str, Mapping[tuple[str, str], Shown]]],
    rows: Sequence[str],
    sites: Sequence[str],
    title: str,
    unit: str,
) -> Figure:
    """Maps of the same rows and sites, side by side."""
    across = min(ACROSS, len(maps))
    down = -(-len(maps) // across)
    with style():
        width = across * (CELL_WIDTH * len(sites) + 0.35) + BESIDE
        height = down * (min(HIGHEST, CELL_HEIGHT * len(rows)) + 0.75) + 0.3
        figure = Figure(figsize=(width, height), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False, sharey=True)
        image = None
        for each, (name, found) in zip(grid.flat, maps, strict=False):
            image = _draw(each, found, rows, sites)
            each.set_title(name, fontsize=8, pad=4)
        for each in grid.flat[len(maps) :]:
            each.set_axis_off()
        for each in grid[:, 0]:
            each.set_ylabel("Layer")
        add_bar(figure, image, HITS, np.ones(1), ax=grid, pad=0.01, fraction=0.05, aspect=12 * down)
        figure.axes[-1].set_ylabel(unit)
        figure.suptitle(title, x=0.01, ha="left", fontsize=9, fontweight="bold")
    return figure


def _hits(cell: LensCell) -> Shown:
    return cell.hits.share, cell.clear, False


def _row(cell: LensCell | ProbeCell) -> tuple[str, str]:
    return (str(cell.layer) if cell.hook == RESID_POST else FED), cell.site


def _written(run: Summary, side: str) -> dict[tuple[str, str], Shown]:
    """What the causal map has at the same places."""
    return {
        ((str(cell.layer) if cell.hook == RESID_POST else FED), cell.site): (
            cell.switched.share,
            is_clear(cell),
            cell.structural,
        )
        for cell in run.cells
        if (cell.experiment, cell.donor, cell.head) == ("position", PAIRED, None)
        and cell.hook in (RESID_POST, "thought")
        and SIDES[cell.direction] == side
    }


def _draw(axes: Axes, found: Mapping[tuple[str, str], Shown], rows: Sequence[str], sites: Sequence[str]) -> object:
    shown = np.full((len(rows), len(sites)), np.nan)
    sure, present, structural = np.zeros((3, *shown.shape), dtype=bool)
    for (row, site), (share, clear, dead) in found.items():
        if row in rows and site in sites:
            at = rows.index(row), sites.index(site)
            sure[at], present[at], structural[at] = clear, not dead, dead
            shown[at] = np.nan if dead or share is None else share
    colour_map, scale = colours(HITS, shown)
    image = axes.imshow(shown, cmap=colour_map, norm=scale, origin="lower", aspect="auto")
    mark_structural(axes, structural)
    separate_cells(axes, shown.shape)
    write_numbers(axes, shown, present, sure, HITS, colour_map, scale, 6.0)
    axes.set_xticks(range(len(sites)), sites, rotation=90 if max(map(len, sites)) > 2 else 0, fontsize=7)
    axes.set_yticks(range(len(rows)), rows)
    return image
