"""What probes find at which place: score on pairs that they were not trained on, beyond probes of shuffled labels."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import Estimate, Tested
from mechpatch.stats.clear import differs
from mechpatch.stats.contrasts import contrast, estimate_at, tested_at
from mechpatch.stats.estimates import bootstrap_mean

SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeCell:
    """One target at one place.

    Attributes:
        numeric: whether the score is R²; else it is the share of questions whose class is found.
        score: mean over pairs of the mean of both questions, out of fold.
        control: the same with shuffled labels.
        selectivity: score − control, pair by pair; p flips the signs of pairs, q is over all targets and places.
    """

    target: str
    numeric: bool
    hook: str
    layer: int
    site: str
    score: Estimate
    control: float
    selectivity: Tested

    __repr__ = short_repr

    @property
    def clear(self) -> bool:
        """Whether it may be said that a linear readout finds the target there."""
        return differs(self.selectivity) and self.selectivity.sign > 0 and (self.score.mean or 0.0) > 0

    @property
    def place(self) -> tuple[str, int, str]:
        return self.hook, self.layer, self.site


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSummary:
    """What a table of probes says; cells in the order of the table."""

    include_incorrect: bool
    pairs: int
    used: int
    cells: tuple[ProbeCell, ...]

    __repr__ = short_repr

    def of(self, side: str) -> list[ProbeCell]:
        """Every cell: probes are of both sides at once."""
        return [*self.cells]


def summarise_probes(table: pa.Table, include_incorrect: bool = False) -> ProbeSummary:
    """Means over pairs of a table of `mechpatch.readings.probes`; pairs that are wrong trained, and are not scored."""
    used = table if include_incorrect else table.filter(pc.field("both_correct"))
    keys = ["target", "numeric", "hook", "layer", "site"]
    order = [*dict.fromkeys(zip(*(table[name].to_pylist() for name in keys), strict=True))]
    at = {key: place for place, key in enumerate(order)}
    cell_of = np.array([at[key] for key in zip(*(used[name].to_pylist() for name in keys), strict=True)], dtype=int)
    pairs, pair_of = np.unique(used["pair_index"].to_numpy(), return_inverse=True)
    count = np.zeros((len(pairs), len(order)))
    np.add.at(count, (pair_of, cell_of), 1)

    def grid(name: str) -> np.ndarray:
        total = np.zeros(count.shape)
        np.add.at(total, (pair_of, cell_of), used[name].to_numpy())
        return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)

    score, control = grid("score"), grid("control")
    own = bootstrap_mean(score, SEED)
    found = contrast(score - control, np.zeros(len(order), dtype=bool), SEED)
    return ProbeSummary(
        include_incorrect=include_incorrect,
        pairs=len(table["pair_index"].unique()),
        used=len(pairs),
        cells=tuple(
            ProbeCell(
                **dict(zip(keys, key, strict=True)),
                score=estimate_at(own, (place,)),
                control=float(np.nanmean(control[:, place])) if own.n[place] else float("nan"),
                selectivity=tested_at(found, (place,)),
            )
            for place, key in enumerate(order)
        ),
    )
