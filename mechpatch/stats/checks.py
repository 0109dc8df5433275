"""What the records of a run say about themselves: identities that must hold, and relations that are worth knowing.

Identities are checked on every pair, relations on the pairs that the headline means use.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from mechpatch.catalogue import PAIRED
from mechpatch.stats.cells import ALL, JOIN, Cells, Column, Group, groups, select
from mechpatch.stats.contrasts import number
from mechpatch.stats.estimates import rank_correlation
from mechpatch.stats.summary_values import Check, LayerSum

RANKED = ("layer", "position", "relay", "cumulative")  # whose order of the layers is compared
Slice = Float[np.ndarray, "pair layer"]
Read = Callable[[Cells], Slice]


def checks(table: pa.Table, include_incorrect: bool, tolerance: float) -> list[Check]:
    """Every check that the experiments in `table` allow."""
    found = groups(table)
    results = _baselines(table, tolerance)
    for direction, hook in sorted({(group.direction, group.hook) for group in found}):
        of_both = [group for group in found if (group.direction, group.hook) == (direction, hook)]
        whole = {group: select(table, group, include_incorrect=True) for group in of_both}
        heads = sorted({head for cells in whole.values() for head in cells.heads})
        paired = [group for group in of_both if group.donor == PAIRED]
        own = table.filter((pc.field("direction") == direction) & (pc.field("hook") == hook))
        parts = [] if len(paired) < 2 else heads or [None]  # what two experiments write alike
        if any(whole[group].left_out for group in paired):  # what a screen ran is too thin to be compared
            parts = []
        identities = [_same_cells(_laid_out(own, paired, head), tolerance) for head in parts]
        identities.append(_zero_cells(whole, tolerance))
        used = {} if heads else {group.experiment: select(table, group, include_incorrect) for group in paired}
        relations = (*_kl_sum(used), *_layer_ranks(used))
        results += [replace(check, direction=direction, hook=hook) for check in (*_worst(identities), *relations)]
    return results


def _laid_out(table: pa.Table, groups: Sequence[Group], head: int | None) -> dict[str, Cells]:
    """The cells of one head or neuron, by experiment, for every pair."""
    return {group.experiment: select(table, group, include_incorrect=True, head=head) for group in groups}


def _worst(found: Iterable[Iterable[Check]]) -> list[Check]:
    """Each identity once, with the largest value that any head or neuron has."""
    worst: dict[str, Check] = {}
    for check in (check for checks in found for check in checks):
        if check.name not in worst or (check.value or 0.0) > (worst[check.name].value or 0.0):
            worst[check.name] = check
    return list(worst.values())


def _asserted(name: str, value: float, tolerance: float, explanation: str) -> Check:
    return Check(
        name=name,
        direction=None,
        hook=None,
        kind="asserted",
        value=value,
        tolerance=tolerance,
        holds=value <= tolerance,
        explanation=explanation,
    )


def _reported(name: str, value: float | None, explanation: str) -> Check:
    return Check(
        name=name,
        direction=None,
        hook=None,
        kind="reported",
        value=value,
        tolerance=None,
        holds=None,
        explanation=explanation,
    )


def _baselines(table: pa.Table, tolerance: float) -> list[Check]:
    """Largest spread of any unpatched value within a pair, over all experiments, directions and donors."""
    names = [name for name in table.column_names if name.endswith(("_clean_run", "_corrupted_run"))]
    names = [name for name in names if pa.types.is_floating(table.schema.field(name).type)]
    extremes = table.group_by("pair_index").aggregate([(name, how) for name in names for how in ("min", "max")])
    spread = _largest(extremes[f"{name}_max"].to_numpy() - extremes[f"{name}_min"].to_numpy() for name in names)
    if spread is None:
        return []
    explanation = "Unpatched values of a pair are the same in every experiment: largest difference within a pair."
    return [_asserted("baselines_agree", spread, tolerance, explanation)]


def _same_cells(paired: dict[str, Cells], tolerance: float) -> list[Check]:
    """Experiments that write the same vectors at the same site must give the same values."""
    laws: list[tuple[str, str, Read, str, Read, str]] = [
        ("cumulative_end_is_layer_wise", "cumulative", _last_step, "layer", _every_thought,
         "The last cumulative step writes every thought, as layer-wise does"),
        ("cumulative_start_is_position_0", "cumulative", _first_thought, "position", _first_thought,
         "Cumulative step 0 writes thought 0 alone, as position-wise does"),
        ("relay_start_is_position_0", "relay", _first_thought, "position", _first_thought,
         "Relay step 0 writes thought 0 alone, as position-wise does"),
        ("pair_of_first_thoughts_is_cumulative_1", "pairwise", _first_two, "cumulative", _second_step,
         "Writing thoughts 0 and 1 as a pair does what cumulative step 1 does"),
        ("leaving_out_the_last_is_cumulative", "leave_one_out", _last_step, "cumulative", _last_step_but_one,
         "Leaving out the last thought writes what the last cumulative step but one does"),
    ]  # fmt: skip
    results = []
    for name, one, read_one, other, read_other, explanation in laws:
        if one in paired and other in paired:
            a, b = paired[one], paired[other]
            _, pair_a, pair_b = np.intersect1d(a.pairs, b.pairs, return_indices=True)
            _, layer_a, layer_b = np.intersect1d(a.layers, b.layers, return_indices=True)
            difference = _largest(
                [np.abs(read_one(a)[np.ix_(pair_a, layer_a)] - read_other(b)[np.ix_(pair_b, layer_b)])]
            )
            if difference is not None:
                explanation += ": largest difference of answer_logprob_diff."
                results.append(_asserted(name, difference, tolerance, explanation))
    return results


def _zero_cells(whole: dict[Group, Cells], tolerance: float) -> list[Check]:
    """Nothing may move in structural cells, nor where a run's own vectors are written back."""
    changes = {group: np.abs(cells.values("answer_logprob_change")) for group, cells in whole.items()}
    structural = [changes[group][cells.values("structural") == 1] for group, cells in whole.items()]
    unpatched = [change for group, change in changes.items() if group.donor == "self"]
    results = []
    for name, moved, explanation in (
        ("structural_cells_unmoved", structural, "Cells that are zero by construction"),
        ("self_donor_moves_nothing", unpatched, "A run's own vectors, written back"),
    ):
        largest = _largest(moved)
        if largest is not None:
            explanation += " leave the answer as it was: largest change of answer_logprob_diff."
            results.append(_asserted(name, largest, tolerance, explanation))
    return results


def _kl_sum(used: dict[str, Cells]) -> list[Check]:
    """Do single thoughts add up to all thoughts? One ratio over all layers, and both numbers for each layer."""
    if not {"layer", "position"} <= used.keys():
        return []
    position, layer = used["position"], used["layer"]
    _, of_position, of_layer = np.intersect1d(position.pairs, layer.pairs, return_indices=True)
    single = _mean_over_pairs(sum_of_thoughts(position.values("kl_divergence")[:, :, position.thoughts])[of_position])
    together = _mean_over_pairs(_at(layer, Column(ALL, 0), "kl_divergence")[of_layer])
    layers, at_single, at_together = np.intersect1d(position.layers, layer.layers, return_indices=True)
    single, together = single[at_single], together[at_together]
    total = together.sum()
    check = _reported(
        "kl_sum_of_positions_over_all_positions",
        float(single.sum() / total) if total > 0 else None,
        "Sum of the KL divergences of single thoughts, divided by that of all thoughts at once. KL grows with the "
        "square of a small shift, so K thoughts that each shift the answer alike and alone give about 1/K, not 1.",
    )
    per_layer = tuple(
        LayerSum(layer=int(index), sum_of_positions=number(single, (at,)), all_positions=number(together, (at,)))
        for at, index in enumerate(layers)
    )
    return [replace(check, per_layer=per_layer)]


def sum_of_thoughts(singles: Float[np.ndarray, "pair layer thought"]) -> Slice:
    """Sum over the thoughts of each pair, which may have fewer than others; NaN where none was run."""
    return np.where(np.isnan(singles).all(axis=2), np.nan, np.nansum(singles, axis=2))


def _layer_ranks(used: dict[str, Cells]) -> list[Check]:
    """Do two experiments order the layers alike? Each layer counts with the mean effect of its non-structural cells."""
    profiles = {name: _profile(used[name]) for name in RANKED if name in used}
    results = []
    for one, other in combinations(profiles, 2):
        _, at_one, at_other = np.intersect1d(used[one].layers, used[other].layers, return_indices=True)
        results.append(
            _reported(
                f"rank_correlation_of_layers_{one}_{other}",
                rank_correlation(profiles[one][at_one], profiles[other][at_other]),
                f"Spearman's ρ between the mean effects by layer of {one} and {other}.",
            )
        )
    return results


def _profile(cells: Cells) -> Float[np.ndarray, " layer"]:
    means = np.where(cells.structural, np.nan, _mean_over_pairs(cells.values("effect")))
    return _mean_over_pairs(means.T)


def _at(cells: Cells, column: Column, metric: str = "answer_logprob_diff") -> Slice:
    """One column; NaN throughout where the run does not have it."""
    names = [each._replace(head=None) for each in cells.columns]  # of one head, or of none
    if column not in names:
        return np.full((len(cells.pairs), len(cells.layers)), np.nan)
    return cells.values(metric)[:, :, names.index(column)]


def _every_thought(cells: Cells) -> Slice:
    return _at(cells, Column(ALL, 0))


def _first_thought(cells: Cells) -> Slice:
    return _at(cells, Column("t0", 0))


def _first_two(cells: Cells) -> Slice:
    return _at(cells, Column(f"t0{JOIN}t1", 0))


def _second_step(cells: Cells) -> Slice:
    return _at(cells, Column("t1", 1))


def _last_step(cells: Cells) -> Slice:
    return last_step(cells.values("answer_logprob_diff"))


def _last_step_but_one(cells: Cells) -> Slice:
    return last_step(cells.values("answer_logprob_diff"), back=1)


def last_step(values: Float[np.ndarray, "pair layer step"], back: int = 0) -> Slice:
    """The value of each pair's last step but `back` at each layer; pairs may have unequally many steps."""
    at = values.shape[2] - 1 - back - np.argmax(~np.isnan(values[:, :, ::-1]), axis=2)
    found = np.take_along_axis(values, np.maximum(at, 0)[:, :, None], axis=2)[:, :, 0]
    return np.where(at >= 0, found, np.nan)


def _largest(arrays: Iterable[np.ndarray]) -> float | None:
    """The largest defined value; None where there are none."""
    return max((float(np.nanmax(array)) for array in arrays if (~np.isnan(array)).any()), default=None)


def _mean_over_pairs(values: Float[np.ndarray, " pair *cell"]) -> Float[np.ndarray, "*cell"]:
    """Mean of the defined values; NaN where there are none."""
    n = (~np.isnan(values)).sum(axis=0)
    return np.divide(np.nansum(values, axis=0), n, out=np.full(values.shape[1:], np.nan), where=n > 0)
