"""CODI checkpoints: one state dict with a LoRA LLaMA under `codi.base_model.model.` and a latent head under `prj.`.

Format and head: Shen et al., CODI: Compressing Chain-of-Thought into Continuous Space via Self-Distillation,
https://arxiv.org/abs/2502.21074, and its reference code. Three special tokens, pad, bot and eot, follow the base
vocabulary. Checkpoints circulate with the frozen base weights and without them; part of the base is an error.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import init_empty_weights
from jaxtyping import Float
from peft import LoraConfig
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from mechpatch.errors import CheckpointError
from mechpatch.models.adapter import EMBEDDINGS, PEFT_PREFIX, account, first_existing, merge_lora, read_tensors

PREFIX = "codi."
LORA_ALPHA = 32  # published default; the state dict does not store it
N_LATENTS = 6
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SPECIAL = ("<|pad|>", "<|bot|>", "<|eot|>")
FILES = ("model.safetensors", "codi.safetensors", "pytorch_model.bin", "model.bin", "codi.pt")


class LatentHead(nn.Module):
    """Turns the normed hidden state of one position into the next thought: Linear, GELU, Linear, LayerNorm.

    An empty state gives the identity: CODI trained without a projection.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if state:
            for name in ("1", "3"):
                weight = state[f"prj.{name}.weight"]
                linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
                linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(state[f"prj.{name}.bias"])
                layers += [linear, nn.GELU()]
            layers.pop()
            if "prj.ln.weight" in state:
                norm = nn.LayerNorm(state["prj.ln.weight"].shape[0], device="meta")
                norm.weight, norm.bias = nn.Parameter(state["prj.ln.weight"]), nn.Parameter(state["prj.ln.bias"])
                layers.append(norm)
        self.layers = nn.Sequential(*layers)
        self.requires_grad_(False)

    def forward(self, hidden: Float[Tensor, "pair d_model"]) -> Float[Tensor, "pair d_model"]:
        """The input embedding of the next thought."""
        return self.layers(hidden)


@dataclass(frozen=True, slots=True, eq=False)
class CodiState:
    """A CODI state dict, sorted by what each tensor is.

    Attributes:
        lora: by PEFT's file names, `base_model.model.….lora_A.weight`.
        base: base weights by Hugging Face name, embedding rows among them; may hold the embeddings alone.
        head: `prj.*` under its own names.
        rank: of the adapter, one for all modules.
    """

    lora: dict[str, Tensor]
    base: dict[str, Tensor]
    head: dict[str, Tensor]
    rank: int


def read_codi(path: Path) -> tuple[CodiState, Path]:
    """Read and sort a CODI checkpoint (a directory or a file); unknown keys are errors that name them."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or directory; expected a CODI checkpoint")
    file = first_existing(path, FILES) if path.is_dir() else path
    lora, base, head, unknown = {}, {}, {}, []
    for name, tensor in read_tensors(file).items():
        inner = name.removeprefix(PREFIX + PEFT_PREFIX)
        if name.startswith("prj."):
            head[name] = tensor
        elif inner == name:
            unknown.append(name)
        elif match := re.fullmatch(r"(.+)\.(lora_[AB])\.default\.weight", inner):
            lora[f"{PEFT_PREFIX}{match[1]}.{match[2]}.weight"] = tensor
        elif ".lora_" in inner:
            unknown.append(name)
        else:
            base[inner.replace(".base_layer.", ".")] = tensor
    if unknown:
        raise CheckpointError(
            f"{file}: {len(unknown)} keys are not those of a CODI checkpoint: {', '.join(sorted(unknown)[:8])}. "
            f"Expected {PREFIX}{PEFT_PREFIX}… with lora_A.default.weight and lora_B.default.weight, and prj.*"
        )
    ranks = {tensor.shape[0 if name.endswith("lora_A.weight") else 1] for name, tensor in lora.items()}
    if len(ranks) != 1:
        found = f"ranks {sorted(ranks)}" if ranks else "no LoRA tensors"
        raise CheckpointError(f"{file}: {found}; expected LoRA tensors of one rank")
    return CodiState(lora, base, head, ranks.pop()), file


def check_head(state: Mapping[str, Tensor], d_model: int, source: str) -> None:
    """The head is whole and maps d_model to d_model, or a `CheckpointError` names what is not so."""
    if not state:
        return
    inner = state["prj.1.weight"].shape[0] if "prj.1.weight" in state and state["prj.1.weight"].ndim else d_model
    shapes = {"1.weight": (inner, d_model), "1.bias": (inner,), "3.weight": (d_model, inner), "3.bias": (d_model,)}
    if any(name.startswith("prj.ln") for name in state):
        shapes |= {"ln.weight": (d_model,), "ln.bias": (d_model,)}
    account(source, state, {f"prj.{name}": torch.empty(shape, device="meta") for name, shape in shapes.items()})


def merge_codi(
    hf: LlamaForCausalLM | None,
    config: LlamaConfig,
    state: CodiState,
    source: str,
    dtype: torch.dtype,
    lora_alpha: float,
    targets: Sequence[str],
) -> LlamaForCausalLM:
    """The merged model with its three special tokens.

    Args:
        hf: the base; None where the checkpoint brings all base weights (see `has_base`).
        config: of the base, before the special tokens are added.
    """
    check_rows(state.base, config.vocab_size, source)
    if hf is None:
        hf = _from_checkpoint(config, state.base, source, dtype)
        rows = {}
    else:
        rows = {PEFT_PREFIX + name: tensor for name, tensor in state.base.items() if name in EMBEDDINGS}
    lora = LoraConfig(
        r=state.rank, lora_alpha=lora_alpha, target_modules=list(targets), lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    return merge_lora(hf, lora, {**state.lora, **rows}, source)


def check_rows(base: Mapping[str, Tensor], vocab_size: int, source: str) -> None:
    """Embedding rows are the base vocabulary and the three special tokens."""
    if EMBEDDINGS[0] not in base:
        raise CheckpointError(
            f"{source}: {PREFIX}{PEFT_PREFIX}{EMBEDDINGS[0]} is missing; the special tokens bot and eot live in it"
        )
    for name in EMBEDDINGS:
        if name in base and base[name].shape[0] != vocab_size + len(SPECIAL):
            raise CheckpointError(
                f"{source}: {name} has {base[name].shape[0]} rows, expected {vocab_size + len(SPECIAL)} "
                f"({vocab_size} of the base vocabulary, then pad, bot and eot). It was trained on another base or "
                "with other special tokens"
            )


def has_base(state: CodiState) -> bool:
    """Whether the checkpoint brings the base weights itself: all of them, or none but embedding rows."""
    return any(name not in EMBEDDINGS for name in state.base)


def _from_checkpoint(
    config: LlamaConfig, base: Mapping[str, Tensor], source: str, dtype: torch.dtype
) -> LlamaForCausalLM:
    """A model whose weights are the checkpoint's own tensors, cast one by one where the dtype differs."""
    config.vocab_size += len(SPECIAL)
    with init_empty_weights(include_buffers=False):
        hf = LlamaForCausalLM(config)
    base = dict(base)
    expected = dict(hf.named_parameters())
    if config.tie_word_embeddings and EMBEDDINGS[1] in base:
        if not torch.equal(base[EMBEDDINGS[0]], base[EMBEDDINGS[1]]):
            raise CheckpointError(f"{source}: {' and '.join(EMBEDDINGS)} differ, but config.json ties them")
        del base[EMBEDDINGS[1]]
    account(source, base, expected)
    hf.load_state_dict({name: tensor.to(dtype) for name, tensor in base.items()}, strict=False, assign=True)
    hf.tie_weights()
    return hf.requires_grad_(False)
