"""What attends to what, in three lines. Attention is never said to be use."""

from collections.abc import Iterator

from mechpatch.formats import percent
from mechpatch.stats.attention import ANSWER, AttentionSummary
from mechpatch.stats.cell_values import Estimate
from mechpatch.stats.cells import at_thoughts
from mechpatch.stats.clear import FEWEST_PAIRS
from mechpatch.views.words.claims import counted
from mechpatch.views.words.lines import Lines

NO_USE = (
    "To attend is not to use: a weight says neither what the value carries nor whether the output depends on it; "
    "writing z or kv does (run --hooks z,kv)."
)
NAMES = {
    "start": "the token before the question",
    "question": "the question",
    "rest": "the rest of the chain",
    "prefix": "the answer prefix",
}


def attention_lines(found: AttentionSummary) -> Lines:
    """The three lines of one side."""
    layers, heads = found.shares.shape[1:3]
    return Lines(
        did=(
            f"Read the attention of {counted(layers, 'layer')} × {counted(heads, 'head')} at "
            f"{counted(len(found.sites) - 1, 'thought')} and at the answer position, {found.side} questions of "
            f"{counted(found.used, 'pair')}."
        ),
        found=" ".join(_found(found)) or "No pair is answered right on both sides, so no mean can be told.",
        distrust=" ".join(_distrust(found)),
    )


def group_label(group: str) -> str:
    """A group of positions within a sentence."""
    return NAMES.get(group, group)


def _found(found: AttentionSummary) -> Iterator[str]:
    if not found.used:
        return
    thoughts = [group for group in found.groups if at_thoughts(group)]
    tokens = sum(part for group in thoughts if (part := found.tokens[ANSWER, group]) == part)
    yield (
        f"Over all layers and heads the answer position puts {interval(found.thoughts[ANSWER])} on thoughts, which are "
        f"{percent(tokens)} of the positions that it sees."
    )
    known = {group: each for group in found.groups if (each := found.mean[ANSWER, group]).mean is not None}
    most = max(known, key=lambda group: known[group].mean or 0.0)
    first = max(thoughts, key=lambda group: found.mean[ANSWER, group].mean or 0.0)
    yield (
        f"Most of it is on {group_label(most)} ({percent(known[most].mean)}); of the thoughts, on {first} "
        f"({percent(known[first].mean)})."
    )
    if found.top_head is not None:
        layer, head, share = found.top_head
        yield f"The head that reads thoughts most is head {head} of layer {layer}: {interval(share)}."
    for site in found.sites:
        if site != ANSWER:
            own = {group: found.mean[site, group].mean or 0.0 for group in found.groups}
            top = max(own, key=lambda group: own[group])
            yield f"{site} attends most to {'itself' if top == site else group_label(top)} ({percent(own[top])})."


def _distrust(found: AttentionSummary) -> Iterator[str]:
    yield NO_USE
    yield "A mean over heads hides single heads; the interval of the head that reads most does not know it was chosen."
    if "start" in found.groups and (found.mean[ANSWER, "start"].mean or 0.0) > 0.3:
        yield "Much attention rests on the first token, as it does in many models when a head has nothing to read."
    if found.used < found.pairs:
        left = found.pairs - found.used
        yield f"{left} of {counted(found.pairs, 'pair')} that the model gets wrong on either side are left out."
    if 0 < found.used < FEWEST_PAIRS:
        yield f"Fewer than {FEWEST_PAIRS} pairs are used; their intervals are too narrow."


def interval(share: Estimate) -> str:
    """A mean share with its interval."""
    if share.low is None:
        return percent(share.mean)
    return f"{percent(share.mean)} (95 % interval {percent(share.low)} to {percent(share.high)})"
