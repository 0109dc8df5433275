"""Tiny checkpoints of every family in the formats in which they are published, and the same models as plain ones."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import independent
import torch
from checkpoints import ARCHITECTURES, VOCAB, codi_state, edit_json, edit_state, tiny, write_base, write_state
from torch import Tensor
from torch.nn import functional as F

from mechpatch.families import COCONUT

ALPHA = 6.0
HEAD = {"prj.1": "projector.1", "prj.3": "projector.3", "prj.ln": "projector.4"}


def draw(seed: int, *shape: int) -> Tensor:
    return 0.2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sim_cot_state(architecture: str) -> dict[str, Tensor]:
    """A CODI state with the second model and the projections that its training needs, and CODI's own auxiliary keys."""
    decoder = {f"decoder.{name}": weight.clone() for name, weight in tiny(architecture, seed=5).state_dict().items()}
    more = {"pj_in.weight": draw(3, 16, 32), "pj_out.U": draw(4, 8, 2), "dynamic_cls.weight": draw(5, 7, 32)}
    return codi_state(tiny(architecture), with_base=True) | decoder | more


def shard(folder: Path, state: dict[str, Tensor], index: bool, suffix: str = "safetensors") -> None:
    """Two files and their index, or one file that is numbered as the only shard and has none."""
    names, stem = sorted(state), "model" if suffix == "safetensors" else "pytorch_model"
    halves = [names[::2], names[1::2]] if index else [names]
    places = {}
    for number, half in enumerate(halves, 1):
        file = f"{stem}-{number:05}-of-{len(halves):05}.{suffix}"
        write_state(folder / file, {name: state[name].clone() for name in half})
        places |= dict.fromkeys(half, file)
    if index:
        (folder / f"{stem}.{suffix}.index.json").write_text("{}", encoding="utf-8")
        edit_json(folder / f"{stem}.{suffix}.index.json", metadata={}, weight_map=places)


def coconut_model() -> Any:
    """GPT-2 with rows for the three tokens that follow the tokenizer's last."""
    model = tiny("gpt2")
    rows = torch.cat([model.transformer.wte.weight, draw(6, 3, 32)])
    model.resize_token_embeddings(VOCAB + 3, mean_resizing=False)
    model.transformer.wte.weight.copy_(rows)
    return model


def coconut_state(explained: bool = False) -> dict[str, Tensor]:
    """What `torch.save(model.state_dict())` of the official code writes."""
    state = {f"base_causallm.{name}": weight.clone() for name, weight in coconut_model().state_dict().items()}
    state["embedding.weight"] = state["base_causallm.transformer.wte.weight"].clone()
    if explained:
        other = tiny("gpt2", seed=7).state_dict()
        state |= {f"expainable_llm.{name}": weight.clone() for name, weight in other.items()}
    return state


def write_coconut(folder: Path, explained: bool = False) -> dict[str, Any]:
    (folder / "coconut").mkdir()
    torch.save(coconut_state(explained), folder / "coconut" / "checkpoint_28")
    (folder / "coconut" / "config.json").write_text("", encoding="utf-8")
    return {"base": write_base(folder / "base", tiny("gpt2")), "coconut": folder / "coconut"}


def write_latenttts(folder: Path) -> dict[str, Any]:
    """One directory: the model with its head, and a tokenizer that has the special tokens."""
    base = write_base(folder / "base", coconut_model())
    state = {name: weight for name, weight in codi_state(tiny("gpt2")).items() if name.startswith("prj.")}
    split = {name: name.rpartition(".") for name in state}
    head = {f"{HEAD[split[name][0]]}.{split[name][2]}": each for name, each in state.items()}
    edit_state(base / "model.safetensors", lambda tensors: tensors.update(head))
    edit_json(base / "config.json", projector=True, latent_id=VOCAB + 2, latent_start_id=VOCAB, latent_end_id=VOCAB + 1)
    tokens = [
        {"id": VOCAB + i, "content": name, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for i, (_, name) in enumerate(COCONUT.special)
    ]
    added = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    edit_json(base / "tokenizer.json", added_tokens=[*added, *tokens])
    return {"base": base}


def write_codi(architecture: str, form: str) -> Callable[[Path], dict[str, Any]]:
    def write(folder: Path) -> dict[str, Any]:
        model, codi = tiny(architecture), folder / "codi"
        codi.mkdir()
        if form == "old":
            state = {name.replace("codi.", "coconut."): each for name, each in codi_state(model).items()}
            write_state(codi / "pytorch_model.bin", state | {"dynamic_cls.0.weight": draw(5, 7, 32)})
        else:
            shard(codi, sim_cot_state(architecture), form != "one-shard", "bin" if form == "bin" else "safetensors")
            (codi / "config.json").write_text("{}", encoding="utf-8")
        return {"base": write_base(folder / "base", model), "codi": codi, "lora_alpha": ALPHA}

    return write


def merged(architecture: str, dtype: torch.dtype) -> independent.Plain:
    return independent.merge(tiny(architecture), codi_state(tiny(architecture)), ALPHA, dtype)


def thinks(hf: Callable[[], Any], head: bool = False) -> Callable[[torch.dtype], independent.Plain]:
    """A whole model, with the head of `codi_state` or none."""

    def plain(dtype: torch.dtype) -> independent.Plain:
        state = {name: each for name, each in codi_state(tiny("gpt2")).items() if head and name.startswith("prj.")}
        return independent.whole(hf(), state, dtype)

    return plain


def soft(architecture: str, top_k: int, temperature: float) -> Callable[[torch.dtype], independent.Plain]:
    """Soft thinking as it is defined: sort, cut, weigh."""

    def plain(dtype: torch.dtype) -> independent.Plain:
        whole = independent.whole(tiny(architecture), {}, dtype)
        cap = getattr(whole.hf.config, "final_logit_softcapping", None)

        def mixed(hidden: Tensor) -> Tensor:
            logits = whole.hf.lm_head(hidden)
            logits = logits if cap is None else cap * torch.tanh(logits / cap)
            chances = F.softmax(logits / temperature, dim=-1)[0]
            best = chances.argsort(descending=True)[:top_k]
            return (chances[best] / chances[best].sum()) @ whole.hf.get_input_embeddings()(best)[None]

        return independent.Plain(hf=whole.hf, head={}, mixed=mixed)

    return plain


def soft_form(architecture: str) -> "Form":
    def write(folder: Path) -> dict[str, Any]:
        settings = {"family": "soft", "n_latents": 3, "soft_top_k": 4, "soft_temperature": 0.8}
        return {"base": write_base(folder / "base", tiny(architecture)), **settings}

    return Form(write=write, plain=soft(architecture, 4, 0.8), family="soft", bot=None, n_latents=3)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """One published form.

    Attributes:
        write: writes it into a folder and gives the arguments of `load_model`.
        plain: the same model for the loop without cache or batch.
        family, bot, n_latents, left_out: what loading must find.
        asked: what is read in place of a question.
        prefix: text before the answer.
    """

    write: Callable[[Path], dict[str, Any]]
    plain: Callable[[torch.dtype], independent.Plain]
    family: str
    bot: int | None = VOCAB
    n_latents: int = 6
    left_out: tuple[str, ...] = ()
    asked: str = "{}"
    prefix: str = "The answer is:"


AUXILIARY = ("decoder.*", "dynamic_cls.*", "pj_in.*", "pj_out.*")
FORMS = {
    "codi-old-bin": Form(
        write=write_codi("qwen3", "old"),
        plain=lambda dtype: merged("qwen3", dtype),
        family="codi",
        bot=VOCAB + 1,
        left_out=("dynamic_cls.*",),
    ),
    **{
        f"sim-cot-{form}": Form(
            write=write_codi(architecture, form),
            plain=lambda dtype, architecture=architecture: merged(architecture, dtype),
            family="sim-cot",
            bot=VOCAB + 1,
            left_out=AUXILIARY,
        )
        for form, architecture in (("sharded", "llama"), ("bin", "gpt2"), ("one-shard", "llama"))
    },
    "coconut": Form(write=write_coconut, plain=thinks(coconut_model), family="coconut", asked="{}\n", prefix="###"),
    "sim-cot-coconut": Form(
        write=lambda folder: write_coconut(folder, explained=True),
        plain=thinks(coconut_model),
        family="sim-cot-coconut",
        n_latents=10,
        left_out=("expainable_llm.*",),
        asked="{}\n",
        prefix="###",
    ),
    "latenttts": Form(write=write_latenttts, plain=thinks(coconut_model, head=True), family="latenttts"),
    **{f"soft-{architecture}": soft_form(architecture) for architecture in ARCHITECTURES},
}
