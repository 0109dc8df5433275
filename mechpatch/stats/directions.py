"""Sufficiency and necessity of each cell: what clean vectors restore there, and what corrupted vectors destroy there.

Both are shares of the gap between the clean and the corrupted run of a pair. Where sufficiency is larger than
necessity, other cells can do the work of this one.
"""

from collections.abc import Mapping

from mechpatch.catalogue import PAIRED
from mechpatch.stats.cells import Cells, Group, nulls_beside
from mechpatch.stats.contrasts import LEVEL, against, aligned, estimate_at, held_at
from mechpatch.stats.estimates import bootstrap_mean
from mechpatch.stats.summary_values import DirectionPair


def both_directions(laid_out: Mapping[Group, Cells], seed: int) -> list[DirectionPair]:
    """Sufficiency, necessity and their difference pair by pair, for each cell that was patched in both directions."""
    found: list[DirectionPair] = []
    for group, cells in laid_out.items():
        other = laid_out.get(group._replace(direction="noise"))
        if group.direction != "denoise" or group.donor != PAIRED or other is None:
            continue
        restored = cells.values("effect")
        destroyed = aligned(cells, other, other.values("effect"))
        opposite = nulls_beside(group._replace(direction="noise"), laid_out)
        nulls = {
            donor: aligned(cells, null, null.values("effect"))
            - aligned(cells, opposite[donor], opposite[donor].values("effect"))
            for donor, null in nulls_beside(group, laid_out).items()
            if donor in opposite
        }
        sufficiency, necessity = bootstrap_mean(restored, seed, LEVEL), bootstrap_mean(destroyed, seed, LEVEL)
        difference = against(restored - destroyed, nulls, cells.structural, seed, cells.left_out)
        found += [
            DirectionPair(
                experiment=group.experiment,
                hook=group.hook,
                head=column.head,
                layer=int(layer),
                width=cells.width,
                site=column.site,
                step=column.step,
                structural=bool(cells.structural[row, index]),
                sufficiency=estimate_at(sufficiency, (row, index)),
                necessity=estimate_at(necessity, (row, index)),
                difference=held_at(difference, (row, index)),
            )
            for row, layer in enumerate(cells.layers)
            for index, column in enumerate(cells.columns)
            if cells.run[row, index]
        ]
    return found
