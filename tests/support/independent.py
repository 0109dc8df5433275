"""Latent thoughts on a plain Hugging Face model, as slow and as simple as can be: no batch, no padding, no cache.

Every thought runs the whole sequence again; a patch is a forward hook on a module of a decoder layer.
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

    def place(self, layer: int, hook: str) -> tuple[nn.Module, bool, slice]:
        """Where a hook point lies: a module, whether what it is given is meant, and which columns of that."""
        block, norm = self.layers[layer], "post_feedforward_layernorm"
        mlp: Any = block.mlp
        attention: Any = getattr(block, "attn" if hasattr(block, "attn") else "self_attn")
        normed = hasattr(block, norm)  # what attention and MLP give is normed before it is added
        added: Any = block.post_attention_layernorm if normed else attention
        places: dict[str, tuple[Any, bool]] = {
            "resid_pre": (block, True),
            "resid_post": (block, False),
            "attn_out": (added, False),
            "resid_mid": (added, False),  # to which the residual stream before it is added
            "post": (mlp.c_proj if hasattr(mlp, "c_proj") else mlp.down_proj, True),
            "mlp_out": (getattr(block, norm) if normed else block.mlp, False),
        }
        if hook in places:
            return *places[hook], slice(None)
        if hook == "z":
            return getattr(attention, "c_proj" if hasattr(attention, "c_proj") else "o_proj"), True, slice(None)
        if hasattr(attention, "c_attn"):
            width = attention.c_attn.weight.shape[0]
            return attention.c_attn, False, slice(width * "qkv".index(hook), width * ("qkv".index(hook) + 1))
        return getattr(attention, f"{hook}_proj"), False, slice(None)

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
    """What a run gave: thoughts, logits from the last token before the answer on, every layer's last output.

    Attributes:
        given: by the hook point that was written and by layer, what is there after it, [position, coordinate].
    """

    logits: Tensor
    thoughts: list[Tensor] = field(default_factory=list)
    resid: list[Tensor] = field(default_factory=list)
    given: dict[tuple[str, int], Tensor] = field(default_factory=dict)


@torch.no_grad()
def run(
    plain: Plain,
    layout: Layout,
    tail: int,
    writes: Sequence[tuple[int, int, Tensor]] = (),
    hook: str = "resid_post",
    head: int | None = None,
) -> Run:
    """One question with one continuation; a write is a layer, a position and what is there.

    Args:
        hook: the hook point that is written; of `kv` a write holds keys, then values.
        head: the only head that is written.
    """
    embed, given, handles = plain.hf.get_input_embeddings(), {}, []
    parts = {"kv": ("k", "v"), "thought": ()}.get(hook, (hook,))

    def touched(name: str, layer: int, x: Tensor, columns: slice) -> Tensor:
        x = x.clone()
        there = x[0, :, columns]
        added_to = given["resid_pre", layer] if name == "resid_mid" else torch.zeros_like(there)
        for where, position, vector in writes if name in parts else ():
            if where == layer and position < len(there):
                vector = vector if len(parts) == 1 else vector[parts.index(name)]
                at = slice(None) if head is None else slice(head * len(vector), (head + 1) * len(vector))
                there[position, at] = vector.flatten() - added_to[position, at]
        given[name, layer] = there + added_to
        return x

    def watch(name: str, layer: int) -> None:
        module, of_input, columns = plain.place(layer, name)

        def enters(module: nn.Module, args: tuple) -> tuple:
            return touched(name, layer, args[0], columns), *args[1:]

        def leaves(module: nn.Module, args: object, output: Any) -> Any:
            if not isinstance(output, tuple):
                return touched(name, layer, output, columns)
            return touched(name, layer, output[0], columns), *output[1:]

        handles.append(module.register_forward_pre_hook(enters) if of_input else module.register_forward_hook(leaves))

    for layer in range(len(plain.layers)):
        for name in dict.fromkeys(("resid_pre", *parts, "resid_post")):
            watch(name, layer)
    try:
        sequence = embed(torch.tensor([layout.prompt]))
        thoughts = []
        for number in range(layout.n_latents):
            hidden = plain.hf.base_model(inputs_embeds=sequence, use_cache=False).last_hidden_state
            thoughts.append(plain.think(hidden[:, -1]))
            for _, position, vector in writes if hook == "thought" else ():
                if position == len(layout.prompt) + number:
                    thoughts[-1] = vector[None]
            sequence = torch.cat([sequence, thoughts[-1][:, None]], dim=1)
        sequence = torch.cat([sequence, embed(torch.tensor([layout.tails[tail].tokens]))], dim=1)
        logits = plain.hf(inputs_embeds=sequence, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    start = len(layout.prompt) + layout.n_latents + layout.tails[tail].answer - 1
    return Run(logits[start:], thoughts, [given["resid_post", layer] for layer in range(len(plain.layers))], given)
