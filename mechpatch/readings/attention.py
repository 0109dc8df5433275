"""What thoughts and the answer position attend to: shares of groups of positions, for every layer and head.

Groups are those of the sequence: `start` (bos), `question`, `bot`, each thought, `rest` (tokens of a text chain that
are no site), `eot` and `prefix`, the text before the answer. A position belongs to one group and a query sees itself,
so the shares of a query sum to one. One row for each pair, side, query, layer and head:

    pair_index, pair_id, both_correct, side     as in every reading
    site, site_index                            the query: a thought, or `answer`, which predicts the answer
    layer, head
    entropy                                     of its weights over single positions, nats
    share_<group>                               sum of its weights on the group; null where the question has none
    tokens_<group>                              how many of the positions that it sees are the group's
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.experiments.running.activations import SIDES
from mechpatch.inspection.traces import trace
from mechpatch.kinds.cells import ANSWER, BOT, EOT
from mechpatch.readings.record import Question, Recorded
from mechpatch.thoughts import thought_sites
from mechpatch.thoughts.layout import encode

START, QUESTION, REST, PREFIX = "start", "question", "rest", "prefix"


@torch.no_grad()
def read_attention(recorded: Recorded, tick: Callable[[int], None] = lambda questions: None) -> pa.Table:
    """The attention of every question that is asked for, with its own answer."""
    groups = _groups(recorded)
    parts = []
    for index in recorded.asked:
        for side in (0, 1):
            parts.append(_of_question(recorded, (index, side), groups))
            tick(1)
    return pa.concat_tables(parts)


def groups_of(recorded: Recorded, question: Question) -> list[str]:
    """The group of each position up to the one that predicts the answer."""
    layout, side = recorded.layout(question), question[1]
    length = layout.positions(side)[-1] + 1
    end = len(layout.prompt)
    if recorded.spec.thoughts == "text":
        own = (recorded.pairs[question[0]].clean, recorded.pairs[question[0]].corrupted)[side]
        end -= len(encode(recorded.model.tokenizer, recorded.spec.separator + (own.cot or "")))
    found = [START if at < layout.question else QUESTION if at < end else REST for at in range(length)]
    after = len(layout.prompt) + layout.n_latents
    found[after:] = [PREFIX] * (length - after)
    if layout.has_eot and after < length:
        found[after] = EOT
    named = dict(zip(layout.sites, layout.positions(side), strict=True))
    for site in (BOT, *thought_sites(layout.sites)):
        if site in named:
            found[named[site]] = site
    return found


def shares(weights: Float[Tensor, "*row key"], groups: list[str], names: list[str]) -> Float[Tensor, "*row group"]:
    """Sum of the weights on each of the groups `names`."""
    member = torch.tensor([[group == name for name in names] for group in groups], dtype=weights.dtype)
    return weights @ member


def entropy(weights: Float[Tensor, "*row key"]) -> Float[Tensor, "*row"]:
    """Entropy in nats: 0 where one position has all, ln n where n have the same."""
    return torch.special.entr(weights).sum(-1)


def _groups(recorded: Recorded) -> list[str]:
    """Every group that some question has, in the order of the sequence."""
    found = {each for index in recorded.asked for side in (0, 1) for each in groups_of(recorded, (index, side))}
    order = [START, QUESTION, BOT, *sorted(thought_sites([*found]), key=lambda site: int(site[1:])), REST, EOT, PREFIX]
    return [name for name in order if name in found]


def _of_question(recorded: Recorded, question: Question, names: list[str]) -> pa.Table:
    index, side = question
    layout, model = recorded.layout(question), recorded.model
    run = trace(model.hooked, model.head, layout, side)
    groups = groups_of(recorded, question)
    places = dict(zip(layout.sites, layout.positions(side), strict=True))
    queries = [*thought_sites(layout.sites), ANSWER]
    layers, heads = run.attention.shape[:2]
    columns: dict[str, list[Any]] = {}
    for site in queries:
        at = places[site]
        weights = run.attention[:, :, at - run.first_query, : at + 1].double()
        seen = groups[: at + 1]
        of_group = shares(weights, seen, names).reshape(-1, len(names)).numpy()
        layer, head = (each.ravel() for each in np.mgrid[:layers, :heads])
        rows: dict[str, Any] = {
            "pair_index": [index] * layers * heads,
            "pair_id": [recorded.pairs[index].pair_id] * layers * heads,
            "both_correct": [recorded.both_correct(index)] * layers * heads,
            "side": [SIDES[side]] * layers * heads,
            "site": [site] * layers * heads,
            "site_index": [layout.sites.index(site)] * layers * heads,
            "layer": layer,
            "head": head,
            "entropy": entropy(weights).ravel().numpy(),
        }
        for at_group, name in enumerate(names):
            there = name in groups
            rows[f"share_{name}"] = of_group[:, at_group] if there else [None] * layers * heads
            rows[f"tokens_{name}"] = [seen.count(name) if there else None] * layers * heads
        for name, values in rows.items():
            columns.setdefault(name, []).extend(values)
    kinds = {"both_correct": pa.bool_(), "entropy": pa.float64()}
    kinds |= dict.fromkeys(("pair_id", "side", "site"), pa.string()) | {f"share_{name}": pa.float64() for name in names}
    return pa.table({name: pa.array(values, kinds.get(name, pa.int64())) for name, values in columns.items()})
