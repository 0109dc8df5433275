"""The summary of a run, computed from nothing but its records."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.catalogue import PAIRED
from mechpatch.stats import sets
from mechpatch.stats.answers import answer_cells, asks_for_answers
from mechpatch.stats.cell_values import CellSummary, Estimate, Held, Share
from mechpatch.stats.cells import Cells, Group, answers_differ, at_thoughts, groups, nulls_beside, select
from mechpatch.stats.checks import checks
from mechpatch.stats.contrasts import LEVEL, Against, against, aligned, estimate_at, held_at, number
from mechpatch.stats.directions import both_directions
from mechpatch.stats.estimates import bootstrap_mean, effect_size, minimum_detectable_effect, standard_deviation
from mechpatch.stats.maximum import best_cells
from mechpatch.stats.others import other_answers
from mechpatch.stats.power import power
from mechpatch.stats.screens import screens
from mechpatch.stats.summary_values import Counts, Summary
from mechpatch.stats.switching import switching
from mechpatch.storage.choices import Choice

TOP = 5
HELD = ("effect", "answer_logprob_change")  # against the null donors


def summarise(
    table: pa.Table,
    seed: int,
    include_incorrect: bool = False,
    tolerance: float = 1e-3,
    choices: Sequence[Choice] = (),
) -> Summary:
    """Means, intervals, tests and checks of every cell; None stands for what is NaN or infinite.

    The headline of a cell is `switched` and `neither`: how many pairs change their answer (see
    `mechpatch.stats.switching`). `effect` is the share of the clean-corrupted gap that the patch moved: `recovery` for
    denoise, 1 − recovery for noise. Each of these, and `answer_logprob_change`, has a test of its own and is held
    against every null donor at the same cell, pair by pair; `beyond_every` is the joint test that
    `mechpatch.stats.clear` reads. q is a false discovery rate among the non-structural cells of the same experiment,
    direction, donor and hook point, all its heads or neurons together.

    `sets` says what a set does beyond its parts (see `mechpatch.stats.sets`); `directions`, sufficiency minus
    necessity; `best`, the largest share of each map with an interval that knows it was chosen (see
    `mechpatch.stats.maximum`). `planning` says what a given number of pairs would find. `top` holds, for each
    experiment, direction and hook point, the cells at which most pairs switch; `Summary.leading` chooses from it.

    Args:
        table: the records of one run.
        seed: the seed of resamples and sign flips.
        include_incorrect: use pairs that the unpatched model gets wrong, too.
        tolerance: the largest difference, in nats or logits, between two computations that must agree.
        choices: what a screen chose; `screens` says what it missed.

    Raises:
        StorageError: the records lack a column or hold a cell twice.
    """
    found = groups(table)
    asking = {group: select(table, group, include_incorrect) for group in found if asks_for_answers(group)}
    found = [group for group in found if group not in asking]
    laid_out = {group: select(table, group, include_incorrect) for group in found}
    described = _described(laid_out, seed)
    counts = _counts(table, include_incorrect)
    top = [cell for group in found if group.donor == PAIRED for cell in _top(group, described)]
    powers = [power(group, cells) for group, cells in laid_out.items() if group.donor == PAIRED]
    summary = Summary(
        counts=counts,
        note=_note(counts, include_incorrect),
        include_incorrect=include_incorrect,
        seed=seed,
        level=LEVEL,
        tolerance=tolerance,
        cells=tuple(described),
        answers=tuple(answer_cells(asking, seed)),
        top=tuple(top),
        best=tuple(best_cells(laid_out, top, seed)),
        directions=tuple(both_directions(laid_out, seed)),
        sets_notes=tuple(sets.notes(found)),
        planning=tuple(each for each in powers if each is not None),
        checks=tuple(checks(table, include_incorrect, tolerance)),
        screens=tuple(screens(choices, described)),
    )
    return replace(summary, others=tuple(other_answers(table, summary.leading())))


def summarise_cells(table: pa.Table, seed: int, include_incorrect: bool = False) -> list[CellSummary]:
    """The cells of `summarise` alone: for a part of the pairs, where the rest of a summary is not asked for."""
    return _described({group: select(table, group, include_incorrect) for group in groups(table)}, seed)


def _described(laid_out: Mapping[Group, Cells], seed: int) -> list[CellSummary]:
    return [
        cell
        for group, cells in laid_out.items()
        for cell in _describe(
            group,
            cells,
            {name: _held(name, group, laid_out, seed) for name in HELD},
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
    held: Mapping[str, Against],
    parts: list[list[sets.Beyond]],
    shares: list[list[dict[str, Share]]],
    seed: int,
) -> Iterator[CellSummary]:
    divergence = bootstrap_mean(cells.values("kl_divergence"), seed, LEVEL)
    values = cells.values("effect")
    detectable = minimum_detectable_effect(standard_deviation(values), held["effect"].own.interval.n)
    size = effect_size(values)
    for at in map(tuple, np.argwhere(cells.run).tolist()):
        row, column = at
        effect = held_at(held["effect"], at)
        yield CellSummary(
            **group._asdict(),
            layer=int(cells.layers[row]),
            width=cells.width,
            **cells.columns[column]._asdict(),
            structural=bool(cells.structural[at]),
            switched=shares[row][column]["switched"],
            neither=shares[row][column]["neither"],
            effect=effect,
            recovery=_recovery(effect, group.direction),
            answer_logprob_change=held_at(held["answer_logprob_change"], at),
            kl_divergence=estimate_at(divergence, at),
            effect_size=number(size, at),
            minimum_detectable_effect=number(detectable, at),
            sets=parts[row][column],
        )


def _recovery(effect: Held, direction: str) -> Estimate:
    """The share of the gap that is closed, from the share that is moved: for noise the rest of it."""
    limits = effect.mean, effect.low, effect.high
    if direction == "noise":
        mean, high, low = (None if limit is None else 1 - limit for limit in limits)
    else:
        mean, low, high = limits
    return Estimate(mean=mean, low=low, high=high, n=effect.n, method=effect.method)


def _held(name: str, group: Group, laid_out: Mapping[Group, Cells], seed: int) -> Against:
    """A measure of each cell of `group`, held against that of each null donor."""
    cells = laid_out[group]
    nulls = {donor: aligned(cells, null, null.values(name)) for donor, null in nulls_beside(group, laid_out).items()}
    return against(cells.values(name), nulls, cells.structural, seed, cells.left_out)


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
