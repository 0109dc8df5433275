"""What must be said of a run before its numbers are read."""

import logging
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from mechpatch.experiments.running.numerics import Rounding, drowned
from mechpatch.experiments.spec import FIRST, Spec
from mechpatch.pairs import Pair

log = logging.getLogger(__name__)

MANY = 0.5  # of the pairs; a model that answers fewer right is not the one that was trained


def wrong_base(doubt: str, right: int, pairs: int) -> str:
    """What to say of a doubtful base where few pairs are answered right; empty where there is nothing to say."""
    if not doubt or right >= MANY * pairs:
        return ""
    return f"The base may be the wrong one: {right} of {pairs} pairs are answered right on both sides, and {doubt}."


def notes(
    spec: Spec,
    records: pa.Table,
    rounding: Rounding | None = None,
    pairs: Sequence[Pair] = (),
    doubt: str = "",
    mixture: Sequence[str] = (),
) -> list[str]:
    """What a reader must know before the numbers: which kind of thought this was, and which zeros are no findings.

    Args:
        pairs: those that were run.
        doubt: why the base may be the wrong one, see `ThoughtModel`.
        mixture: what was computed under other settings than the run was begun under, in sentences.
    """
    total = len(records["pair_index"].unique())
    right = len(records.filter(pc.field("both_correct"))["pair_index"].unique())
    said = [sentence] if (sentence := wrong_base(doubt, right, total)) else []
    if spec.thoughts == "placeholder":
        said.append(
            "No thought was rolled out: the thought positions hold copies of one placeholder token, in one forward "
            "pass. What is measured is how the model uses those positions, not what it thinks there."
        )
    if spec.distances == FIRST:
        said.append(
            "Distances from the unpatched run (KL divergence, L2, RMS, changed predictions) are read where the first "
            "answer token is predicted, and nowhere else."
        )
    if spec.thoughts == "text":
        said.append("The thoughts are explicit text, teacher-forced: each run reads its own chain, right or not.")
    structural = records.filter(pc.field("structural"))
    if structural.num_rows:
        kinds = sorted(set(structural["experiment"].to_pylist()))
        said.append(
            f"{structural.num_rows} of {records.num_rows} rows ({', '.join(kinds)}) are zero by construction, whatever "
            "the model has learnt; they are flagged `structural`, drawn grey, and are no findings."
        )
        if "relay" in kinds and spec.thoughts != "latent":
            said.append(
                "Without feedback a write at one thought cannot reach the same layer at the next, so every relay step "
                "after the first writes the patched run's own vector. That says nothing about whether thoughts depend "
                "on each other."
            )
    if sharing := _sharing(pairs):
        said.append(
            f"{sharing} of {len(pairs)} pairs share a question with another pair and so are not independent: intervals "
            "are too narrow and p too small. Run one pair of each question for numbers to report (`make-pairs` without "
            "--per-question)."
        )
    if rounding and (warning := drowned(records, rounding.dtype, rounding.largest)):
        log.warning("%s", warning)
        said.append(warning)
    return [*said, *mixture]


def _sharing(pairs: Sequence[Pair]) -> int:
    """How many of the pairs ask a question that another one asks too."""
    asked = [{pair.clean.question, pair.corrupted.question} for pair in pairs]
    times = Counter(question for questions in asked for question in questions)
    return sum(any(times[question] > 1 for question in questions) for questions in asked)
