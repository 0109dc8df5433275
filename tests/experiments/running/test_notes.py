"""What is said of a run before its numbers."""

from dataclasses import replace

from models_under_test import PAIRS
from records import planted

from mechpatch.experiments.running.notes import notes
from mechpatch.experiments.spec import Spec


def test_pairs_of_one_question_are_said_not_to_be_independent():
    spec, records = Spec(experiments=("position",)), planted({("position", "denoise", "paired", 1, "t0"): [0.8]})
    assert notes(spec, records, pairs=PAIRS) == []
    other = replace(PAIRS[0].corrupted, question="Sam has 3 boxes of 5 pens. Sam finds 27 more.")
    sister = replace(PAIRS[0], pair_id="sister", corrupted=other)
    (said,) = notes(spec, records, pairs=[*PAIRS, sister])
    assert said.startswith("2 of 4 pairs share a question with another pair and so are not independent")
