"""A question, its thoughts and both continuations as one tree of tokens: a trunk, and a branch for each answer.

What a token computes depends on its ancestors alone. Up to the first token in which the two answers differ both
continuations are therefore the same computation, and a tree holds it once. Every site lies there.
A *slot* is a place in a tree. Slots are the columns of continuation 0 (see `Batch`), then those columns of continuation
1 that are not shared. A run that is first changed at some slot of the trunk can change later slots only, so what has to
be computed of it is always a suffix of its tree.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mechpatch.errors import ThoughtError
from mechpatch.patching.batch import Batch
from mechpatch.reprs import short_repr


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tree:
    """The trees of a batch; all tensors are on the CPU, where indices are made.

    Attributes:
        tokens: ids; any number where a thought is fed back or nothing stands.
        real: slots that hold a token or a thought.
        positions: rotary position of each slot.
        sees: [.., i, j] whether j is i itself or one of its ancestors.
        sites: slot of each site.
        reads: slots whose logits are read, see `Batch.reads`.
        heard: slots whose last block is of use: to a prediction that is read or to the thought that follows.
        stages: ranges of slots that can be computed at once, given the stages before; the first ends where sites begin.
        fed: slots that are fed with the output of the slot before.
    """

    tokens: Int[Tensor, "pair slot"]
    real: Bool[Tensor, "pair slot"]
    positions: Int[Tensor, "pair slot"]
    sees: Bool[Tensor, "pair slot slot"]
    sites: Int[Tensor, "pair site"]
    reads: Int[Tensor, "pair 2 position"]
    heard: Bool[Tensor, "pair slot"]
    stages: tuple[range, ...]
    fed: range

    __repr__ = short_repr

    @property
    def apart(self) -> int:
        """From this slot on a change reaches later stages through keys and values alone: no thought is fed after it."""
        return self.fed.stop - 1 if self.fed else self.first

    @property
    def first(self) -> int:
        """The first slot that a patch can change."""
        return self.stages[1].start


def grow(batch: Batch) -> Tree:
    """The tree of each question.

    Raises:
        ThoughtError: a site is not shared by both continuations.
    """
    batch = batch.host or batch  # indices are made on the CPU
    start, tails, prompt, columns, reads = batch.tail_start, batch.tails, batch.real, batch.columns, batch.reads
    length = start + tails.shape[2]
    ends = reads.amax(-1)[..., None] + 1  # the last token is read too
    place = torch.arange(start, length)
    differ = (tails[:, 0] != tails[:, 1]) | (place >= ends.amin(1))
    fork = torch.where(differ, place, length).amin(1, keepdim=True)
    if bool((columns != columns[:, :1]).any() or (columns[:, 0] >= fork).any()):
        raise ThoughtError("a site lies after the first token in which the two continuations differ; see `Tail.answer`")

    split = int(fork.min())
    column = torch.cat([torch.arange(length), torch.arange(split, length)])
    second = torch.arange(len(column)) >= length
    tail = torch.where(second, (column >= fork) & (column < ends[:, 1]), column < ends[:, 0])
    real = tail & torch.cat([prompt, torch.ones_like(tail[:, prompt.shape[1] :])], dim=1)
    apart = second[:, None] & ~second & (column >= fork)[:, None]  # the branch of one answer from that of the other
    earlier = torch.ones(len(column), len(column), dtype=torch.bool).tril()
    reads = torch.stack([reads[:, 0], reads[:, 1] + (reads[:, 1] >= fork) * (length - split)], dim=1)
    fed = range(prompt.shape[1], start)
    heard = torch.zeros_like(real).scatter(1, reads.flatten(1), True)
    heard[:, [slot - 1 for slot in fed]] = True
    cuts = sorted({0, int(columns.min()), *fed, *(slot + 1 for slot in fed), len(column)})
    latents = torch.zeros(batch.size, batch.n_latents, dtype=tails.dtype)
    return Tree(
        tokens=torch.cat([batch.prompt, latents, tails[:, 0], tails[:, 1, split - start :]], dim=1),
        real=real,
        positions=(column - (~prompt).sum(1, keepdim=True)).clamp(min=0),
        sees=earlier & ~apart & real[:, None] | torch.eye(len(column), dtype=torch.bool),
        sites=columns[:, 0],
        reads=reads,
        heard=heard,
        stages=tuple(range(a, b) for a, b in pairwise(cuts)),
        fed=fed,
    )


def repeated(tree: Tree) -> Int[Tensor, "4 _"]:
    """Slots of the first stage up to which another question, further up, has the same tokens.

    Clean and corrupted question are alike up to the number that differs, and all questions may open with the same
    instruction: what such tokens compute is computed once.

    Returns:
        Pair and slot of each, then pair and slot where the same token is computed.
    """
    end = tree.first - 1  # what follows the last slot may need its row
    computed: dict[tuple[tuple[int, int] | None, int], tuple[int, int]] = {}
    found = []
    for pair, (tokens, real) in enumerate(zip(tree.tokens[:, :end].tolist(), tree.real[:, :end].tolist(), strict=True)):
        before: tuple[int, int] | None = None
        for slot, token in enumerate(tokens):
            if real[slot]:
                place = (pair, slot)
                before = computed.setdefault((before, token), place)
                if before != place:
                    found.append((*place, *before))
    return torch.tensor(found, dtype=torch.long).view(-1, 4).T
