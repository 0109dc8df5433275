"""NaN and infinity: seen in what a run gave, then traced to the pair, the layer and the position they came from.

Looking is cheap; the search runs the pair again, alone and with plain hooks, and is made only to say where.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.errors import NumericsError
from mechpatch.models import ThoughtModel
from mechpatch.patching import Batch, Outcome, Read, Write, collate, rollout
from mechpatch.patching.patch import Patch
from mechpatch.points import RESID_POST
from mechpatch.thoughts import Layout


class Written(NamedTuple):
    """What was written into a run, at the layers and sites of a patch; of one head alone where the patch names one."""

    patch: Patch
    vectors: Float[Tensor, "pair 2 layer site *vector"]
    hook: str = RESID_POST

    def writes(self, batch: Batch) -> list[Write]:
        """The same, for a rollout of `batch`, on its device."""
        columns = batch.columns[:, :, list(self.patch.sites)]
        vectors = self.vectors.to(columns.device)
        return [
            Write(layer, columns, vectors[:, :, place], self.hook, self.patch.head)
            for place, layer in enumerate(self.patch.layers)
        ]


def require_finite(
    model: ThoughtModel,
    layouts: Sequence[Layout],
    names: Sequence[str],
    given: Sequence[Tensor],
    where: str,
    written: Written | None = None,
) -> None:
    """What a run gave is finite, or a `NumericsError` says in which pair, layer and position it is not.

    Args:
        layouts: the questions of the run, in its order.
        names: their pair ids.
        given: logits and vectors, their first axis the questions.
        where: names the run or cell, for the message.
        written: what was written into the run.
    """
    # The extremes alone: `isfinite` would copy logits of a large vocabulary, and NaN and infinity are extremes.
    extremes = [side for each in given for side in each.flatten(1).aminmax(dim=1)]
    bad = ~torch.stack(extremes).isfinite().all(0)
    if not bool(bad.any()):
        return
    row = int(bad.nonzero()[0])
    alone = written and written._replace(vectors=written.vectors[row : row + 1])
    raise NumericsError(
        f"pair {names[row]!r}, {where}: NaN or infinite {_origin(model, layouts[row], alone)}. In bfloat16 choose "
        "--dtype float32; otherwise look for damaged weights"
    )


@torch.no_grad()
def _origin(model: ThoughtModel, layout: Layout, written: Written | None) -> str:
    """Where the first value that is not finite shows: in the first segment, there the lowest layer, there the first
    position. Within a segment no mask holds NaN back, for nought times NaN is NaN: the layer above has it everywhere.
    """
    batch, writes = collate([layout], model.device), []
    if written is not None:
        patch, vectors, _ = written
        if not bool(torch.isfinite(vectors).all()):
            return f"in the vectors that are written at layer {patch.layer}: look at the run that they were taken from"
        writes = written.writes(batch)
    prompt, tail, end = len(layout.prompt), batch.tail_start, batch.width
    everywhere = torch.arange(end, device=model.device).expand(1, 2, end)
    outcome = rollout(model.hooked, model.head, batch, writes, Read(tuple(range(model.n_layers)), everywhere))
    embedded = ~torch.isfinite(_embedded(model, batch, outcome)).all(-1)  # [continuation, position]
    bad = ~torch.isfinite(outcome.resid[0]).all(-1)  # [continuation, layer, position]
    thoughts = [(0, prompt), *((at, at + 1) for at in range(prompt, tail)), (tail, end)]
    for start, stop in thoughts if batch.n_latents else [(0, end)]:
        for side in (0, 1):
            if bool(embedded[side, start:stop].any()):
                position = start + int(embedded[side, start:stop].nonzero()[0])
                return f"first in the embedding, below layer 0, {_place(model, layout, side, position)}"
            if bool(bad[side, :, start:stop].any()):
                layer, position = bad[side, :, start:stop].nonzero()[0].tolist()
                return f"first at layer {layer}, {_place(model, layout, side, start + position)}"
    if bool(torch.isfinite(outcome.logits).all()):
        return "in its batch, but nowhere when it is run alone with plain hooks: run with --engine reference"
    return f"above the last layer, {model.n_layers - 1}, in the final norm or the unembedding"


def _embedded(model: ThoughtModel, batch: Batch, outcome: Outcome) -> Float[Tensor, "2 position d_model"]:
    """What enters the blocks at every position: embeddings of tokens, and the thoughts that were fed back."""
    prompt, tail = batch.prompt.shape[1], batch.tail_start
    hooked = model.hooked
    parts = [hooked.embed(batch.prompt).expand(2, -1, -1)]
    if model.head is not None and tail > prompt:
        before = hooked.ln_final(outcome.resid[0, :, -1, prompt - 1 : tail - 1])
        parts.append(torch.stack([model.head(each) for each in before]))
    embedded = torch.cat([*parts, hooked.embed(batch.tails[0])], dim=1)
    learned = hooked.cfg.positional_embedding_type == "standard"
    return embedded + hooked.W_pos[: embedded.shape[1]] if learned else embedded


def _place(model: ThoughtModel, layout: Layout, side: int, position: int) -> str:
    """A position, with its site if it is one, and its token if it has one."""
    site = dict(zip(layout.positions(side), layout.sites, strict=True)).get(position)
    prompt, tail = len(layout.prompt), len(layout.prompt) + layout.n_latents
    words = [] if site is None else [site]
    if not prompt <= position < tail:
        token = layout.prompt[position] if position < prompt else layout.tails[side].tokens[position - tail]
        words.append(f"token {model.tokenizer.convert_ids_to_tokens(token)!r}")
    return f"at position {position} ({', '.join(words)})"
