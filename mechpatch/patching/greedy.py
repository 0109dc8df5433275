"""What a model says after the thoughts of a question, one likeliest token after the other.

A plain rollout, as `rollout` does it, that goes on where the answers of a layout begin. Nothing is written.
"""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens import HookedTransformer
from transformer_lens.cache.key_value_cache import TransformerLensKeyValueCache

from mechpatch.axes import LatentHead
from mechpatch.errors import ThoughtError
from mechpatch.patching.batch import collate
from mechpatch.patching.rollout import unembed
from mechpatch.patching.segment import segment
from mechpatch.thoughts.layout import Layout


@torch.no_grad()
def greedy(
    model: HookedTransformer, head: LatentHead | None, layouts: Sequence[Layout], count: int, ends: Collection[int]
) -> list[list[int]]:
    """What follows the thoughts and the answer prefix of each question, in one batch.

    Args:
        layouts: with equal tokens between thoughts and answer; their answers are not read.
        count: tokens at most, fewer where the model has no more positions.
        ends: tokens that end what is said, left out.

    Raises:
        ThoughtError: there are latent thoughts and no head.
    """
    batch, device = collate(layouts, model.W_E.device), model.W_E.device
    [opening] = {layout.opening for layout in layouts}
    cache = TransformerLensKeyValueCache.init_cache(model.cfg, device, batch.size)
    run = 0

    def last(fed: Float[Tensor, "pair position d_model"]) -> Float[Tensor, "pair d_model"]:
        """Run some columns more; the normed hidden state of the last one."""
        nonlocal run
        hidden, _ = segment(model, fed, batch.real, cache, run)
        run += fed.shape[1]
        return model.ln_final(hidden[:, -1:])[:, 0]

    normed = last(model.embed(batch.prompt))
    for _ in range(batch.n_latents):
        if head is None:
            raise ThoughtError("latent thoughts need a model with a latent head; load a CODI checkpoint")
        normed = last(head(normed)[:, None])
    normed = last(model.embed(torch.tensor([opening] * batch.size, device=device)))
    said: list[list[int]] = [[] for _ in layouts]
    going = set(range(batch.size))
    for step in range(count):
        tokens = unembed(model, normed).argmax(-1)
        found = tokens.tolist()
        going -= {row for row in going if found[row] in ends}
        for row in going:
            said[row].append(found[row])
        if not going or step + 1 == count or run == model.cfg.n_ctx:
            break
        normed = last(model.embed(tokens[:, None]))
    return said
