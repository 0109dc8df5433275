"""A merged Hugging Face Llama as a `HookedTransformer` that shares its tensors.

No weight is copied, folded or centred: the norm that feeds latents back, and parity with Hugging Face, need the
weights as they are. The rotary tables are Hugging Face's own, so every static kind of rope scaling is exact.
"""

import warnings

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights
from transformers import LlamaConfig, LlamaForCausalLM

from mechpatch.errors import CheckpointError

# ‖Δlogits‖ over ‖logits‖, mean over positions: wrong weights give about 1. Not the largest difference, because in
# bfloat16 a single saturated attention can flip at one position. Hugging Face's norms run in fp32 even in fp64.
PARITY_TOLERANCE = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 0.2}
# transformer-lens makes these itself; everything else must come from the checkpoint.
OWN_BUFFERS = ("rotary_sin", "rotary_cos", "mask", "IGNORE")


def hooked_config(config: LlamaConfig, dtype: torch.dtype, device: str, n_ctx: int) -> HookedTransformerConfig:
    """The transformer-lens configuration of a Llama; every field is read from `config`."""
    return HookedTransformerConfig(
        model_name="llama",
        original_architecture="LlamaForCausalLM",
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_heads=config.num_attention_heads,
        n_key_value_heads=config.num_key_value_heads,
        d_head=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        d_mlp=config.intermediate_size,
        d_vocab=config.vocab_size,
        n_ctx=n_ctx,
        eps=config.rms_norm_eps,
        act_fn="silu",
        normalization_type="RMS",
        final_rms=True,
        gated_mlp=True,
        positional_embedding_type="rotary",
        rotary_adjacent_pairs=False,
        init_weights=False,
        dtype=dtype,
        device=device,
        tie_word_embeddings=config.tie_word_embeddings,
    )


def to_hooked(hf: LlamaForCausalLM, n_ctx: int) -> HookedTransformer:
    """Wrap `hf` without copying: the two models share every weight.

    Args:
        n_ctx: longest sequence that will be run, in tokens; bounds the rotary tables.
    """
    cfg = hooked_config(hf.config, hf.dtype, str(hf.device), n_ctx)
    with warnings.catch_warnings():  # 3.9 announces its own removal in 4; we pin below 4
        warnings.simplefilter("ignore", DeprecationWarning)
        model = HookedTransformer(cfg, move_to_device=False)
    result = model.load_state_dict(convert_llama_weights(hf, cfg), strict=False, assign=True)
    missing = [key for key in result.missing_keys if not key.endswith(OWN_BUFFERS)]
    if missing or result.unexpected_keys:
        raise CheckpointError(f"conversion to transformer-lens left {missing} empty and {result.unexpected_keys} over")
    _share_rotary(model, hf)
    return model.eval().requires_grad_(False)


def _share_rotary(model: HookedTransformer, hf: LlamaForCausalLM) -> None:
    """Give every block Hugging Face's cosines and sines, in one shared table."""
    positions = torch.arange(model.cfg.n_ctx, device=hf.device)[None]
    cos, sin = hf.model.rotary_emb(torch.zeros(1, dtype=hf.dtype, device=hf.device), positions)
    for block in model.blocks:
        block.attn.rotary_cos, block.attn.rotary_sin = cos[0], sin[0]


@torch.no_grad()
def parity(model: HookedTransformer, hf: LlamaForCausalLM, tokens: Int[Tensor, "row position"]) -> float:
    """max |Δlogit| between the two models on `tokens`, in logits.

    Raises:
        CheckpointError: the logits are not finite, or differ by more than `PARITY_TOLERANCE`.
    """
    expected = hf(tokens).logits.float()
    if not expected.isfinite().all():
        bad = [name for name, weight in hf.named_parameters() if not weight.isfinite().all()]
        cause = f"{bad[0]} is NaN or infinite" if bad else "a weight is huge"
        raise CheckpointError(f"the model's logits are not finite: {cause}, or LoRA's alpha is huge")
    resid = model(model.embed(tokens), start_at_layer=0, stop_at_layer=model.cfg.n_layers)
    found = (model.ln_final(resid).flatten(0, 1) @ model.unembed.W_U).view_as(expected).float()
    expected, found = expected.cpu().double(), found.cpu().double()  # the norm of huge logits would be infinite
    difference = found - expected
    share = (difference.norm(dim=-1) / expected.norm(dim=-1)).mean().item()
    largest = difference.abs().max().item()
    if not share <= PARITY_TOLERANCE[hf.dtype]:  # NaN fails too
        raise CheckpointError(
            f"HookedTransformer and Hugging Face differ by {largest:.2e} in a logit of the same weights, and by "
            f"{share:.1e} of the logits' norm; at most {PARITY_TOLERANCE[hf.dtype]:.0e} of it was expected. "
            "Either config.json asks for something that transformer-lens does not do, or a weight is damaged"
        )
    return largest
