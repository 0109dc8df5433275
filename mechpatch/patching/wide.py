"""One run with plain hooks in float64, whatever the dtype of the model: the referee between two computations of it.

Weights are cast where they are used and forgotten there: block by block, and the unembedding piece by piece. Beside the
model there is therefore never more than one block, one piece, or the latent head in float64.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from transformer_lens import HookedTransformer
from transformer_lens.utilities.activation_functions import apply_softcap

from mechpatch.axes import LatentHead, Logits
from mechpatch.patching.batch import Batch
from mechpatch.patching.rollout import Read, Write, rollout

PIECE = 2**13  # words of the vocabulary that are unembedded at once


class Wide(nn.Module):
    """A module that computes in float64, with tensors that are cast for each call."""

    def __init__(self, inner: nn.Module, device: torch.device) -> None:
        super().__init__()
        self.inner, self.device = inner, device

    def forward(self, *given: object, **named: object) -> object:
        """What the inner module gives."""
        tensors = chain(self.inner.named_parameters(), self.inner.named_buffers())
        cast = {name: _wide(tensor, self.device) for name, tensor in tensors}
        return functional_call(self.inner, cast, given, named)


@torch.no_grad()
def rollout_wide(
    model: HookedTransformer, head: LatentHead | None, batch: Batch, writes: Sequence[Write] = ()
) -> Logits:
    """The logits of a rollout in float64; `model` and `head` are left as they are.

    Args:
        batch: on the device of `wide_device(model)`.
    """
    device = wide_device(model)
    copy = _copy(model, device)
    wide_head = _wide_head(head, device)
    given = [replace(each, columns=each.columns.to(device), source=_wide(each.source, device)) for each in writes]
    read = Read((model.cfg.n_layers - 1,), batch.reads)
    resid = rollout(copy, wide_head, batch, given, read).resid[:, :, 0]
    return _unembed(model, copy.ln_final(resid.flatten(0, 2)[None])[0], device).unflatten(0, resid.shape[:3])


def wide_device(model: HookedTransformer) -> torch.device:
    """Where float64 is computed: where the model is, or on the CPU where that device does not know float64."""
    return float64_device(model.unembed.W_U.device)


def float64_device(device: torch.device) -> torch.device:
    """That device, or the CPU where it does not know float64."""
    return torch.device("cpu") if device.type == "mps" else device


def _copy(model: HookedTransformer, device: torch.device) -> HookedTransformer:
    """The same modules and hooks around the same tensors, which its blocks cast when they are called.

    It embeds into float64, and unembeds nothing.
    """
    shared = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    copy = deepcopy(model, shared)
    copy.cfg.dtype, copy.cfg.device = torch.float64, str(device)
    blocks: nn.ModuleList = copy.blocks
    for layer, block in enumerate(blocks):
        blocks[layer] = Wide(block, device)  # pyright: ignore[reportArgumentType]
    copy.ln_final = Wide(copy.ln_final, device)
    for name in ("embed", "pos_embed"):
        if hasattr(copy, name):
            getattr(copy, name).register_forward_hook(lambda module, given, output: _wide(output, device))
    copy.unembed.W_U, copy.unembed.b_U = (
        nn.Parameter(_wide(tensor[..., :0], device), requires_grad=False)
        for tensor in (model.unembed.W_U, model.unembed.b_U)
    )
    return copy


def _wide_head(head: LatentHead | None, device: torch.device) -> LatentHead | None:
    if head is None:
        return None
    if isinstance(head, nn.Module):
        return Wide(head, device)
    return lambda hidden: _wide(head(hidden), device)


def _unembed(
    model: HookedTransformer, hidden: Float[Tensor, "row d_model"], device: torch.device
) -> Float[Tensor, "row vocab"]:
    weight, bias = model.unembed.W_U.T, model.unembed.b_U
    pieces = [
        F.linear(hidden, _wide(weight[start : start + PIECE], device), _wide(bias[start : start + PIECE], device))
        for start in range(0, len(weight), PIECE)
    ]
    return apply_softcap(torch.cat(pieces, dim=1), model.cfg.output_logits_soft_cap)


def _wide(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.to(device, torch.float64 if tensor.is_floating_point() else tensor.dtype)
