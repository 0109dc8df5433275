"""Tiny random checkpoints in the real formats: a Hugging Face base, a PEFT directory, a CODI state dict.

Weights are large enough for one wrong tensor to move the logits far above the tolerance.
"""

import copy
import json
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GPT2Config,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.pytorch_utils import Conv1D

from mechpatch.data import DEMO_FOLDER

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
VOCAB = json.loads((DEMO_FOLDER / "base" / "config.json").read_text(encoding="utf-8"))["vocab_size"]
D_MODEL = 32
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ADAPTED = (*TARGETS, "c_attn", "c_proj", "c_fc")
CODI = "codi.base_model.model."
ROPES: dict[str, dict[str, Any]] = {
    "default": {"rope_type": "default", "rope_theta": 1000.0},
    "linear": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 3.0},
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 1000.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    },
    "yarn": {
        "rope_type": "yarn",
        "rope_theta": 1000.0,
        "factor": 4.0,
        "original_max_position_embeddings": 32,
    },
}


def tiny_llama(seed: int = 0, rope: str = "llama3", **changes: Any) -> LlamaForCausalLM:
    """A random Llama of three layers with grouped queries, tied embeddings and the demo tokenizer's vocabulary."""
    config = LlamaConfig(
        **{
            "vocab_size": VOCAB,
            "hidden_size": D_MODEL,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
            "initializer_range": 0.25,
            "tie_word_embeddings": True,
            "rope_parameters": ROPES[rope],
            **changes,
        }
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
        for name, weight in model.named_parameters():
            if "norm" in name:  # a gain of 1 would hide a forgotten one
                nn.init.uniform_(weight, 0.5, 1.5)
    return model.eval().requires_grad_(False)


SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": D_MODEL,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.25,
    "tie_word_embeddings": True,
}
GROUPED = {**SHAPE, "intermediate_size": 48, "num_key_value_heads": 2, "head_dim": 12}
WINDOW = 7  # shorter than every question
# Every architecture there is, with whatever its blocks may have.
ARCHITECTURES: dict[str, Any] = {
    "llama": LlamaConfig(**GROUPED, rope_parameters=ROPES["llama3"]),
    "gpt2": GPT2Config(**SHAPE, n_inner=48, scale_attn_by_inverse_layer_idx=True),
    "qwen2": Qwen2Config(
        **{**GROUPED, "head_dim": 8, "vocab_size": VOCAB + 9, "tie_word_embeddings": False},
        use_sliding_window=True,
        sliding_window=WINDOW,
        max_window_layers=1,
    ),
    "qwen3": Qwen3Config(**GROUPED),
    "mistral": MistralConfig(**GROUPED, sliding_window=WINDOW),
    "gemma2": Gemma2Config(
        **GROUPED,
        sliding_window=WINDOW,
        query_pre_attn_scalar=20,
        attn_logit_softcapping=3.0,
        final_logit_softcapping=9.0,
    ),
    "gemma3_text": Gemma3TextConfig(
        **GROUPED,
        sliding_window=WINDOW,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        query_pre_attn_scalar=20,
        final_logit_softcapping=9.0,
    ),
}


def tiny(architecture: str, seed: int = 0) -> Any:
    """A random model of one of `ARCHITECTURES`, whose every gain and bias can be felt."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(copy.deepcopy(ARCHITECTURES[architecture]))
        for name, weight in model.named_parameters():
            if weight.ndim == 1:
                gain = name.endswith("weight") and not architecture.startswith("gemma")  # whose gains count from 1
                nn.init.uniform_(weight, *((0.5, 1.5) if gain else (-0.5, 0.5)))
    return model.eval().requires_grad_(False)


def write_base(folder: Path, model: Any, **save: Any) -> Path:
    """A base directory with the demo tokenizer; `save` goes to `save_pretrained`."""
    model.save_pretrained(folder, **save)
    for name in TOKENIZER_FILES:
        shutil.copy(DEMO_FOLDER / "base" / name, folder / name)
    return folder


def write_peft(folder: Path, model: Any, vocab: int | None = None, **config: Any) -> Path:
    """A PEFT LoRA directory as PEFT itself writes it, trained on `model` with, if given, `vocab` embedding rows."""
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": list(ADAPTED), "task_type": "CAUSAL_LM"}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a training should have thought of
        torch.manual_seed(1)
        base = type(model)(model.config)
        base.load_state_dict(model.state_dict())
        if vocab is not None:
            base.resize_token_embeddings(vocab, mean_resizing=False)
        adapted = get_peft_model(base, LoraConfig(**{**settings, **config}))
        for name, weight in adapted.named_parameters():
            if weight.requires_grad and "magnitude" not in name:  # a fresh B is zero, and a zero hides everything
                nn.init.normal_(weight, std=0.2)
        targeted = {"embed_tokens", "lm_head"} & {*config.get("target_modules", ())}
        adapted.save_pretrained(str(folder), save_embedding_layers=vocab is not None or bool(targeted))
    return folder


def as_published_gpt2(folder: Path) -> None:
    """GPT-2's file as it is on the hub: names of the model without its head, and the buffers of its masks."""

    def edit(state: dict[str, Tensor]) -> None:
        inner = {name.removeprefix("transformer."): state.pop(name) for name in [*state]}
        masks = {f"h.{layer}.attn.bias": torch.ones(1, 1, 128, 128).tril() for layer in range(3)}
        state.update(inner | masks | {f"h.{layer}.attn.masked_bias": torch.tensor(-1e4) for layer in range(3)})

    edit_state(folder / "model.safetensors", edit)


def codi_state(
    model: Any, *, rank: int = 4, head: str = "ln", with_base: bool = False, seed: int = 2
) -> dict[str, Tensor]:
    """A CODI state dict for `model` under the published names.

    Args:
        head: "ln" (with layer norm), "plain" (without), "none".
        with_base: the frozen base weights too, and the output embeddings beside the tied input.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return 0.2 * torch.randn(shape, generator=generator)

    own = model.state_dict()
    embedding = next(name for name in own if name.endswith(("embed_tokens.weight", "wte.weight")))
    rows = torch.cat([own[embedding], draw(3, model.config.hidden_size)])
    state = {CODI + embedding: rows}
    if not model.config.tie_word_embeddings:
        state[f"{CODI}lm_head.weight"] = torch.cat([own["lm_head.weight"], draw(3, model.config.hidden_size)])
    elif with_base:
        state[f"{CODI}lm_head.weight"] = rows.clone()
    for name, module in model.named_modules():
        if name.endswith(ADAPTED) and isinstance(module, nn.Linear | Conv1D):
            out, into = module.weight.shape if isinstance(module, nn.Linear) else module.weight.shape[::-1]
            state[f"{CODI}{name}.lora_A.default.weight"] = draw(rank, into)
            state[f"{CODI}{name}.lora_B.default.weight"] = draw(out, rank)
    if with_base:
        for name, weight in own.items():
            module = name.removesuffix(".weight")
            inner = f"{module}.base_layer.weight" if name.endswith(".weight") and module.endswith(ADAPTED) else name
            state.setdefault(CODI + inner, weight.clone())
    d_model = model.config.hidden_size
    if head != "none":
        state |= {"prj.1.weight": draw(48, d_model), "prj.1.bias": draw(48)}
        state |= {"prj.3.weight": draw(d_model, 48), "prj.3.bias": draw(d_model)}
    if head == "ln":
        state |= {"prj.ln.weight": 1 + draw(d_model), "prj.ln.bias": draw(d_model)}
    return state


def write_state(path: Path, state: Mapping[str, Tensor]) -> Path:
    """`state` as .safetensors, or as a pickle under any other name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".safetensors":
        save_file(dict(state), path, metadata={"format": "pt"})
    else:
        torch.save(dict(state), path)
    return path


def edit_state(path: Path, edit: Callable[[dict[str, Tensor]], object]) -> None:
    """Rewrite a .safetensors file with its dict of tensors edited in place."""
    state = {name: tensor.clone() for name, tensor in load_file(path).items()}
    edit(state)
    write_state(path, state)


def edit_json(path: Path, **entries: Any) -> None:
    """Rewrite a JSON object with some entries changed."""
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**value, **entries}), encoding="utf-8")


def probe(model: Any, length: int = 40) -> Tensor:
    """Logits of a Hugging Face or transformer-lens model on two seeded rows of tokens, [row, position, vocab]."""
    tokens = torch.randint(VOCAB, (2, length), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        found = model(tokens)
    return found if isinstance(found, Tensor) else found.logits
