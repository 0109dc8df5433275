"""The lens: what final norm and unembedding make of a vector inside a run, for every pair, side, layer and site.

The logit lens (nostalgebraist, "interpreting GPT: the logit lens", 2020) reads the residual stream after a block as if
it were the last one: logits = unembed(final_norm(resid_post)). A fed-back thought stands after the final norm and the
latent head already, so it is unembedded as it is. With `translate` the residual stream is translated first, layer by
layer (the tuned lens).

Beside each target's rank stand those of its controls, pair by pair:

    other_question    the same target at the same place of another question, which does not have its token
    shuffled_values   another question's target of the same name, which this question does not have, at this very place
    twin              the same target of the same pair at the same place of another model

Each question is run and unembedded once, for all that is looked for in it. Axes: `place` is (layer, site).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpatch.errors import ThoughtError
from mechpatch.experiments.running.activations import SIDES
from mechpatch.experiments.running.donors import generator
from mechpatch.inspection.token_texts import token_text
from mechpatch.models import ThoughtModel
from mechpatch.patching.rollout import unembed
from mechpatch.readings.record import THOUGHT, Question, Recorded
from mechpatch.readings.table import LENS_SCHEMA, with_twin
from mechpatch.readings.targets import Target

Translate = Callable[[int, Float[Tensor, "site d_model"]], Float[Tensor, "site d_model"]]
Draws = dict[tuple[Question, str], tuple[Question | None, Question | None]]
ROWS = 64  # vectors that are unembedded at once: at 128k tokens 33 MB of logits


class Seen(NamedTuple):
    """What the lens says at every place of one question, at one hook point.

    Attributes:
        rank: of each wanted token; 1 is the most likely, and a tie counts against the token.
        logprob: nats.
        top: the most likely tokens, best first.
    """

    rank: Int[Tensor, "layer site wanted"]
    logprob: Float[Tensor, "layer site wanted"]
    top: Int[Tensor, "layer site guess"]


@torch.no_grad()
def read_lens(
    recorded: Recorded,
    *,
    top: int = 5,
    seed: int = 0,
    translate: Translate | None = None,
    twin: pa.Table | None = None,
    tick: Callable[[int], None] = lambda questions: None,
) -> pa.Table:
    """Look for every target at every place of every pair; the rows that `LENS_SCHEMA` describes.

    Args:
        top: how many of the most likely tokens are kept as text.
        seed: of the draws of the controls.
        translate: what a layer's residual stream is made into before it is read; nothing by default.
        twin: the table of another model's reading of the same pairs, read with the same lens.
        tick: told of each question that is read.

    Raises:
        ThoughtError: no pair has a target.
        NumericsError: a vector is not finite.
    """
    draws = drawn_controls(recorded, seed)
    wanted = _wanted(recorded, draws)
    if not any(wanted.values()):
        raise ThoughtError("there is nothing to look for: no pair has step values or answers")
    seen: dict[tuple[Question, str], Seen] = {}
    for question, tokens in wanted.items():
        for hook in recorded.hooks:
            seen[question, hook] = _see(recorded, question, hook, tokens, top, translate)
        tick(1)
    rows = [
        row
        for index in recorded.asked
        for side in (0, 1)
        for hook in recorded.hooks
        for row in _rows(recorded, (index, side), hook, seen, wanted, draws)
    ]
    table = pa.Table.from_pylist(rows, schema=LENS_SCHEMA)
    return table if twin is None else with_twin(table, twin)


def drawn_controls(recorded: Recorded, seed: int) -> Draws:
    """For each target of each question that is asked for: the question whose thoughts, and the one whose value, are its
    controls. Both are of the same side and have the same sites; None where there is none."""
    tokens = {question: {target.token for target in found} for question, found in recorded.targets.items()}
    named = {question: {target.name for target in found} for question, found in recorded.targets.items()}
    draws: Draws = {}
    for question in _questions(recorded):
        alike = [
            other
            for other in recorded.targets
            if other[0] != question[0]
            and other[1] == question[1]
            and recorded.layout(other).sites == recorded.layout(question).sites
        ]
        for target in recorded.targets[question]:
            elsewhere = [other for other in alike if target.token not in tokens[other]]
            values = [
                other
                for other in alike
                if target.name in named[other] and _named(recorded, other, target.name).token not in tokens[question]
            ]
            draws[question, target.name] = (
                _draw(recorded, seed, "other_question", question, target.name, elsewhere),
                _draw(recorded, seed, "shuffled_values", question, target.name, values),
            )
    return draws


def normed(
    model: ThoughtModel, hook: str, vectors: Float[Tensor, "layer site d_model"], translate: Translate | None = None
) -> Float[Tensor, "place d_model"]:
    """What the unembedding is given: every place of every layer, layers outermost."""
    if hook == THOUGHT:
        return vectors.flatten(0, 1)
    if translate is not None:
        vectors = torch.stack([translate(layer, each) for layer, each in enumerate(vectors)])
    return model.hooked.ln_final(vectors.flatten(0, 1)[None])[0]


def logits_of(model: ThoughtModel, read: Float[Tensor, "place d_model"]) -> Float[Tensor, "place vocab"]:
    """Logits, in float32 or wider."""
    logits = unembed(model.hooked, read)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _questions(recorded: Recorded) -> list[Question]:
    return [(index, side) for index in recorded.asked for side in (0, 1)]


def _named(recorded: Recorded, question: Question, name: str) -> Target:
    return next(target for target in recorded.targets[question] if target.name == name)


def _draw(
    recorded: Recorded, seed: int, purpose: str, question: Question, name: str, able: list[Question]
) -> Question | None:
    """One of some questions of a side, drawn by name, so that neither order nor limit changes it."""
    if not able:
        return None
    able = sorted(able, key=lambda each: recorded.pairs[each[0]].pair_id)
    draw = generator(seed, "lens", purpose, recorded.pairs[question[0]].pair_id, SIDES[question[1]], name)
    return able[int(draw.integers(len(able)))]


def _wanted(recorded: Recorded, draws: Draws) -> dict[Question, list[int]]:
    """The tokens that are looked for in each question: its own targets, and those it is a control of."""
    wanted: dict[Question, dict[int, None]] = {question: {} for question in _questions(recorded)}
    for (question, name), (elsewhere, value) in draws.items():
        token = _named(recorded, question, name).token
        wanted[question][token] = None
        if value is not None:
            wanted[question][_named(recorded, value, name).token] = None
        if elsewhere is not None:
            wanted.setdefault(elsewhere, {})[token] = None
    return {question: [*tokens] for question, tokens in wanted.items()}


def _see(
    recorded: Recorded, question: Question, hook: str, tokens: list[int], top: int, translate: Translate | None
) -> Seen:
    vectors = recorded.vectors(question, hook)
    found: list[list[Tensor]] = [[], [], []]
    # Layers together: what an unembedding of many vectors takes is to read its weights.
    for part in normed(recorded.model, hook, vectors, translate).split(ROWS):
        logits = logits_of(recorded.model, part)
        chosen = logits[:, tokens]
        ranks = [(logits >= chosen[:, [at]]).sum(-1) for at in range(len(tokens))]
        found[0].append(torch.stack(ranks, dim=-1))
        found[1].append(chosen - logits.logsumexp(-1, keepdim=True))
        found[2].append(logits.topk(min(top, logits.shape[-1])).indices)
    rank, logprob, best = (torch.cat(each).unflatten(0, vectors.shape[:2]).cpu() for each in found)
    return Seen(rank, logprob, best)


def _rows(
    recorded: Recorded,
    question: Question,
    hook: str,
    seen: Mapping[tuple[Question, str], Seen],
    wanted: Mapping[Question, list[int]],
    draws: Draws,
) -> list[dict[str, Any]]:
    """The rows of one question at one hook point: layers outermost, then sites, then targets."""
    index, side = question
    pair, here = recorded.pairs[index], seen[question, hook]
    texts = {token: token_text(recorded.model.tokenizer, token) for token in {*here.top.flatten().tolist()}}
    order = recorded.layout(question).sites
    about = {
        "pair_index": index,
        "pair_id": pair.pair_id,
        "both_correct": recorded.both_correct(index),
        "side": SIDES[side],
        "hook": hook,
    }
    described: list[dict[str, Any]] = []
    for target in recorded.targets[question]:
        elsewhere, value = draws[question, target.name]
        other = None if value is None else _named(recorded, value, target.name)
        described.append(
            {
                "at": wanted[question].index(target.token),
                "elsewhere": None
                if elsewhere is None
                else (seen[elsewhere, hook], wanted[elsewhere].index(target.token)),
                "shuffled": None if other is None else wanted[question].index(other.token),
                "columns": {
                    "target": target.name,
                    "value": target.value,
                    "token": target.token,
                    "token_text": token_text(recorded.model.tokenizer, target.token),
                    "tokens": target.tokens,
                    "shared": ", ".join(target.shared),
                    "other_question": None if elsewhere is None else recorded.pairs[elsewhere[0]].pair_id,
                    "shuffled_value": None if other is None else other.value,
                },
            }
        )
    rows = []
    layers, sites = here.rank.shape[:2]
    ranks, logprobs, tops = here.rank.tolist(), here.logprob.double().tolist(), here.top.tolist()
    for layer in range(layers):
        for column, site in zip(range(sites), recorded.sites(question, hook), strict=True):
            place = {
                "layer": layer,
                "site": site,
                "site_index": order.index(site),
                "top": [texts[token] for token in tops[layer][column]],
            }
            for each in described:
                rank, elsewhere = ranks[layer][column], each["elsewhere"]
                rows.append(
                    about
                    | place
                    | each["columns"]
                    | {
                        "rank": rank[each["at"]],
                        "logprob": logprobs[layer][column][each["at"]],
                        "rank_other_question": elsewhere and int(elsewhere[0].rank[layer, column, elsewhere[1]]),
                        "rank_shuffled_values": None if each["shuffled"] is None else rank[each["shuffled"]],
                    }
                )
    return rows
