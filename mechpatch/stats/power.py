"""Planning: the smallest mean effect that a given number of pairs would find, from the spread seen in this run.

The effect is a share of the gap, and "find" means that a two-sided test at 5 % finds it four times in five. Two numbers
say what to expect: `typical` is for the cell with the median spread, tested alone; `worst` is for the cell with the
largest spread, tested together with all others under Bonferroni's correction, which is stricter than the false
discovery rate.
"""

import numpy as np

from mechpatch.stats.cells import Cells, Group
from mechpatch.stats.contrasts import number
from mechpatch.stats.estimates import minimum_detectable_effect, standard_deviation
from mechpatch.stats.summary_values import Detectable, Power, Spread

PLANNED = (10, 20, 30, 60, 100, 200, 500)
ALPHA = 0.05


def power(group: Group, cells: Cells) -> Power | None:
    """The smallest effects that pairs find in one experiment and direction; None where no cell has any spread."""
    values = cells.values("effect")
    used = int((~np.isnan(values)).any(axis=(1, 2)).sum())
    spread = standard_deviation(values)[~cells.structural]
    spread = spread[~np.isnan(spread)]
    if not spread.size or not spread.max() > 0:
        return None
    tested = int(spread.size) + cells.left_out
    typical, worst = float(np.median(spread)), float(spread.max())
    return Power(
        experiment=group.experiment,
        direction=group.direction,
        hook=group.hook,
        cells=tested,
        spread=Spread(typical=typical, worst=worst),
        detectable=tuple(
            Detectable(
                pairs=pairs,
                typical=_smallest(typical, pairs, ALPHA),
                worst=_smallest(worst, pairs, ALPHA / tested),
            )
            for pairs in (used, *PLANNED)
        ),
    )


def _smallest(spread: float, pairs: int, alpha: float) -> float | None:
    return number(minimum_detectable_effect(np.array(spread), np.array(pairs), alpha), ())
