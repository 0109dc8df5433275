"""Sufficiency beside necessity: what the clean vectors restore, and what the corrupted ones destroy, at the same cell.

Both are shares of the same gap of the same pair. Where the first is larger, other places can stand in for this one.
"""

from collections.abc import Mapping
from typing import Any

from mechpatch.catalogue import PAIRED
from mechpatch.stats.cells import Cells, Group
from mechpatch.stats.contrasts import LEVEL, aligned, contrast, contrast_entry, interval_entry
from mechpatch.stats.estimates import bootstrap_mean


def both_directions(laid_out: Mapping[Group, Cells], seed: int) -> list[dict[str, Any]]:
    """One entry for each cell that was patched in both directions; none where only one was run.

    {experiment, layer, width, site, step, structural, sufficiency, necessity, difference}: the mean effects with their
    intervals, and sufficiency − necessity, pair by pair, tested.
    """
    found = []
    for group, cells in laid_out.items():
        other = laid_out.get(group._replace(direction="noise"))
        if group.direction != "denoise" or group.donor != PAIRED or other is None:
            continue
        restored = cells.values("effect")
        destroyed = aligned(cells, other, other.values("effect"))
        sufficiency, necessity = bootstrap_mean(restored, seed, LEVEL), bootstrap_mean(destroyed, seed, LEVEL)
        difference = contrast(restored - destroyed, cells.structural, seed)
        found += [
            {
                "experiment": group.experiment,
                "layer": int(layer),
                "width": cells.width,
                **column._asdict(),
                "structural": bool(cells.structural[row, index]),
                "sufficiency": interval_entry(sufficiency, (row, index)),
                "necessity": interval_entry(necessity, (row, index)),
                "difference": contrast_entry(difference, (row, index)),
            }
            for row, layer in enumerate(cells.layers)
            for index, column in enumerate(cells.columns)
        ]
    return found
