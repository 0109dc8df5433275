"""How many pairs an effect needs: the smallest mean that so many pairs would find, from the spread seen in this run.

A share of the gap that two-sided tests at 5 % find four times in five. Two figures for each number of pairs bound what
to expect: `typical` for a cell of median spread, tested alone; `worst` for the cell of largest spread, tested with all
the others under Bonferroni's correction, which asks more than the false discovery rate does.
"""

from typing import Any

import numpy as np

from mechpatch.stats.cells import Cells, Group
from mechpatch.stats.contrasts import number
from mechpatch.stats.estimates import minimum_detectable_effect, standard_deviation

PLANNED = (10, 20, 30, 60, 100, 200, 500)
ALPHA = 0.05


def plan(group: Group, cells: Cells) -> dict[str, Any] | None:
    """Detectable effects of one experiment and direction; None where no cell has a spread.

    {experiment, direction, cells, spread: {typical, worst}, detectable: [{pairs, typical, worst}]}; the first entry of
    `detectable` is for the pairs that were used.
    """
    spread = standard_deviation(cells.values("effect"))[~cells.structural]
    spread = spread[~np.isnan(spread)]
    if not spread.size or not spread.max() > 0:
        return None
    typical, worst = float(np.median(spread)), float(spread.max())
    return {
        "experiment": group.experiment,
        "direction": group.direction,
        "cells": int(spread.size),
        "spread": {"typical": typical, "worst": worst},
        "detectable": [
            {
                "pairs": pairs,
                "typical": _smallest(typical, pairs, ALPHA),
                "worst": _smallest(worst, pairs, ALPHA / spread.size),
            }
            for pairs in (len(cells.pairs), *PLANNED)
        ],
    }


def _smallest(spread: float, pairs: int, alpha: float) -> float | None:
    return number(minimum_detectable_effect(np.array(spread), np.array(pairs), alpha), ())
