"""Latent thoughts on a plain Hugging Face model, as slow and as simple as can be: no batch, no padding, no cache.

Every thought runs the whole sequence again; a patch is a forward hook on a decoder layer.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from checkpoints import ADAPTED, CODI
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.pytorch_utils import Conv1D

from mechpatch.thoughts import Layout
from mechpatch.verify.exact import make_exact


@dataclass(frozen=True, kw_only=True, eq=False)
class Plain:
    """A merged model.

    Attributes:
        hf: Hugging Face's.
        head: tensors of the latent head; none where the hidden state itself is the thought.
        mixed: makes the thought where no head does.
    """

    hf: Any
    head: Mapping[str, Tensor]
    mixed: Callable[[Tensor], Tensor] | None = None

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers."""
        return self.hf.base_model.h if hasattr(self.hf.base_model, "h") else self.hf.base_model.layers

    def think(self, hidden: Tensor) -> Tensor:
        """The next thought."""
        if not self.head:
            return hidden if self.mixed is None else self.mixed(hidden)
        inner = F.gelu(F.linear(hidden, self.head["prj.1.weight"], self.head["prj.1.bias"]))
        thought = F.linear(inner, self.head["prj.3.weight"], self.head["prj.3.bias"])
        return F.layer_norm(thought, thought.shape[-1:], self.head["prj.ln.weight"], self.head["prj.ln.bias"])


def merge(model: Any, state: Mapping[str, Tensor], alpha: float, dtype: torch.dtype) -> Plain:
    """`model` with the adapter and the embeddings of a CODI state: `W + alpha / r · B A`."""
    model = copy.deepcopy(model).to(dtype)
    state = {name: tensor.to(dtype) for name, tensor in state.items()}
    for name, module in model.named_modules():
        if name.endswith(ADAPTED) and isinstance(module, nn.Linear | Conv1D):
            down, up = (state[f"{CODI}{name}.lora_{side}.default.weight"] for side in "AB")
            change = alpha / len(down) * up @ down
            module.weight.add_(change.T if isinstance(module, Conv1D) else change)
    rows = {name.removeprefix(CODI): each for name, each in state.items() if name.endswith(EMBEDDINGS)}
    for name, each in rows.items():
        model.get_submodule(name.removesuffix(".weight")).weight = nn.Parameter(each, requires_grad=False)
    model.config.vocab_size = len(next(iter(rows.values())))
    return whole(model, {name: each for name, each in state.items() if name.startswith("prj.")}, dtype)


def whole(model: Any, head: Mapping[str, Tensor], dtype: torch.dtype) -> Plain:
    """`model` as it is, with the tensors of a head."""
    model = copy.deepcopy(model).to(dtype)
    if model.config.tie_word_embeddings:
        model.lm_head.weight = model.get_input_embeddings().weight
    if hasattr(model.get_input_embeddings(), "embed_scale"):
        model.get_input_embeddings().embed_scale = torch.tensor(model.config.hidden_size**0.5, dtype=dtype)
    if dtype == torch.float64:
        make_exact(model)
    return Plain(hf=model, head={name: each.to(dtype) for name, each in head.items()})


EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "lm_head.weight")


@dataclass
class Run:
    """What a run gave: thoughts, logits from the last token before the answer on, every layer's last output."""

    logits: Tensor
    thoughts: list[Tensor] = field(default_factory=list)
    resid: list[Tensor] = field(default_factory=list)


@torch.no_grad()
def run(plain: Plain, layout: Layout, tail: int, writes: Sequence[tuple[int, int, Tensor]] = ()) -> Run:
    """One question with one continuation; a write is a layer, a position and what its output is there."""
    embed, resid = plain.hf.get_input_embeddings(), {}

    def hook(layer: int) -> Any:
        def write(module: nn.Module, given: object, output: Tensor) -> Tensor:
            output = output.clone()
            for where, position, vector in writes:
                if where == layer and position < output.shape[1]:
                    output[:, position] = vector
            resid[layer] = output[0]
            return output

        return write

    handles = [each.register_forward_hook(hook(layer)) for layer, each in enumerate(plain.layers)]
    try:
        sequence = embed(torch.tensor([layout.prompt]))
        thoughts = []
        for _ in range(layout.n_latents):
            hidden = plain.hf.base_model(inputs_embeds=sequence, use_cache=False).last_hidden_state
            thoughts.append(plain.think(hidden[:, -1]))
            sequence = torch.cat([sequence, thoughts[-1][:, None]], dim=1)
        sequence = torch.cat([sequence, embed(torch.tensor([layout.tails[tail].tokens]))], dim=1)
        logits = plain.hf(inputs_embeds=sequence, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    start = len(layout.prompt) + layout.n_latents + layout.tails[tail].answer - 1
    return Run(logits[start:], thoughts, [resid[layer] for layer in range(len(handles))])
