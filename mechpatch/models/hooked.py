"""A merged Hugging Face model as a `HookedTransformer` that shares its tensors.

No weight is folded or centred, and none is copied but an embedding that the architecture scales, and gains that it
counts from 1: the norm that feeds latents back, and parity with Hugging Face, need the weights as they are. The rotary
tables are Hugging Face's own, so every static kind of rope scaling is exact.
"""

import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.utilities.activation_functions import apply_softcap
from transformers import PreTrainedModel

from mechpatch.errors import CheckpointError
from mechpatch.formats import scientific
from mechpatch.models.architectures import architecture_of

# ‖Δlogits‖ over ‖logits‖, mean over positions: wrong weights give about 1. Not the largest difference, because in
# bfloat16 a single saturated attention can flip at one position. Hugging Face's norms run in fp32 even in fp64.
PARITY_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.2}
# transformer-lens makes these itself; everything else must come from the checkpoint.
OWN_BUFFERS = ("rotary_sin", "rotary_cos", "mask", "IGNORE")
# Kinds of blocks, as transformer-lens and Hugging Face call them.
LAYER_TYPES = {"local": "sliding_attention", "global": "full_attention"}


@dataclass
class Config(HookedTransformerConfig):
    """transformer-lens' configuration, and which matrices really have a bias; it gives one, of zeros, to all."""

    biases: tuple[str, ...] = ()


def hooked_config(hf: PreTrainedModel, n_ctx: int) -> Config:
    """The transformer-lens configuration of a model; every field is read from `hf`."""
    config, row = hf.config, architecture_of(hf.config)
    return Config(
        model_name=config.model_type,
        original_architecture=row.cls.__name__,
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_heads=config.num_attention_heads,
        d_vocab=config.vocab_size,
        n_ctx=n_ctx,
        init_weights=False,
        dtype=hf.dtype,
        device=str(hf.device),
        tie_word_embeddings=config.tie_word_embeddings,
        biases=row.biases,
        **row.settings(config),
    )


def to_hooked(hf: PreTrainedModel, n_ctx: int) -> HookedTransformer:
    """Wrap `hf` without copying: the two models share every weight.

    Args:
        n_ctx: longest sequence that will be run, in tokens; bounds the rotary tables.
    """
    cfg = hooked_config(hf, n_ctx)
    with warnings.catch_warnings():  # 3.9 announces its own removal in 4; we pin below 4
        warnings.simplefilter("ignore", DeprecationWarning)
        model = HookedTransformer(cfg, move_to_device=False)
    result = model.load_state_dict(converted(hf, cfg), strict=False, assign=True)
    missing = [key for key in result.missing_keys if not key.endswith(OWN_BUFFERS)]
    if missing or result.unexpected_keys:
        raise CheckpointError(f"conversion to transformer-lens left {missing} empty and {result.unexpected_keys} over")
    if cfg.positional_embedding_type == "rotary":
        _share_rotary(model, hf)
    return model.eval().requires_grad_(False)


def converted(hf: PreTrainedModel, cfg: HookedTransformerConfig) -> dict[str, Tensor]:
    """The weights of `hf` under transformer-lens' names, on its device; no copies but those that the module names."""
    state = architecture_of(hf.config).convert(hf, cfg)
    return {name: tensor.to(hf.device, hf.dtype) for name, tensor in state.items()}


def _share_rotary(model: HookedTransformer, hf: PreTrainedModel) -> None:
    """Give every block Hugging Face's cosines and sines, in one shared table; in two where local blocks have theirs."""
    rotary: Any = hf.base_model.rotary_emb
    positions, like = torch.arange(model.cfg.n_ctx, device=hf.device)[None], torch.zeros(1).to(hf.device, hf.dtype)
    by_kind = hasattr(rotary, "layer_types")

    @cache
    def table(kind: str) -> tuple[Tensor, Tensor]:
        cos, sin = rotary(like, positions, LAYER_TYPES[kind]) if by_kind else rotary(like, positions)
        return cos[0], sin[0]

    for block in model.blocks:
        attention: Any = block.attn
        attention.rotary_cos, attention.rotary_sin = table(attention.attn_type if by_kind else "global")


@torch.no_grad()
def parity(model: HookedTransformer, hf: PreTrainedModel, tokens: Int[Tensor, "row position"]) -> float:
    """max |Δlogit| between the two models on `tokens`, in logits.

    Raises:
        CheckpointError: the logits are not finite, or differ by more than `PARITY_TOLERANCE`.
    """
    expected = hf(tokens).logits.float()
    if not expected.isfinite().all():
        bad = [name for name, weight in hf.named_parameters() if not weight.isfinite().all()]
        cause = f"{bad[0]} is NaN or infinite" if bad else "a weight is huge"
        raise CheckpointError(f"the model's logits are not finite: {cause}, or LoRA's alpha is huge")
    resid = model(tokens, stop_at_layer=model.cfg.n_layers)
    logits = model.ln_final(resid).flatten(0, 1) @ model.unembed.W_U
    found = apply_softcap(logits, model.cfg.output_logits_soft_cap).view_as(expected).float()
    expected, found = expected.cpu().double(), found.cpu().double()  # the norm of huge logits would be infinite
    difference = found - expected
    share = (difference.norm(dim=-1) / expected.norm(dim=-1)).mean().item()
    largest = difference.abs().max().item()
    if not share <= PARITY_TOLERANCE[hf.dtype]:  # NaN fails too
        raise CheckpointError(
            f"HookedTransformer and Hugging Face differ by {scientific(largest)} in a logit of the same weights, and "
            f"by {scientific(share)} of the logits' norm; at most {scientific(PARITY_TOLERANCE[hf.dtype])} of it was "
            "expected. Either config.json asks for something that transformer-lens does not do, or a weight is damaged"
        )
    return largest
