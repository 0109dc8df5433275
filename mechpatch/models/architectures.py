"""The architectures that can be run: one row each, with all that its Hugging Face and transformer-lens names differ in.

Nothing else in the package knows an architecture's name. Whoever adds a row adds it to the table of the tests too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformer_lens import HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions.gemma import convert_gemma_weights
from transformer_lens.pretrained.weight_conversions.gpt2 import convert_gpt2_weights
from transformer_lens.pretrained.weight_conversions.llama import convert_llama_weights
from transformer_lens.pretrained.weight_conversions.mistral import convert_mistral_weights
from transformer_lens.pretrained.weight_conversions.qwen2 import convert_qwen2_weights
from transformer_lens.pretrained.weight_conversions.qwen3 import convert_qwen3_weights
from transformers import (
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2ForCausalLM,
    Qwen3ForCausalLM,
)

from mechpatch.reprs import short_repr

Convert = Callable[[Any, HookedTransformerConfig], dict[str, Tensor]]
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ROPE = ("rope_parameters", "max_position_embeddings", "num_attention_heads", "num_key_value_heads")
WINDOW = ("sliding_window", "layer_types")
# Gains of Gemma 2 and 3, which count from 1: transformer-lens' names and Hugging Face's.
GAINS = {
    "ln1": "input_layernorm",
    "ln1_post": "post_attention_layernorm",
    "ln2": "pre_feedforward_layernorm",
    "ln2_post": "post_feedforward_layernorm",
    "attn.q_norm": "self_attn.q_norm",
    "attn.k_norm": "self_attn.k_norm",
}


def rotary_gated(config: PreTrainedConfig) -> dict[str, Any]:
    """Settings of what Llama began: RMS norms, rotary embedding, a gated MLP."""
    return {
        "n_key_value_heads": config.num_key_value_heads,
        "d_head": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        "d_mlp": config.intermediate_size,
        "eps": config.rms_norm_eps,
        "act_fn": getattr(config, "hidden_activation", None) or config.hidden_act,
        "normalization_type": "RMS",
        "final_rms": True,
        "gated_mlp": True,
        "positional_embedding_type": "rotary",
        "rotary_adjacent_pairs": False,
    }


def learned_positions(config: PreTrainedConfig) -> dict[str, Any]:
    """Settings of GPT-2."""
    return {
        "d_head": config.hidden_size // config.num_attention_heads,
        "d_mlp": config.n_inner or 4 * config.hidden_size,
        "eps": config.layer_norm_epsilon,
        "act_fn": config.activation_function,
        "normalization_type": "LN",
        "positional_embedding_type": "standard",
        "use_attn_scale": config.scale_attn_weights,
        "scale_attn_by_inverse_layer_idx": config.scale_attn_by_inverse_layer_idx,
    }


def windowed(config: PreTrainedConfig) -> dict[str, Any]:
    """Settings of models of which some blocks see no further back than a window."""
    local = ["local" if kind == "sliding_attention" else "global" for kind in config.layer_types]
    if "local" not in local:
        return rotary_gated(config)
    return {
        **rotary_gated(config),
        "use_local_attn": True,
        "attn_types": local,
        "window_size": config.sliding_window,
    }


def windowed_throughout(config: PreTrainedConfig) -> dict[str, Any]:
    """Settings of Mistral: a window in every block, or none."""
    if config.sliding_window is None:
        return rotary_gated(config)
    return {
        **rotary_gated(config),
        "use_local_attn": True,
        "attn_types": ["local"] * config.num_hidden_layers,
        "window_size": config.sliding_window,
    }


def gemma(config: PreTrainedConfig) -> dict[str, Any]:
    """Settings of Gemma 2 and 3; that of Gemma 3 has a softcap of scores which Hugging Face does not use."""
    softcap = config.attn_logit_softcapping if config.model_type == "gemma2" else None
    return {
        **windowed(config),
        "attn_scale": config.query_pre_attn_scalar**0.5,
        "use_normalization_before_and_after": True,
        "use_qk_norm": config.model_type == "gemma3_text",
        "attn_scores_soft_cap": softcap or -1.0,
        "output_logits_soft_cap": config.final_logit_softcapping or -1.0,
    }


def convert_gpt2(hf: Any, cfg: HookedTransformerConfig) -> dict[str, Tensor]:
    """As transformer-lens does, which forgets the bias of the unembedding."""
    return {**convert_gpt2_weights(hf, cfg), "unembed.b_U": torch.zeros(cfg.d_vocab, dtype=cfg.dtype)}


def convert_gemma(hf: Any, cfg: HookedTransformerConfig) -> dict[str, Tensor]:
    """As transformer-lens does, but for gains, which it rounds to float32 even in a model of float64."""
    state = convert_gemma_weights(hf, cfg)
    for layer, block in enumerate(hf.model.layers):
        for name, theirs in GAINS.items():
            if f"blocks.{layer}.{name}.w" in state:
                state[f"blocks.{layer}.{name}.w"] = block.get_submodule(theirs).weight + 1
    state["ln_final.w"] = hf.model.norm.weight + 1
    return state


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Architecture:
    """One architecture.

    Attributes:
        cls: Hugging Face's class.
        embedding: name of the input embedding's weight; that of the output is `lm_head.weight` in all.
        blocks: name of the list of blocks inside the base model.
        norm: name of the final norm there.
        targets: modules that a published CODI checkpoint of it adapts.
        required: entries of config.json, and the values of them that can be run exactly.
        numeric: entries of config.json that decide numbers and do not show in the shapes of the weights.
        settings: settings of transformer-lens that are not the same in all.
        convert: gives the weights transformer-lens' names, and no copies.
        biases: which matrices have one, by transformer-lens' names.
        first_gain: what is added to the gains of its RMS norms.
        buffers: pattern of buffers that published files hold and the model computes itself.
    """

    cls: type[PreTrainedModel]
    embedding: str = "model.embed_tokens.weight"
    blocks: str = "layers"
    norm: str = "norm"
    targets: tuple[str, ...] = LINEAR
    required: Mapping[str, tuple[object, ...]]
    numeric: tuple[str, ...]
    settings: Callable[[PreTrainedConfig], dict[str, Any]]
    convert: Convert
    biases: tuple[str, ...] = ()
    first_gain: float = 0.0
    buffers: str = r".*rotary_emb\.inv_freq"

    __repr__ = short_repr

    @property
    def model_type(self) -> str:
        """What config.json calls it."""
        assert self.cls.config_class is not None
        return self.cls.config_class.model_type

    @property
    def embeddings(self) -> tuple[str, str]:
        """Names of the weights of input and output embedding."""
        return self.embedding, "lm_head.weight"


SILU = {"hidden_act": ("silu",)}
GEMMA = {
    "attention_bias": (False,),
    "hidden_activation": ("gelu_pytorch_tanh",),
    "use_bidirectional_attention": (None, False),
}
GEMMA_NUMERIC = ("rms_norm_eps", *ROPE, *WINDOW, "query_pre_attn_scalar", "final_logit_softcapping")
ROWS = (
    Architecture(
        cls=LlamaForCausalLM,
        required={"attention_bias": (False,), "mlp_bias": (False,), **SILU},
        numeric=("rms_norm_eps", *ROPE),
        settings=rotary_gated,
        convert=convert_llama_weights,
    ),
    Architecture(
        cls=GPT2LMHeadModel,
        embedding="transformer.wte.weight",
        blocks="h",
        norm="ln_f",
        targets=("c_attn", "c_proj", "c_fc"),
        required={"add_cross_attention": (False,), "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu")},
        numeric=(
            "layer_norm_epsilon",
            "max_position_embeddings",
            "num_attention_heads",
            "activation_function",
            "scale_attn_weights",
            "scale_attn_by_inverse_layer_idx",
        ),
        settings=learned_positions,
        convert=convert_gpt2,
        biases=("Q", "K", "V", "O", "in", "out"),
        buffers=r".*\.attn\.(masked_)?bias",
    ),
    Architecture(
        cls=Qwen2ForCausalLM,
        required=SILU,
        numeric=("rms_norm_eps", *ROPE, *WINDOW),
        settings=windowed,
        convert=convert_qwen2_weights,
        biases=("Q", "K", "V"),
    ),
    Architecture(
        cls=Qwen3ForCausalLM,
        required={"attention_bias": (False,), **SILU},
        numeric=("rms_norm_eps", *ROPE, *WINDOW),
        settings=lambda config: {**windowed(config), "use_qk_norm": True},
        convert=convert_qwen3_weights,
    ),
    Architecture(
        cls=MistralForCausalLM,
        required=SILU,
        numeric=("rms_norm_eps", *ROPE, "sliding_window"),
        settings=windowed_throughout,
        convert=convert_mistral_weights,
    ),
    Architecture(
        cls=Gemma2ForCausalLM,
        required=GEMMA,
        numeric=(*GEMMA_NUMERIC, "attn_logit_softcapping"),
        settings=gemma,
        convert=convert_gemma,
        first_gain=1.0,
    ),
    Architecture(
        cls=Gemma3ForCausalLM,
        required=GEMMA,
        numeric=GEMMA_NUMERIC,
        settings=gemma,
        convert=convert_gemma,
        first_gain=1.0,
    ),
)
# By `model_type` of config.json.
ARCHITECTURES = {row.model_type: row for row in ROWS}


# Of all rows.
EMBEDDINGS = tuple(sorted({name for row in ROWS for name in row.embeddings}))


def architecture_of(config: PreTrainedConfig) -> Architecture:
    """The row of a configuration that `read_config` let pass."""
    return ARCHITECTURES[config.model_type]
