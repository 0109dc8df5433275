"""CODI checkpoints: one state dict with a LoRA model under `codi.base_model.model.` and a latent head under `prj.`.

Format and head: Shen et al., CODI: Compressing Chain-of-Thought into Continuous Space via Self-Distillation,
https://arxiv.org/abs/2502.21074, and its reference code. Three special tokens, pad, bot and eot, follow the base
vocabulary. Checkpoints circulate with the frozen base weights and without them; part of the base is an error.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from peft import LoraConfig
from torch import Tensor, nn

from mechpatch.errors import CheckpointError
from mechpatch.models import adapter
from mechpatch.models.architectures import EMBEDDINGS, Architecture
from mechpatch.models.files import account, exists, first_existing, read_tensors
from mechpatch.reprs import short_repr

PREFIX = "codi." + adapter.PREFIX
LORA_ALPHA = 32  # published default; the state dict does not store it
N_LATENTS = 6
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
        rank: of the adapter.
    """

    lora: dict[str, Tensor]
    base: dict[str, Tensor]
    head: dict[str, Tensor]
    rank: int

    __repr__ = short_repr

    @property
    def has_base(self) -> bool:
        """Whether base weights other than embedding rows are in it; then all of them must be."""
        return any(name not in EMBEDDINGS for name in self.base)


def read_codi(path: Path, dtype: torch.dtype) -> tuple[CodiState, Path]:
    """Read and sort a CODI checkpoint (a directory or a file); unknown keys are errors that name them."""
    if not exists(path, "not a path"):
        raise CheckpointError(f"{path}: no such file or directory; expected a CODI checkpoint")
    file = first_existing(path, FILES) if path.is_dir() else path
    lora, base, head, unknown = {}, {}, {}, []
    for name, tensor in read_tensors(file, dtype).items():
        inner = name.removeprefix(PREFIX)
        plain = inner.replace(".base_layer.", ".")
        if name.startswith("prj."):
            head[name] = tensor
        elif inner == name:
            unknown.append(name)
        elif match := re.fullmatch(r"(.+)\.(lora_[AB])\.default\.weight", inner):
            lora[f"{adapter.PREFIX}{match[1]}.{match[2]}.weight"] = tensor
        elif ".lora_" in inner or plain in base:
            unknown.append(name)
        else:
            base[plain] = tensor
    if unknown:
        raise CheckpointError(
            f"{file}: {len(unknown)} keys are not those of a CODI checkpoint: {', '.join(sorted(unknown)[:8])}. "
            f"Expected {PREFIX}… with lora_A.default.weight and lora_B.default.weight, and prj.*"
        )
    ranks = Counter(tensor.shape[:1] for name, tensor in lora.items() if name.endswith("lora_A.weight"))
    if not ranks:
        raise CheckpointError(
            f"{file}: no {PREFIX}….lora_A.default.weight is there; expected a LoRA checkpoint of CODI"
        )
    ((rank, *_), _), *_ = ranks.most_common(1)  # a module of another rank is then named as mis-shaped
    return CodiState(lora, base, head, rank), file


def check_head(state: Mapping[str, Tensor], d_model: int, source: object) -> None:
    """The head is whole and maps d_model to d_model, or a `CheckpointError` names what is not so."""
    if not state:
        return
    inner = state["prj.1.weight"].shape[0] if "prj.1.weight" in state and state["prj.1.weight"].ndim else d_model
    shapes = {"1.weight": (inner, d_model), "1.bias": (inner,), "3.weight": (d_model, inner), "3.bias": (d_model,)}
    if any(name.startswith("prj.ln") for name in state):
        shapes |= {"ln.weight": (d_model,), "ln.bias": (d_model,)}
    expected = {f"prj.{name}": torch.empty(shape, device="meta") for name, shape in shapes.items()}
    account(source, state, expected, f"Expected a latent head from {d_model} to {d_model} dimensions")


def lora_config(state: CodiState, alpha: float, targets: Sequence[str]) -> LoraConfig:
    """The adapter's configuration, of which the state dict stores the rank alone."""
    config = LoraConfig(r=state.rank, target_modules=list(targets), lora_dropout=0.0, task_type="CAUSAL_LM")
    config.lora_alpha = alpha  # pyright: ignore[reportAttributeAccessIssue], a fraction is as good
    return config


def check_rows(base: Mapping[str, Tensor], row: Architecture, vocab_size: int, source: object) -> None:
    """Embedding rows are the base vocabulary and the three special tokens."""
    if row.embedding not in base:
        raise CheckpointError(
            f"{source}: {PREFIX}{row.embedding} is missing; the special tokens bot and eot live in it"
        )
    rows = vocab_size + len(SPECIAL)
    for name in row.embeddings:
        if name in base and base[name].shape[:1] != (rows,):
            raise CheckpointError(
                f"{source}: {name} has shape {tuple(base[name].shape)}, expected {rows} rows ({vocab_size} of the base "
                "vocabulary, then pad, bot and eot). It was trained on another base or with other special tokens"
            )
