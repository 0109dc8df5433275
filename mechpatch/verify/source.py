"""The model once more, made of its files by another way than `models` takes: transformers loads, a formula merges.

Neither `models.load`, `models.adapter` nor PEFT's merging takes part, so that a mistake there shows as a difference.
Weights are merged as `W + c · alpha / r · B A` in float64 on the CPU, with any factor `c`.
"""

import json
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from mechpatch.data import DEMO, DEMO_FOLDER, DEMO_LORA_ALPHA
from mechpatch.models.architectures import EMBEDDINGS, architecture_of
from mechpatch.models.base import model_folder
from mechpatch.models.codi import FILES, LORA_ALPHA
from mechpatch.models.files import first_existing, read_tensors
from mechpatch.reprs import short_repr
from mechpatch.verify.exact import make_exact

PEFT, CODI = "base_model.model.", "codi.base_model.model."
LORA = re.compile(r"(.+)\.lora_([AB])(?:\.default)?\.weight")
# Ways of starting a LoRA that leave the base weights alone.
PLAIN_STARTS = (None, True, False, "gaussian", "orthogonal")
Head = Callable[[Float[Tensor, "row d_model"]], Float[Tensor, "row d_model"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a model was loaded from, as it was named to `load_model`.

    Attributes:
        alpha: of a CODI adapter; None for the published one. A PEFT adapter brings its own.
    """

    base: str | Path
    adapter: Path | None = None
    codi: Path | None = None
    alpha: float | None = None

    def resolved(self) -> "Source":
        """With folders instead of names, and the alpha that `load_model` takes."""
        alpha = self.alpha
        if str(self.base) == DEMO:
            folder = DEMO_FOLDER
            alpha = DEMO_LORA_ALPHA if alpha is None else alpha
            return Source(base=folder / "base", codi=folder / "codi", alpha=alpha)
        alpha = float(LORA_ALPHA) if self.codi and alpha is None else alpha
        return Source(base=model_folder(self.base), adapter=self.adapter, codi=self.codi, alpha=alpha)


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
class Checkpoint:
    """A model made of its files.

    Attributes:
        hf: merged, unless `set_scale` last said otherwise.
        base: unmerged weight of every adapted module.
        deltas: by module name.
        head: of latent thoughts; None without CODI.
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
def read_source(source: Source, dtype: torch.dtype, device: torch.device) -> Checkpoint:
    """Read and merge; see the module's docstring.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    source = source.resolved()
    folder = Path(source.base)
    deltas: dict[str, Delta] = {}
    rows: dict[str, Tensor] = {}
    whole: dict[str, Tensor] | None = None
    head, unusual = None, ""
    if source.codi:
        assert source.alpha is not None
        file = first_existing(source.codi, FILES) if source.codi.is_dir() else source.codi
        state = read_tensors(file, dtype)
        head = _head({name: tensor.to(device) for name, tensor in state.items() if name.startswith("prj.")})
        deltas, others = _deltas(state, CODI, {"lora_alpha": source.alpha})
        others = {name.replace(".base_layer.", "."): tensor for name, tensor in others.items()}
        rows = {name: others[name] for name in EMBEDDINGS if name in others}
        whole = others if others.keys() - rows.keys() else None
    elif source.adapter:
        settings = json.loads((source.adapter / "adapter_config.json").read_text(encoding="utf-8"))
        file = first_existing(source.adapter, ("adapter_model.safetensors", "adapter_model.bin"))
        deltas, others = _deltas(read_tensors(file, dtype), PEFT, settings)
        rows = {name: others[name] for name in EMBEDDINGS if name in others}
        unusual = _unusual(settings, others.keys() - rows.keys())
    hf = _base(folder, rows, whole, dtype)
    for weight in hf.parameters():
        weight.requires_grad_(False)
    for name in deltas:
        if isinstance(hf.get_submodule(name), Conv1D):
            deltas[name] = replace(deltas[name], transposed=True)
    base = {name: hf.get_submodule(name).weight.detach().clone() for name in deltas} if not unusual else {}  # pyright: ignore
    checkpoint = Checkpoint(hf=hf, base=base, deltas={} if unusual else deltas, head=head, unusual=unusual)
    if unusual:
        _run_beside(hf, Path(str(source.adapter)), dtype)
    else:
        checkpoint.set_scale(1.0)
    if dtype == torch.float64:
        make_exact(hf)
    nn.Module.to(hf.eval(), device)
    return checkpoint


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


def _head(state: Mapping[str, Tensor]) -> Head:
    """Linear, GELU, Linear, LayerNorm, in plain functions; the identity where there are no tensors."""

    def head(hidden: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        if not state:
            return hidden
        inner = F.gelu(F.linear(hidden, state["prj.1.weight"], state["prj.1.bias"]))
        thought = F.linear(inner, state["prj.3.weight"], state["prj.3.bias"])
        if "prj.ln.weight" not in state:
            return thought
        return F.layer_norm(thought, thought.shape[-1:], state["prj.ln.weight"], state["prj.ln.bias"])

    return head
