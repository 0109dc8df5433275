"""The model once more, made of its files by another way than `models` takes: transformers loads, a formula merges.

Neither `models.load`, `models.adapter` nor PEFT's merging takes part, so that a mistake there shows as a difference.
Weights are merged as `W + c · alpha / r · B A` in float64 on the CPU, with any factor `c`.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mechpatch.models.architectures import architecture_of
from mechpatch.models.base import model_folder
from mechpatch.reprs import short_repr
from mechpatch.source import ModelSource
from mechpatch.verify.exact import make_exact
from mechpatch.verify.tensors import Delta, read_adapter, read_checkpoint

Head = Callable[[Float[Tensor, "row d_model"]], Float[Tensor, "row d_model"]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Checkpoint:
    """A model made of its files.

    Attributes:
        hf: merged, unless `set_scale` last said otherwise.
        base: unmerged weight of every adapted module.
        deltas: by module name.
        head: head that makes latent thoughts; None where nothing is fed back.
        unusual: why this adapter cannot be merged by the formula; PEFT then runs it beside the base, unmerged. Empty
            where it can.
    """

    hf: PreTrainedModel
    base: Mapping[str, Tensor]
    deltas: Mapping[str, Delta]
    head: Head | None
    unusual: str = ""

    __repr__ = short_repr

    def set_scale(self, factor: float) -> None:
        """Merge anew, with `factor` times the alpha; 0 gives the base."""
        for name, delta in self.deltas.items():
            weight = self.hf.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            merged = self.base[name].double() + factor * delta.matrix() if factor else self.base[name]
            weight.copy_(merged.to(weight.dtype))

    def weights(self) -> dict[str, Tensor]:
        """Every weight of the merged model, by Hugging Face name; a tied one under both of its names."""
        return dict(self.hf.named_parameters(remove_duplicate=False))


@torch.no_grad()
def read_source(source: ModelSource, dtype: torch.dtype, device: torch.device) -> Checkpoint:
    """Read and merge; see the module's docstring.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    source = source.resolved()
    folder = model_folder(source.base)
    found = read_adapter(source, folder, dtype) if source.adapter else read_checkpoint(source, folder, dtype)
    hf, deltas = _base(folder, found.rows, found.whole, dtype), found.deltas
    for weight in hf.parameters():
        weight.requires_grad_(False)
    for name in deltas:
        if isinstance(hf.get_submodule(name), Conv1D):
            deltas[name] = replace(deltas[name], transposed=True)
    base = {name: hf.get_submodule(name).weight.detach().clone() for name in deltas}  # pyright: ignore
    head = {"head": lambda: _head({name: each.to(device) for name, each in found.head.items()}, found.family.head)}
    head |= {"mixture": lambda: _mixture(hf, source.soft_top_k or 0, source.soft_temperature or 0.0)}
    made = head[found.family.fed]() if found.family.fed in head else None
    checkpoint = Checkpoint(hf=hf, base=base, deltas=deltas, head=made, unusual=found.unusual)
    if found.unusual:
        _run_beside(hf, Path(str(source.adapter)), dtype)
    else:
        checkpoint.set_scale(1.0)
    if dtype == torch.float64:
        make_exact(hf)
    nn.Module.to(hf.eval(), device)
    return checkpoint


def _base(
    folder: Path, rows: Mapping[str, Tensor], whole: Mapping[str, Tensor] | None, dtype: torch.dtype
) -> PreTrainedModel:
    """The unmerged model, with the embedding rows that an adapter or checkpoint brings."""
    if whole is None:
        hf = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True, trust_remote_code=False)
    else:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        row = architecture_of(config)
        config.vocab_size = len(whole[row.embedding])
        hf = row.cls(config)
        nn.Module.to(hf, dtype)
        hf.load_state_dict(dict(whole), strict=False)  # a tied output may be absent; parity would notice anything else
    assert isinstance(hf, PreTrainedModel)
    for name, tensor in rows.items():
        if len(tensor) != hf.config.vocab_size:
            hf.resize_token_embeddings(len(tensor), mean_resizing=False)
        hf.get_submodule(name.removesuffix(".weight")).weight.data.copy_(tensor)  # pyright: ignore
    return hf


def _run_beside(hf: PreTrainedModel, adapter: Path, dtype: torch.dtype) -> None:
    """Put PEFT's own layers in place of the adapted ones; they add the adapter at every call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PEFT advises to trainers
        model = PeftModel.from_pretrained(hf, str(adapter), autocast_adapter_dtype=False)
    nn.Module.to(model, dtype)


def _head(state: Mapping[str, Tensor], names: Sequence[str]) -> Head:
    """Linear, GELU, Linear, LayerNorm, in plain functions; the identity where there are no tensors."""

    def head(hidden: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        if not state:
            return hidden
        first, second, norm = names
        inner = F.gelu(F.linear(hidden, state[f"{first}.weight"], state[f"{first}.bias"]))
        thought = F.linear(inner, state[f"{second}.weight"], state[f"{second}.bias"])
        if f"{norm}.weight" not in state:
            return thought
        return F.layer_norm(thought, thought.shape[-1:], state[f"{norm}.weight"], state[f"{norm}.bias"])

    return head


def _mixture(hf: PreTrainedModel, top_k: int, temperature: float) -> Head:
    """Soft thinking by its definition: probabilities of all tokens, those of the likeliest made to sum to 1."""

    def head(hidden: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        scores = hf.get_submodule("lm_head")(hidden)
        if (cap := getattr(hf.config, "final_logit_softcapping", None)) is not None:
            scores = cap * torch.tanh(scores / cap)
        chances, tokens = (scores / temperature).softmax(-1).topk(top_k)
        embeddings = hf.get_input_embeddings()(tokens)
        return (chances[..., None] * embeddings).sum(-2) / chances.sum(-1, keepdim=True)

    return head
