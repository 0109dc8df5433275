"""Tiny random checkpoints in the real formats: a Hugging Face base, a PEFT directory, a CODI state dict.

Weights are large enough for one wrong tensor to move the logits far above the tolerance.
"""

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
from transformers import LlamaConfig, LlamaForCausalLM

from mechpatch.data import DEMO_FOLDER

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
VOCAB = json.loads((DEMO_FOLDER / "base" / "config.json").read_text(encoding="utf-8"))["vocab_size"]
D_MODEL = 32
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
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


def write_base(folder: Path, model: LlamaForCausalLM, **save: Any) -> Path:
    """A base directory with the demo tokenizer; `save` goes to `save_pretrained`."""
    model.save_pretrained(folder, **save)
    for name in TOKENIZER_FILES:
        shutil.copy(DEMO_FOLDER / "base" / name, folder / name)
    return folder


def write_peft(folder: Path, model: LlamaForCausalLM, vocab: int | None = None, **config: Any) -> Path:
    """A PEFT LoRA directory as PEFT itself writes it, trained on `model` with, if given, `vocab` embedding rows."""
    settings: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": list(TARGETS), "task_type": "CAUSAL_LM"}
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a training should have thought of
        torch.manual_seed(1)
        base = LlamaForCausalLM(model.config)
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


def codi_state(
    model: LlamaForCausalLM, *, rank: int = 4, head: str = "ln", with_base: bool = False, seed: int = 2
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
    rows = torch.cat([own["model.embed_tokens.weight"], draw(3, model.config.hidden_size)])
    state = {f"{CODI}model.embed_tokens.weight": rows}
    if not model.config.tie_word_embeddings:
        state[f"{CODI}lm_head.weight"] = torch.cat([own["lm_head.weight"], draw(3, model.config.hidden_size)])
    elif with_base:
        state[f"{CODI}lm_head.weight"] = rows.clone()
    for name, module in model.named_modules():
        if name.endswith(TARGETS) and isinstance(module, nn.Linear):
            state[f"{CODI}{name}.lora_A.default.weight"] = draw(rank, module.in_features)
            state[f"{CODI}{name}.lora_B.default.weight"] = draw(module.out_features, rank)
    if with_base:
        for name, weight in own.items():
            module = name.removesuffix(".weight")
            inner = f"{module}.base_layer.weight" if module.endswith(TARGETS) else name
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
