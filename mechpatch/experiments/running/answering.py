"""What a model says to both questions of each pair, with its thoughts and with none.

A pair is run unpatched exactly as a run records it, into the same cache, so that a run of the kept pairs finds its
unpatched runs there. What is said is read off that; only where it is neither answer of the pair, it is decoded on. So a
question takes two unpatched runs at most: that with its thoughts, and one to decode, or one with no thoughts.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mechpatch.errors import PairError
from mechpatch.experiments.layouts import pair_layouts, with_thoughts
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import Tick
from mechpatch.experiments.running.continuations import Openings
from mechpatch.experiments.running.engines import ENGINES
from mechpatch.experiments.running.records import OUTCOME, answer_columns
from mechpatch.experiments.running.saying import decoded_text, endings
from mechpatch.experiments.spec import Spec
from mechpatch.models import ThoughtModel
from mechpatch.names import OUTCOMES
from mechpatch.pairs import Pair
from mechpatch.pairs.answered import BOTH_RIGHT, NEEDS_THOUGHTS, SIDES, Answers, Said
from mechpatch.patching import collate
from mechpatch.patching.engine.recording import Recording
from mechpatch.patching.greedy import greedy
from mechpatch.thoughts import Layout

OTHER = "other"
MORE = 4  # tokens that are decoded past the length of the longest answer

Layouts = tuple[Layout, Layout]
Outcomes = tuple[str, str]


def answer(
    model: ThoughtModel, spec: Spec, pairs: Sequence[Pair], criteria: Sequence[str], cache: Path | None, tick: Tick
) -> Answers:
    """Run both questions of each pair, as far as the criteria need it.

    Args:
        pairs: at least one, each of which can be laid out.
        cache: folder of unpatched runs, None for none.
        tick: told of each pair twice, when it was run and when all is known of it.

    Raises:
        PairError: a criterion asks for right answers, and there is none at all.
    """
    layouts = [pair_layouts(model, spec, pair) for pair in pairs]
    openings = Openings.of(model.tokenizer, model.hooked.cfg.d_vocab, model.device)
    runs = UnpatchedRuns(model, layouts, spec.engine, cache, spec.points)
    record = ENGINES[spec.engine].record
    outcomes: list[Outcomes] = []
    for index, pair in enumerate(pairs):
        outcomes.append(outcomes_of(openings, pair, layouts[index], runs.get(index)))
        tick(1)
    others = [(index, side) for index, found in enumerate(outcomes) for side in (0, 1) if found[side] == OTHER]
    right = any(said == side for found in outcomes for said, side in zip(found, SIDES, strict=True))
    if not right and {BOTH_RIGHT, NEEDS_THOUGHTS} & {*criteria}:
        shown = _decoded(model, layouts, others[:1] if (0, 0) in others else [], 1)
        said = _said(pairs[0], outcomes[0][0]) or shown[0, 0]
        raise PairError(_nothing_right(pairs[0], said, 2 * len(pairs)))
    texts = _decoded(model, layouts, others, spec.batch_size)
    answers: dict[str, tuple[Said, Said]] = {}
    for index, (pair, found) in enumerate(zip(pairs, outcomes, strict=True)):
        without: tuple[str | None, str | None] = (None, None)
        if NEEDS_THOUGHTS in criteria and found == SIDES:
            less = with_thoughts(model, spec, pair, layouts[index], 0)
            without = outcomes_of(openings, pair, less, record(model.hooked, model.head, less, spec.points))
        clean, corrupted = (
            Said(
                text=_said(pair, found[side]) or texts[index, side],
                outcome=found[side],
                without=without[side],
            )
            for side in (0, 1)
        )
        answers[pair.pair_id] = clean, corrupted
        tick(1)
    return answers


def outcomes_of(openings: Openings, pair: Pair, layouts: Layouts, recorded: Sequence[Recording]) -> Outcomes:
    """What greedy decoding gives for each question, by the definition of the records."""
    continues = openings.after([(pair.clean.answer, pair.corrupted.answer)])
    clean, corrupted = (
        OUTCOMES[answer_columns(kept.logits[None], collate([layout]), side, continues)[OUTCOME][0]]
        for side, (layout, kept) in enumerate(zip(layouts, recorded, strict=True))
    )
    return clean, corrupted


def _decoded(
    model: ThoughtModel, layouts: Sequence[Layouts], wanted: Sequence[tuple[int, int]], batch_size: int
) -> dict[tuple[int, int], str]:
    """What is said to some questions, given as (pair, side); those of one length are run together."""
    count = MORE + max(len(tail.answer_tokens) for pair in layouts for layout in pair for tail in layout.tails)
    ends = endings(model)
    alike: dict[tuple[object, ...], list[tuple[int, int]]] = defaultdict(list)
    for index, side in sorted(wanted, key=lambda each: len(layouts[each[0]][each[1]].prompt)):
        layout = layouts[index][side]
        alike[layout.sites, layout.opening].append((index, side))
    found: dict[tuple[int, int], str] = {}
    for group in alike.values():
        for start in range(0, len(group), batch_size):
            batch = group[start : start + batch_size]
            asked = [layouts[index][side] for index, side in batch]
            tokens = greedy(model.hooked, model.head, asked, count, ends)
            found |= {place: decoded_text(model, said) for place, said in zip(batch, tokens, strict=True)}
    return found


def _said(pair: Pair, outcome: str) -> str:
    """The answer of the pair that an outcome names; empty where it names none."""
    return {"clean": pair.clean.answer, "corrupted": pair.corrupted.answer}.get(outcome, "")


def _nothing_right(pair: Pair, said: str, count: int) -> str:
    return (
        f"nothing is right: to none of {count} questions does the model give the expected answer (pair {pair.pair_id}, "
        f"clean: expected {pair.clean.answer!r}, it says {said!r}); are --model, --lora-alpha, --latents and "
        "--answer-prefix those of its training?"
    )
