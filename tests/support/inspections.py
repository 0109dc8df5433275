"""Inspections for tests of views: of a tiny model, and with texts that no page must obey."""

import copy
from functools import cache

from models_under_test import N_LATENTS, PAIRS, model_under_test

from mechpatch.experiments.spec import Spec
from mechpatch.inspection.inspect import inspect_pair
from mechpatch.storage.inspections import Inspection

# What a question or a vocabulary may hold: markup, script, quotes, separators of lines, changes of direction.
HOSTILE = (
    "</script><script>window.obeyed=1</script>",
    '<img src="https://example.invalid/x.png" onerror="window.obeyed=2">',
    "<b>bold",
    "&lt;",
    "&#60;script&#62;",
    "\"'`${1}",
    "\u202eright to left\u202c",
    "\u200fשלום",
    "\u2028\u2029",
    "\x00\x1b[31m",
    "\n",
    " ",
    "x" * 10_000,
)


def spec_of(kind: str, engine: str = "fast") -> Spec:
    """What a run of every single position was asked."""
    return Spec(experiments=("position",), thoughts=kind, n_thoughts=N_LATENTS, engine=engine)


@cache
def tiny_inspection(kind: str = "latent", pair: int = 0) -> Inspection:
    """One of `PAIRS`, inspected on the tiny float64 model."""
    inspection = inspect_pair(model_under_test("tiny-float64"), spec_of(kind), PAIRS[pair])
    inspection.about["pair_index"] = pair
    return inspection


def hostile_inspection(pair: int = 0) -> Inspection:
    """As `tiny_inspection`, but every text of the user's or of the tokenizer's is one of `HOSTILE`."""
    inspection = tiny_inspection("latent", pair)
    about = copy.deepcopy(inspection.about)
    about["pair_id"] = HOSTILE[0] + HOSTILE[5]
    about["answers"] = {"clean": HOSTILE[1], "corrupted": HOSTILE[6]}
    about["vocabulary"] = {token: HOSTILE[place % len(HOSTILE)] for place, token in enumerate(about["vocabulary"])}
    for run in about["runs"].values():
        run["tokens"] = [HOSTILE[place % len(HOSTILE)] for place in range(len(run["tokens"]))]
        run["continuations"] = {
            side: [HOSTILE[place % len(HOSTILE)] for place in range(len(texts))]
            for side, texts in run["continuations"].items()
        }
    return Inspection(about, dict(inspection.arrays))
