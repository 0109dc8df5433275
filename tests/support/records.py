"""Synthetic records of a run in which the answer is known to sit at one layer and thought."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

LANDMARKS = ("bot", "eot", "answer")


def make_records(
    *,
    layers: int = 4,
    thoughts: int = 5,
    landmarks: bool = True,
    pairs: int = 30,
    experiments: Sequence[str] = ("layer", "position", "relay", "cumulative"),
    directions: Sequence[str] = ("denoise",),
    nulls: Sequence[str] = (),
    strength: float = 0.8,
    peak: tuple[int, int] | None = None,
    spread: float = 0.1,
    feedback: bool = True,
    redundant: bool = True,
    incorrect: int = 0,
    undefined: int = 0,
    seed: int = 0,
) -> pa.Table:
    """Records with a bump of recovery around `peak` (layer, thought; the middle by default).

    Args:
        layers, thoughts, pairs: how many of each.
        landmarks: also patch bot, eot and answer in the position-wise experiment; they carry nothing.
        nulls: donors that are run beside the paired one; they move nothing (`self` exactly, the others within noise).
        strength: mean recovery at the peak; 0 plants no effect.
        spread: standard deviation over pairs of a cell's recovery.
        feedback: False makes relay steps after the first, and thoughts at the last layer, zero by construction.
        redundant: two thoughts at once do nine tenths of what they do alone; otherwise exactly the sum.
        incorrect: how many of the pairs the unpatched model gets wrong.
        undefined: how many of the pairs have no defined recovery.
    """
    generator = np.random.default_rng(seed)
    peak_layer, peak_thought = peak or (layers // 2, thoughts // 2)
    near = np.exp(-(((np.arange(layers) - peak_layer) / (layers / 6)) ** 2))
    share = np.exp(-(((np.arange(thoughts) - peak_thought) / 0.8) ** 2))
    single = strength * near[:, None] * share / share.sum()  # layer x thought
    clean = generator.normal(6.0, 0.5, pairs)
    corrupted = generator.normal(-6.0, 0.5, pairs)

    def cells(experiment: str) -> list[tuple[int, str, int, int, float, bool]]:
        """(layer, site, site_index, step, mean recovery, structural) of one experiment."""
        found = []
        for layer in range(layers):
            blocked = not feedback and layer == layers - 1
            if experiment == "layer":
                found.append((layer, "all", 0, 0, float(single[layer].sum()), blocked))
                continue
            if experiment == "position" and landmarks:
                found.append((layer, "bot", 0, 0, 0.0, False))
                found.append((layer, "eot", thoughts + 1, 0, 0.0, blocked))
                found.append((layer, "answer", thoughts + 2, 0, 0.0, False))
            if experiment == "pairwise":
                for place, (one, other) in enumerate(combinations(range(thoughts), 2), start=thoughts + 3):
                    mean = (0.9 if redundant else 1.0) * float(single[layer, one] + single[layer, other])
                    found.append((layer, f"t{one}+t{other}", place, 0, mean, blocked))
                continue
            if experiment == "subset":
                found.append((layer, "t0+t1+t2", thoughts + 3, 0, float(single[layer, :3].sum()), blocked))
                continue
            if experiment == "window" and layer == layers - 1:  # windows are two layers wide
                continue
            for thought in range(thoughts):
                mean, structural, step = float(single[layer, thought]), blocked, thought
                if experiment == "position":
                    step = 0
                elif experiment == "leave_one_out":
                    mean, step = float(single[layer].sum() - single[layer, thought]), 0
                elif experiment == "window":
                    mean, structural, step = float(single[layer : layer + 2, thought].sum()), False, 0
                elif experiment == "relay":
                    mean = float(single[layer, 0]) * 0.7**thought
                    structural = blocked or (not feedback and thought > 0)
                else:
                    mean = float(single[layer, : thought + 1].sum())
                found.append((layer, f"t{thought}", thought + 1, step, mean, structural))
        return found

    # One deviation per pair, layer and mean, so that experiments which patch alike agree exactly.
    deviation = generator.normal(0.0, spread, (pairs, layers))
    rows = [
        _row(
            experiment, direction, donor, pair, cell, deviation[pair, cell[0]], clean[pair], corrupted[pair], generator
        )
        for direction in directions
        for donor in ("paired", *nulls)
        for experiment in experiments
        for cell in cells(experiment)
        for pair in range(pairs)
    ]
    for row in rows:
        row["both_correct"] = row["pair_index"] >= incorrect
        if not row["both_correct"]:
            row["outcome_clean_run"] = row["outcome_corrupted_run"] = "other"
        if row["pair_index"] >= pairs - undefined:
            row["recovery"] = None
    return pa.Table.from_pylist(rows, schema=_schema())


# Experiment (another hook point and head than usual: `position@z.5`), direction, donor, layer, site.
Cell = tuple[str, str, str, int, str]


def planted(
    effects: Mapping[Cell, Iterable[float]],
    structural: Collection[Cell] = (),
    neither: Collection[tuple[str, str, str, int, str, int]] = (),
) -> pa.Table:
    """Records in which each cell has the given effects, in shares of the gap, one for each pair; the gap is 12 nats.

    A run gives the answer that it is nearer to.

    Args:
        neither: cells, each with a pair, whose run gives another answer.
    """
    generator = np.random.default_rng(0)
    sites = list(dict.fromkeys(site for *_, site in effects))
    rows = []
    for (experiment, direction, donor, layer, site), values in effects.items():
        step = int(site[1:]) if experiment.partition("@")[0] in ("relay", "cumulative") else 0
        for pair, effect in enumerate(values):
            dead = (experiment, direction, donor, layer, site) in structural
            cell = (layer, site, sites.index(site), step, 0.0, dead)
            row = _row(experiment, direction, donor, pair, cell, 0.0, 6.0, -6.0, generator)
            recovery = effect if direction == "denoise" else 1 - effect
            moved = {"recovery": recovery, "answer_logprob_diff": 12 * recovery - 6, "outcome": outcome(recovery)}
            if (experiment, direction, donor, layer, site, pair) in neither:
                moved["outcome"] = "other"
            rows.append(row | moved)
    return pa.Table.from_pylist(rows, schema=_schema())


def outcome(recovery: float) -> str:
    """What the run gives: the answer that it is nearer to."""
    return "clean" if recovery > 0.5 else "corrupted"


def _row(
    experiment: str,
    direction: str,
    donor: str,
    pair: int,
    cell: tuple[int, str, int, int, float, bool],
    deviation: float,
    clean: float,
    corrupted: float,
    generator: np.random.Generator,
) -> dict[str, Any]:
    layer, site, site_index, step, mean, structural = cell
    hook, _, head = experiment.partition("@")[2].partition(".")
    moved = 0.0 if structural or donor == "self" else mean + deviation * (0.1 + abs(mean))
    if donor not in ("paired", "self") and not structural:
        moved = float(generator.normal(0.0, 0.02))
    recovery = moved if direction == "denoise" else 1 - moved
    logprob = corrupted + recovery * (clean - corrupted)
    similarity = 0.2 + 0.6 * abs(mean), 0.9 - 0.6 * abs(mean)
    return {
        "experiment": experiment.partition("@")[0],
        "direction": direction,
        "donor": donor,
        "pair_index": pair,
        "pair_id": f"pair-{pair:03d}",
        "hook": hook or "resid_post",
        "head": int(head) if head else None,
        "layer": layer,
        "width": 2 if experiment == "window" else 1,
        "site": site,
        "site_index": site_index,
        "step": step,
        "both_correct": True,
        "structural": structural,
        "kl_divergence": 4 * moved**2,
        "l2_logit_difference": 30 * abs(moved),
        "rms_logit_difference": abs(moved),
        "prediction_change_rate": float(abs(moved) > 0.5),
        "answer_logit_diff": logprob,
        "clean_score": logprob,
        "corrupted_score": 0.0,
        "answer_logprob_diff": logprob,
        "divergent_logit_diff": logprob,
        "recovery": recovery,
        "outcome": outcome(recovery),
        "outcome_clean_run": "clean",
        "outcome_corrupted_run": "corrupted",
        "similarity_clean": similarity[0] if experiment == "relay" else None,
        "similarity_corrupted": similarity[1] if experiment == "relay" else None,
        "bias": similarity[0] - similarity[1] if experiment == "relay" else None,
        "answer_logit_diff_clean_run": clean,
        "answer_logit_diff_corrupted_run": corrupted,
        "answer_logprob_diff_clean_run": clean,
        "answer_logprob_diff_corrupted_run": corrupted,
        "clean_answer": "18",
        "corrupted_answer": "21",
        "field.steps": "2",
    }


def _schema() -> pa.Schema:
    strings = (
        "experiment",
        "direction",
        "donor",
        "pair_id",
        "hook",
        "site",
        "clean_answer",
        "corrupted_answer",
        "field.steps",
    )
    strings += ("outcome", "outcome_clean_run", "outcome_corrupted_run")
    integers = ("pair_index", "head", "layer", "width", "site_index", "step")
    flags = ("both_correct", "structural")
    example = _row("layer", "denoise", "paired", 0, (0, "all", 0, 0, 0.0, False), 0, 1, 0, np.random.default_rng(0))
    kinds = {
        **dict.fromkeys(strings, pa.string()),
        **dict.fromkeys(integers, pa.int64()),
        **dict.fromkeys(flags, pa.bool_()),
    }
    return pa.schema([(name, kinds.get(name, pa.float64())) for name in example])
