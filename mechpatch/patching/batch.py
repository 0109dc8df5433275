"""Layouts of several questions as padded tensors.

Prompts are padded on the left, so that all thoughts of a batch stand in the same columns; tails on the right, which a
causal model never sees. Columns count from the start of the padded prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from mechpatch.errors import ThoughtError
from mechpatch.patching.moved import moved
from mechpatch.reprs import short_repr
from mechpatch.thoughts.layout import Layout

TENSORS = ("prompt", "real", "tails", "columns", "reads", "targets")
PAD = 0  # any token: what it computes is masked (left) or never read (right)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Questions that have the same sites, in tensors.

    Attributes:
        prompt: left-padded ids.
        real: which columns of `prompt` hold tokens.
        n_latents: thoughts fed back between prompt and tail.
        tails: right-padded ids of both continuations.
        sites: names of the sites, in the order of the sequence.
        columns: column of each site.
        reads: columns whose logits are read: those that predict each answer token, then the last token itself; a
            shorter answer repeats its last column.
        targets: the answer's token ids; -1 after its end.
        host: the same on the CPU; None where it is there itself.
    """

    prompt: Int[Tensor, "pair prompt"]
    real: Bool[Tensor, "pair prompt"]
    n_latents: int
    tails: Int[Tensor, "pair 2 tail"]
    sites: tuple[str, ...]
    columns: Int[Tensor, "pair 2 site"]
    reads: Int[Tensor, "pair 2 position"]
    targets: Int[Tensor, "pair 2 position"]
    host: "Batch | None" = None

    __repr__ = short_repr

    @property
    def size(self) -> int:
        """Number of questions."""
        return self.prompt.shape[0]

    @property
    def tail_start(self) -> int:
        """Column of the first token of the tails."""
        return self.prompt.shape[1] + self.n_latents

    @property
    def width(self) -> int:
        """Number of columns, padding included."""
        return self.tail_start + self.tails.shape[2]


def padded_width(layouts: Sequence[Layout], said: int = 0) -> int:
    """`Batch.width` of a batch of `layouts`: a long question and a long answer add up, whosever they are.

    Args:
        said: tokens that each run may say in the place of its answer.
    """
    tails = max(max(len(tail.tokens), tail.answer + said) for layout in layouts for tail in layout.tails)
    return max(len(layout.prompt) + layout.n_latents for layout in layouts) + tails


def collate(layouts: Sequence[Layout], device: torch.device | str = "cpu") -> Batch:
    """Pad `layouts` into one batch; they must have the same sites and the same number of latents."""
    kinds = {(layout.sites, layout.n_latents) for layout in layouts}
    if len(kinds) != 1:
        raise ThoughtError(f"a batch needs questions with the same sites, found {sorted(kinds)}")
    sites, n_latents = kinds.pop()
    width = max(len(layout.prompt) for layout in layouts)
    shifts = [width - len(layout.prompt) for layout in layouts]
    tails = [tail for layout in layouts for tail in layout.tails]
    span = max(len(tail.tokens) for tail in tails)
    count = max(len(tail.answer_tokens) for tail in tails) + 1
    reads, targets = [], []
    for tail in tails:
        answer = tail.answer_tokens
        columns = [width + n_latents + tail.answer - 1 + i for i in range(len(answer) + 1)]
        reads.append(columns + columns[-1:] * (count - len(columns)))
        targets.append([*answer, *[-1] * (count - len(answer))])

    def pairs(values: list[list[int]]) -> Tensor:
        return torch.tensor(values).unflatten(0, (-1, 2))

    host = Batch(
        prompt=torch.tensor(
            [[PAD] * shift + list(layout.prompt) for shift, layout in zip(shifts, layouts, strict=True)]
        ),
        real=torch.arange(width) >= torch.tensor(shifts)[:, None],
        n_latents=n_latents,
        tails=pairs([[*tail.tokens, *[PAD] * (span - len(tail.tokens))] for tail in tails]),
        sites=sites,
        columns=pairs(
            [
                [position + shift for position in layout.positions(tail)]
                for shift, layout in zip(shifts, layouts, strict=True)
                for tail in (0, 1)
            ]
        ),
        reads=pairs(reads),
        targets=pairs(targets),
    )
    if torch.device(device).type == "cpu":
        return host
    there = moved([getattr(host, name) for name in TENSORS], torch.device(device))
    return replace(host, **dict(zip(TENSORS, there, strict=True)), host=host)
