"""What turns the normed hidden state of one position into the next thought."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformer_lens import HookedTransformer
from transformer_lens.utilities.activation_functions import apply_softcap

from mechpatch.errors import CheckpointError
from mechpatch.families import CODI
from mechpatch.models.files import account

Hidden = Float[Tensor, "pair d_model"]


class LatentHead(nn.Module):
    """Linear, GELU, Linear, LayerNorm. An empty state gives the identity: the hidden state itself is the thought.

    Args:
        state: weights and biases of its layers.
        names: names of the layers; the norm may be absent.
    """

    def __init__(self, state: Mapping[str, Tensor], names: Sequence[str] = CODI.head) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if state:
            first, second, norm = names
            for name in (first, second):
                weight = state[f"{name}.weight"]
                linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
                linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(state[f"{name}.bias"])
                layers += [linear, nn.GELU()]
            layers.pop()
            if f"{norm}.weight" in state:
                last = nn.LayerNorm(state[f"{norm}.weight"].shape[0], device="meta")
                last.weight, last.bias = nn.Parameter(state[f"{norm}.weight"]), nn.Parameter(state[f"{norm}.bias"])
                layers.append(last)
        self.layers = nn.Sequential(*layers)
        self.requires_grad_(False)

    def forward(self, hidden: Hidden) -> Hidden:
        """The input embedding of the next thought."""
        return self.layers(hidden)


class SoftHead(nn.Module):
    """Soft thinking: the mean of the embeddings of the likeliest next tokens, weighted by their probabilities.

    It shares the embeddings of the model, and computes in the dtype of what it is given. Where two tokens are equally
    likely at the border of the likeliest ones, rounding decides which of them counts.

    Args:
        top_k: how many tokens count; their probabilities are made to sum to 1.
        temperature: divides the logits.
    """

    def __init__(self, model: HookedTransformer, top_k: int, temperature: float) -> None:
        super().__init__()
        if not 1 <= top_k <= model.cfg.d_vocab:
            raise CheckpointError(f"--soft-top-k is {top_k}, expected 1 to {model.cfg.d_vocab} tokens")
        if not temperature > 0:
            raise CheckpointError(f"--soft-temperature is {temperature:g}, expected more than 0")
        self.unembed = nn.Parameter(model.unembed.W_U.T, requires_grad=False)
        self.register_buffer("embed", model.embed.W_E, persistent=False)
        self.softcap, self.top_k, self.temperature = model.cfg.output_logits_soft_cap, top_k, temperature

    def forward(self, hidden: Hidden) -> Hidden:
        """The input embedding of the next thought."""
        logits = apply_softcap(F.linear(hidden, self.unembed), self.softcap)
        likely, tokens = logits.topk(self.top_k, dim=-1)
        weights = (likely / self.temperature).softmax(-1)
        assert isinstance(self.embed, Tensor)
        return torch.einsum("pk,pkd->pd", weights, self.embed[tokens])


def check_head(state: Mapping[str, Tensor], names: Sequence[str], d_model: int, source: object) -> None:
    """The head is whole and maps d_model to d_model, or a `CheckpointError` names what is not so."""
    if not state:
        return
    first, second, norm = names
    weight = state.get(f"{first}.weight")
    inner = weight.shape[0] if weight is not None and weight.ndim else d_model
    shapes = {
        f"{first}.weight": (inner, d_model),
        f"{first}.bias": (inner,),
        f"{second}.weight": (d_model, inner),
        f"{second}.bias": (d_model,),
    }
    if any(name.startswith(norm) for name in state):
        shapes |= {f"{norm}.weight": (d_model,), f"{norm}.bias": (d_model,)}
    expected = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    account(source, state, expected, f"Expected a latent head from {d_model} to {d_model} dimensions")
