"""The summary of a run, computed from nothing but its records."""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.catalogue import PAIRED
from mechpatch.stats import sets
from mechpatch.stats.cell_values import CellSummary, Share
from mechpatch.stats.cells import Cells, Group, answers_differ, at_thoughts, groups, nulls_beside, select
from mechpatch.stats.checks import checks
from mechpatch.stats.contrasts import LEVEL, Contrast, aligned, contrast, estimate_at, number, tested_at
from mechpatch.stats.directions import both_directions
from mechpatch.stats.estimates import (
    benjamini_hochberg,
    bootstrap_mean,
    effect_size,
    minimum_detectable_effect,
    sign_flip_p,
    standard_deviation,
)
from mechpatch.stats.power import power
from mechpatch.stats.summary_values import Counts, Summary
from mechpatch.stats.switching import switching

TOP = 5
INTERVALS = ("effect", "recovery", "answer_logprob_change", "kl_divergence")


def summarise(
    table: pa.Table,
    seed: int,
    include_incorrect: bool = False,
    tolerance: float = 1e-3,
) -> Summary:
    """Means, intervals, tests and checks of every cell; None stands for what is NaN or infinite.

    The headline of a cell is `switched` and `neither`: how many pairs change their answer (see
    `mechpatch.stats.switching`). `effect` is the share of the clean-corrupted gap that the patch moved: `recovery` for
    denoise, 1 − recovery for noise. `p` tests `answer_logprob_change`, which is defined for every pair, and `q` is its
    false discovery rate among the non-structural cells of the same experiment, direction, donor and hook point, all its
    heads together.

    Differences are taken pair by pair, and each has p and q of its own. `beyond` holds the effect minus that of each
    null donor at the same cell; `sets`, what a set does beyond its parts (see `mechpatch.stats.sets`); `directions`,
    sufficiency minus necessity. `planning` says what a given number of pairs would find. `top` holds, for each
    experiment, direction and hook point, the cells at which most pairs switch; `Summary.leading` chooses from it.

    Args:
        table: the records of one run.
        seed: the seed of resamples and sign flips.
        include_incorrect: use pairs that the unpatched model gets wrong, too.
        tolerance: the largest difference, in nats or logits, between two computations that must agree.

    Raises:
        StorageError: the records lack a column or hold a cell twice.
    """
    found = groups(table)
    laid_out = {group: select(table, group, include_incorrect) for group in found}
    described = _described(laid_out, seed)
    counts = _counts(table, include_incorrect)
    powers = [power(group, cells) for group, cells in laid_out.items() if group.donor == PAIRED]
    return Summary(
        counts=counts,
        note=_note(counts, include_incorrect),
        include_incorrect=include_incorrect,
        seed=seed,
        level=LEVEL,
        tolerance=tolerance,
        cells=tuple(described),
        top=tuple(cell for group in found if group.donor == PAIRED for cell in _top(group, described)),
        directions=tuple(both_directions(laid_out, seed)),
        sets_notes=tuple(sets.notes(found)),
        planning=tuple(each for each in powers if each is not None),
        checks=tuple(checks(table, include_incorrect, tolerance)),
    )


def summarise_cells(table: pa.Table, seed: int, include_incorrect: bool = False) -> list[CellSummary]:
    """The cells of `summarise` alone: for a part of the pairs, where the rest of a summary is not asked for."""
    return _described({group: select(table, group, include_incorrect) for group in groups(table)}, seed)


def _described(laid_out: Mapping[Group, Cells], seed: int) -> list[CellSummary]:
    effects = {group: cells.values("effect") for group, cells in laid_out.items()}
    return [
        cell
        for group, cells in laid_out.items()
        for cell in _describe(
            group,
            cells,
            _beyond_nulls(group, laid_out, effects, seed),
            sets.beyond_parts(group, laid_out, seed),
            switching(group, laid_out),
            seed,
        )
    ]


def _counts(table: pa.Table, include_incorrect: bool) -> Counts:
    def distinct(rows: pa.Table) -> int:
        return len(rows["pair_index"].unique())

    correct = table.filter(pc.field("both_correct"))
    used = table if include_incorrect else correct
    return Counts(
        pairs=distinct(table),
        both_correct=distinct(correct),
        used=distinct(used),
        switchable=distinct(correct.filter(pa.array(answers_differ(correct)))),
        undefined_recovery=distinct(used.filter(pc.field("recovery").is_null(nan_is_null=True))),
    )


def _note(counts: Counts, include_incorrect: bool) -> str | None:
    if counts.used:
        return None
    if include_incorrect:
        return "There are no records: nothing was run."
    return (
        f"The unpatched model answers none of the {counts.pairs} pairs right on both sides, so no mean is given; "
        "--include-incorrect uses them all the same."
    )


def _describe(
    group: Group,
    cells: Cells,
    beyond: dict[str, Contrast],
    parts: list[list[sets.Beyond]],
    shares: list[list[dict[str, Share]]],
    seed: int,
) -> Iterator[CellSummary]:
    values = {name: cells.values(name) for name in INTERVALS}
    intervals = {name: bootstrap_mean(value, seed, LEVEL) for name, value in values.items()}
    p = sign_flip_p(values["answer_logprob_change"], seed)
    q = benjamini_hochberg(np.where(cells.structural, np.nan, p))
    size = effect_size(values["effect"])
    detectable = minimum_detectable_effect(standard_deviation(values["effect"]), intervals["effect"].n)
    for at in np.ndindex(cells.structural.shape):
        row, column = at
        yield CellSummary(
            **group._asdict(),
            layer=int(cells.layers[row]),
            width=cells.width,
            **cells.columns[column]._asdict(),
            structural=bool(cells.structural[at]),
            switched=shares[row][column]["switched"],
            neither=shares[row][column]["neither"],
            effect=estimate_at(intervals["effect"], at),
            recovery=estimate_at(intervals["recovery"], at),
            answer_logprob_change=estimate_at(intervals["answer_logprob_change"], at),
            kl_divergence=estimate_at(intervals["kl_divergence"], at),
            p=number(p, at),
            q=number(q, at),
            effect_size=number(size, at),
            minimum_detectable_effect=number(detectable, at),
            beyond={donor: tested_at(each, at) for donor, each in beyond.items()},
            sets=parts[row][column],
        )


def _beyond_nulls(
    group: Group, laid_out: Mapping[Group, Cells], effects: Mapping[Group, np.ndarray], seed: int
) -> dict[str, Contrast]:
    """For each null donor, the effect in the cells of `group` minus that donor's; empty for a null donor's group."""
    cells = laid_out[group]
    return {
        donor: contrast(
            effects[group] - aligned(cells, other, effects[group._replace(donor=donor)]), cells.structural, seed
        )
        for donor, other in nulls_beside(group, laid_out).items()
    }


def _top(group: Group, described: list[CellSummary]) -> list[CellSummary]:
    """The cells of the group at which most pairs switch; where equally many do, the larger mean effect comes first.

    The best cell that writes at thoughts alone comes before all others, because it is no finding that the last token
    before the answer carries the answer. Cells that are zero by construction are left out.
    """
    measured = [
        cell
        for cell in described
        if Group(cell.experiment, cell.direction, cell.donor, cell.hook) == group
        and not cell.structural
        and (cell.switched.n or cell.effect.n)
    ]
    ranked = sorted(measured, key=lambda cell: (-(cell.switched.share or 0), -abs(cell.effect.mean or 0)))
    best = next((cell for cell in ranked if at_thoughts(cell.site)), None)
    return sorted(ranked, key=lambda cell: cell is not best)[:TOP]
