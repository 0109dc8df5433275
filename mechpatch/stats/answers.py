"""Experiments that ask for answers: how many pairs keep theirs, give the other side's, the expected one, or neither.

They have donors of their own, and no cell of theirs is an effect on the gap; what they share with the others is that
each share is held against the controls that were run beside it, pair by pair.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from mechpatch.kinds import kind_of
from mechpatch.reprs import short_repr
from mechpatch.stats.cell_values import CellAddress, Estimate, Share
from mechpatch.stats.cells import Cells, Group
from mechpatch.stats.contrasts import LEVEL, estimate_at
from mechpatch.stats.estimates import bootstrap_mean
from mechpatch.stats.switching import shares_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerCell(CellAddress):
    """What pairs answer at one cell with one donor.

    Attributes:
        kept: pairs that keep the run's own right answer, of those that the unpatched model gets right on both sides.
        switched, neither: as `CellSummary` has them.
        followed: pairs that give the expected answer, of those whose expected answer is not their own.
        expected_logprob_change: nats, of the expected answer, against the run that was patched.
        answer_logprob_change: nats, of the clean answer less the corrupted one.
    """

    structural: bool
    kept: Share
    switched: Share
    neither: Share
    followed: Share
    expected_logprob_change: Estimate
    answer_logprob_change: Estimate

    __repr__ = short_repr


SHARES = ("kept", "switched", "neither", "followed")
MEANS = ("expected_logprob_change", "answer_logprob_change")


def asks_for_answers(group: Group) -> bool:
    """Whether an experiment has donors of its own, and is told by answers."""
    return bool(kind_of(group.experiment).donors)


def answer_cells(laid_out: Mapping[Group, Cells], seed: int) -> Iterator[AnswerCell]:
    """The cells of all experiments that ask for answers."""
    for group, cells in laid_out.items():
        if not asks_for_answers(group):
            continue
        shares = shares_of(group, laid_out, SHARES)
        expected, answer = (bootstrap_mean(cells.values(name), seed, LEVEL) for name in MEANS)
        for at in np.ndindex(cells.structural.shape):
            row, column = at
            yield AnswerCell(
                **group._asdict(),
                layer=int(cells.layers[row]),
                width=cells.width,
                **cells.columns[column]._asdict(),
                structural=bool(cells.structural[at]),
                **shares[row][column],
                expected_logprob_change=estimate_at(expected, at),
                answer_logprob_change=estimate_at(answer, at),
            )
