"""Probes: what a linear readout finds in a vector, trained on some pairs and tested on others.

Ridge regression for numbers, logistic regression for classes, on standardised vectors (scikit-learn). Folds are of
pairs: both questions of a pair are in one fold, because they differ in one number and would tell each other's answer.
The control is a probe of the same kind whose labels were shuffled between pairs before it was trained (after Hewitt and
Liang, "Designing and Interpreting Probes with Control Tasks", 2019): what it scores is what the probe's freedom gives.

One row for each pair, side, hook point, layer, site and target:

    pair_index, pair_id, both_correct, side, hook, layer, site, site_index    as the lens has them
    target, numeric    what is predicted, and whether it is a number
    truth, predicted   as text; out of fold
    score              1 or 0 for a class; for a number 1 − (error)² / variance, whose mean is R²
    control            the same for probes with shuffled labels, mean over `SHUFFLES`; null without a second label
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from mechpatch.errors import SpecError
from mechpatch.experiments.running.activations import SIDES
from mechpatch.experiments.running.donors import generator
from mechpatch.pairs.counterfactual import CALCULATION, step_values
from mechpatch.readings.record import Question, Recorded

FOLDS, SHUFFLES, FEWEST = 5, 5, 10  # pairs with a label that are needed
Labels = Mapping[Question, str]
HOW = "pip install 'mechpatch[probes]'"


def read_probes(
    recorded: Recorded, targets: tuple[str, ...] = (), seed: int = 0, tick: Callable[[int], None] = lambda done: None
) -> pa.Table:
    """Train and test a probe for each target at every place.

    Args:
        targets: step1, step2 … (values), parity1 … (of a step's value), operation1 … (of a step), answer, or field.NAME
            of a pair or side; by default values, parities and operations of all steps that enough pairs have.

    Raises:
        SpecError: scikit-learn is missing, or fewer than `FEWEST` pairs have a target that was named, or any at all.
    """
    labels = _labels(recorded)
    known = [name for name, found in labels.items() if len({index for index, _ in found}) >= FEWEST]
    if unknown := [name for name in targets if name not in known]:
        way_out = f"expected some of {', '.join(known)}" if known else "and so with every target: read more pairs"
        raise SpecError(
            f"--targets {', '.join(unknown)}: fewer than {FEWEST} of the {len(recorded.asked)} pairs that are read "
            f"have it; {way_out}"
        )
    asked = targets or tuple(name for name in known if not name.startswith("field."))
    if not asked:
        raise SpecError(
            f"probes need a target that {FEWEST} pairs have; {len(recorded.asked)} pairs were read, read more"
        )
    rows: list[dict[str, Any]] = []
    for target in asked:
        questions = sorted(labels[target])
        names = [recorded.pairs[index].pair_id for index, _ in questions]
        shuffled = _shuffled(labels[target], recorded, seed, target)
        truth = [labels[target][question] for question in questions]
        numeric = all(_is_number(each) for each in truth) and not target.startswith("parity")
        for hook in recorded.hooks:
            vectors = np.stack([recorded.vectors(question, hook).double().cpu().numpy() for question in questions])
            for layer, column in np.ndindex(vectors.shape[1:3]):
                site = recorded.sites(questions[0], hook)[column]
                predicted, score = out_of_fold(vectors[:, layer, column], truth, names, numeric)
                control = np.mean(
                    [out_of_fold(vectors[:, layer, column], each, names, numeric)[1] for each in shuffled], axis=0
                )
                for at, (index, side) in enumerate(questions):
                    rows.append(
                        {
                            "pair_index": index,
                            "pair_id": names[at],
                            "both_correct": recorded.both_correct(index),
                            "side": SIDES[side],
                            "hook": hook,
                            "layer": layer,
                            "site": site,
                            "site_index": recorded.layout((index, side)).sites.index(site),
                            "target": target,
                            "numeric": numeric,
                            "truth": truth[at],
                            "predicted": predicted[at],
                            "score": float(score[at]),
                            "control": float(control[at]),
                        }
                    )
                tick(1)
    return pa.Table.from_pylist(rows)


def out_of_fold(
    vectors: Float[np.ndarray, "question d_model"], truth: list[str], groups: list[str], numeric: bool
) -> tuple[list[str], Float[np.ndarray, " question"]]:
    """What probes say of questions that they were not trained on, and its score; `groups` are never split.

    Raises:
        SpecError: scikit-learn is missing.
    """
    try:
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.model_selection import GroupKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise SpecError(f"probes need scikit-learn ({error}); install it with: {HOW}") from error
    labels = np.array([float(each) for each in truth]) if numeric else np.array(truth)
    found = np.empty(len(labels), dtype=labels.dtype)
    for train, test in GroupKFold(min(FOLDS, len({*groups}))).split(vectors, labels, groups):
        if len({*labels[train]}) < 2:
            found[test] = labels[train][0]
            continue
        model = Ridge(alpha=10.0) if numeric else LogisticRegression(C=0.1, max_iter=500)
        found[test] = make_pipeline(StandardScaler(), model).fit(vectors[train], labels[train]).predict(vectors[test])
    if not numeric:
        return [str(each) for each in found], (found == labels).astype(float)
    spread = float(labels.var())
    score = np.ones(len(labels)) if spread == 0 else 1 - (labels - found) ** 2 / spread
    return [f"{each:.4g}" for each in found], score


def _labels(recorded: Recorded) -> dict[str, Labels]:
    """What each question has, by target."""
    found: dict[str, dict[Question, str]] = {}

    def put(name: str, question: Question, value: str) -> None:
        found.setdefault(name, {})[question] = value

    for index in recorded.asked:
        pair = recorded.pairs[index]
        for side, own in enumerate((pair.clean, pair.corrupted)):
            question = index, side
            for number, value in enumerate(step_values(own), 1):
                if _is_number(value):
                    put(f"step{number}", question, value)
                if value.lstrip("-").isdecimal():
                    put(f"parity{number}", question, "odd" if int(value) % 2 else "even")
            for number, (left, _) in enumerate(CALCULATION.findall(own.cot or ""), 1):
                signs = [each for each in left if each in "+-*/"]
                if len(signs) == 1:
                    put(f"operation{number}", question, signs[0])
            put("answer", question, own.answer)
            for name, value in {**pair.fields, **own.fields}.items():
                if isinstance(value, str | int | float | bool):
                    put(f"field.{name}", question, str(value))
    constant = [name for name, each in found.items() if len({*each.values()}) < 2]
    return {name: each for name, each in found.items() if name not in constant}


def _shuffled(labels: Labels, recorded: Recorded, seed: int, target: str) -> list[list[str]]:
    """The labels, given to other pairs; the two of a pair go together, as they are alike."""
    questions = sorted(labels)
    by_pair = {index: [labels[each] for each in questions if each[0] == index] for index, _ in questions}
    drawn = []
    for number in range(SHUFFLES):
        order = sorted(by_pair, key=lambda index: recorded.pairs[index].pair_id)
        draw = generator(seed, "probe", target, number).permutation(len(order))
        given = {index: by_pair[order[other]] for index, other in zip(order, draw, strict=True)}
        counts: dict[int, int] = {}
        each = []
        for index, _ in questions:
            at = counts.get(index, 0)
            counts[index] = at + 1
            each.append(given[index][at % len(given[index])])
        drawn.append(each)
    return drawn


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
