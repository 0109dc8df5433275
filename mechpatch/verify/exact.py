"""Hugging Face's models without the rounding to float32 that they have in float64, in norms and in attention."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

from mechpatch.models.architectures import architecture_of

NAME = "mechpatch-exact"  # of the attention function


def make_exact(hf: PreTrainedModel) -> None:
    """Put norms and attention of float64 into a model of float64."""
    first_gain = architecture_of(hf.config).first_gain
    for module in list(hf.modules()):
        for name, child in module.named_children():
            if type(child).__name__.endswith("RMSNorm"):
                setattr(module, name, _Norm(child.weight, first_gain, hf.config.rms_norm_eps))  # pyright: ignore
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, eager_mask)
    hf.config._attn_implementation = NAME


class _Norm(nn.Module):
    def __init__(self, weight: nn.Parameter, first_gain: float, eps: float) -> None:
        super().__init__()
        self.weight, self.first_gain, self.eps = weight, first_gain, eps

    def forward(self, hidden: Float[Tensor, "*row d_model"]) -> Float[Tensor, "*row d_model"]:
        scale = torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self.eps)
        return (self.first_gain + self.weight) * hidden * scale


def _attention(
    module: nn.Module,
    query: Float[Tensor, "row head query d_head"],
    key: Float[Tensor, "row kv_head key d_head"],
    value: Float[Tensor, "row kv_head key d_head"],
    attention_mask: Tensor | None,
    scaling: float,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' own, with a softmax that is not rounded to float32."""
    key, value = (each.repeat_interleave(query.shape[1] // each.shape[1], dim=1) for each in (key, value))
    scores = query @ key.mT * scaling
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if attention_mask is not None:
        scores = scores + attention_mask
    return (scores.softmax(-1) @ value).transpose(1, 2), None
