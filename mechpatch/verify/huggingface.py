"""A rollout by Hugging Face alone, one question and one continuation at a time, with at most one vector written.

Sites are found by what they are (the token bot, the k-th input that was fed back, the token before the answer), not by
the columns that a `Batch` counts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from mechpatch.models.architectures import architecture_of
from mechpatch.reprs import short_repr
from mechpatch.thoughts.layout import Layout
from mechpatch.verify.source import Head


@dataclass(frozen=True, slots=True, eq=False)
class PlainRun:
    """What one rollout gave.

    Attributes:
        fed: latent thoughts, as they were put in.
        before: the last block's output from which each of them was made.
        resid: every block's output at every position.
        logits: at the positions that predict the answer's tokens, and at its last token.
    """

    fed: Float[Tensor, "thought d_model"]
    before: Float[Tensor, "thought d_model"]
    resid: Float[Tensor, "layer position d_model"]
    logits: Float[Tensor, "answer vocab"]

    __repr__ = short_repr


@dataclass(frozen=True, slots=True, eq=False)
class VectorAt:
    """Write `vector` over the output of block `layer` at one position."""

    layer: int
    position: int
    vector: Float[Tensor, " d_model"]

    __repr__ = short_repr


@torch.no_grad()
def run(hf: PreTrainedModel, head: Head | None, layout: Layout, tail: int, written: VectorAt | None = None) -> PlainRun:
    """Question, thoughts, and the continuation with the given answer (0 clean, 1 corrupted)."""
    device = hf.device
    cache = DynamicCache(config=hf.config)
    pieces: list[Tensor] = []
    fed, before = [], []

    def segment(start: int, **given: Tensor) -> Tensor:
        with _watching(hf, start, written) as outputs:
            hidden = hf.base_model(**given, past_key_values=cache, use_cache=True).last_hidden_state
        pieces.append(torch.stack([output[0] for output in outputs]))
        return hidden

    hidden = segment(0, input_ids=torch.tensor([layout.prompt], device=device))
    for thought in range(layout.n_latents):
        assert head is not None  # a layout with latents comes from a model with a head
        before.append(pieces[-1][-1, -1])
        fed.append(head(hidden[:, -1])[0])
        hidden = segment(len(layout.prompt) + thought, inputs_embeds=fed[-1][None, None])
    tokens = layout.tails[tail]
    start = len(layout.prompt) + layout.n_latents
    hidden = segment(start, input_ids=torch.tensor([tokens.tokens], device=device))
    empty = hidden.new_empty(0, hidden.shape[-1])
    return PlainRun(
        fed=torch.stack(fed) if fed else empty,
        before=torch.stack(before) if before else empty,
        resid=torch.cat(pieces, dim=1),
        logits=_logits(hf, hidden[0, tokens.answer - 1 :]),
    )


def _logits(hf: PreTrainedModel, hidden: Float[Tensor, "position d_model"]) -> Float[Tensor, "position vocab"]:
    logits = hf.get_submodule("lm_head")(hidden)
    softcap: float | None = getattr(hf.config, "final_logit_softcapping", None)
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


@contextmanager
def _watching(hf: PreTrainedModel, start: int, written: VectorAt | None) -> Iterator[list[Tensor]]:
    """Keep what every block gives, after the write if there is one in this segment."""
    outputs: list[Tensor] = []

    def hook(layer: int) -> Callable[..., Tensor]:
        def watch(module: object, given: object, output: Tensor) -> Tensor:
            if written is not None and written.layer == layer:
                at = written.position - start
                if 0 <= at < output.shape[1]:
                    output = output.clone()
                    output[:, at] = written.vector
            outputs.append(output)
            return output

        return watch

    blocks: nn.ModuleList = getattr(hf.base_model, architecture_of(hf.config).blocks)
    handles = [block.register_forward_hook(hook(layer)) for layer, block in enumerate(blocks)]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
