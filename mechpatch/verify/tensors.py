"""What the files of a model hold, read for `source` and sorted by another way than `models` takes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.families import Family
from mechpatch.models.architectures import EMBEDDINGS
from mechpatch.models.files import first_existing, read_tensors
from mechpatch.models.outline import family_of, open_checkpoint
from mechpatch.reprs import short_repr
from mechpatch.source import ModelSource

PEFT = "base_model.model."
LORA = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
# Ways of starting a LoRA that leave the base weights alone.
PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal")


@dataclass(frozen=True, slots=True, eq=False)
class Delta:
    """One adapted module: `scale · B A` is added to its weight, or to the transpose of one that is [in, out]."""

    a: Float[Tensor, "rank in_features"]
    b: Float[Tensor, "out_features rank"]
    alpha: float
    scale: float
    transposed: bool = False

    __repr__ = short_repr

    def matrix(self) -> Float[Tensor, "rows columns"]:
        """What is added, in float64."""
        matrix = self.scale * (self.b.double() @ self.a.double())
        return matrix.T if self.transposed else matrix


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Found:
    """Tensors of an adapter or a checkpoint.

    Attributes:
        rows: embeddings that it brings.
        whole: base weights, if it brings all of them.
        unusual: see `Checkpoint`; there are no deltas then.
    """

    family: Family
    deltas: dict[str, Delta]
    rows: dict[str, Tensor]
    whole: dict[str, Tensor] | None = None
    head: dict[str, Tensor] = field(default_factory=dict)
    unusual: str = ""

    __repr__ = short_repr


def read_adapter(source: ModelSource, folder: Path, dtype: torch.dtype) -> Found:
    """What a PEFT adapter has."""
    adapter = Path(str(source.adapter))
    settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    file = first_existing(adapter, ("adapter_model.safetensors", "adapter_model.bin"))
    state = {name: each for name, each in read_tensors(file, dtype).items() if not name.startswith(source.ignore_keys)}
    deltas, others = _deltas(state, PEFT, settings)
    rows = {name: others[name] for name in EMBEDDINGS if name in others}
    unusual = _unusual(settings, others.keys() - rows.keys())
    family = family_of(source, folder, None)
    return Found(family=family, deltas={} if unusual else deltas, rows=rows, unusual=unusual)


def read_checkpoint(source: ModelSource, folder: Path, dtype: torch.dtype) -> Found:
    """What a checkpoint has; of a plain model, which transformers reads, the head alone."""
    stored = open_checkpoint(source, folder)
    family = family_of(source, folder, stored)
    if source.checkpoint is None:
        of_model = {name for name in stored.headers if not _is_head(name, family)}
        state = stored.read(dtype, () if source.tie else of_model)
        head = {name: state.pop(name) for name in [*state] if _is_head(name, family)}
        return Found(family=family, deltas={}, rows={}, whole=_tied(state, source.tie) or None, head=head)
    useless = (*family.left_out, *family.aliases, *source.ignore_keys)
    state = stored.read(dtype, {name for name in stored.headers if name.startswith(useless)})
    head = {name: tensor for name, tensor in state.items() if _is_head(name, family)}
    prefix = next(each for each in family.prefixes if any(name.startswith(each) for name in state))
    deltas, others = _deltas(state, prefix, {"lora_alpha": family.lora_alpha})
    others = _tied({name.replace(".base_layer.", "."): tensor for name, tensor in others.items()}, source.tie)
    rows = {name: others[name] for name in EMBEDDINGS if name in others}
    whole = others if others.keys() - rows.keys() else None
    return Found(family=family, deltas=deltas, rows=rows, whole=whole, head=head)


def _is_head(name: str, family: Family) -> bool:
    return name.startswith(tuple(f"{layer}." for layer in family.head))


def _tied(state: dict[str, Tensor], tie: str | None) -> dict[str, Tensor]:
    """The weights with both embeddings equal, where `tie` says which one counts."""
    first, second = ([name for name in state if (name == "lm_head.weight") == last] for last in (False, True))
    embeddings = [name for name in first if name in EMBEDDINGS]
    if tie and embeddings and second:
        chosen = state[embeddings[0] if tie == "first" else second[0]]
        return state | {embeddings[0]: chosen, second[0]: chosen}
    return state


def _deltas(
    state: Mapping[str, Tensor], prefix: str, settings: Mapping[str, Any]
) -> tuple[dict[str, Delta], dict[str, Tensor]]:
    """The adapted modules, and what else there is under `prefix`."""
    sides: dict[str, dict[str, Tensor]] = {}
    others = {}
    for name, tensor in state.items():
        if not name.startswith(prefix):
            continue
        inner = name[len(prefix) :]
        if match := LORA.fullmatch(inner):
            sides.setdefault(match[1], {})[match[2]] = tensor
        else:
            others[inner] = tensor
    deltas = {}
    for module, pair in sides.items():
        alpha = float(_by_pattern(settings.get("alpha_pattern") or {}, module, settings["lora_alpha"]))
        rank = pair["A"].shape[0]
        scale = alpha / (rank**0.5 if settings.get("use_rslora") else rank)
        deltas[module] = Delta(pair["A"], pair["B"], alpha, scale)
    return deltas, others


def _by_pattern(patterns: Mapping[str, Any], module: str, default: Any) -> Any:
    """The value of the first pattern that names the end of `module`."""
    return next((each for name, each in patterns.items() if re.fullmatch(rf"(.*\.)?({name})", module)), default)


def _unusual(settings: Mapping[str, Any], others: set[str]) -> str:
    """Why `W + alpha / r · B A` is not what this adapter means; empty if it is."""
    flags = [name for name in ("use_dora", "lora_bias", "use_qalora") if settings.get(name)]
    if settings.get("init_lora_weights") not in PLAIN_STARTS:
        flags.append(f"init_lora_weights {settings['init_lora_weights']!r}")
    if others and not flags:
        flags.append(f"tensors that are no LoRA matrices ({', '.join(sorted(others)[:3])})")
    return f"the adapter has {', '.join(flags)}, which the formula W + alpha / r · B A does not cover" if flags else ""
