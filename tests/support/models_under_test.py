"""What the laws are tested on: tiny random models, because a law holds for any weights, and the demo model.

Everything is made once, on the first call.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import torch
from checkpoints import as_published_gpt2, codi_state, edit_json, tiny, write_base, write_state
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from mechpatch.axes import SiteVectors
from mechpatch.experiments.cells import cells_of, frame_of, patch_of
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.spec import Spec, recipient
from mechpatch.families import CODI
from mechpatch.kinds.cells import Cell, Frame
from mechpatch.models import ThoughtModel, load_model
from mechpatch.models.heads import LatentHead
from mechpatch.models.hooked import to_hooked
from mechpatch.models.load import load_tokenizer
from mechpatch.pairs import Pair, Side
from mechpatch.patching import Batch, Outcome, collate
from mechpatch.patching import reference as plain
from mechpatch.patching.reference import Patch
from mechpatch.thoughts import Layout

MODELS = ("tiny-float64", "tiny-float32", "demo-float64")
DEEP = ("deep-float32", "deep-float64")  # six layers and six latents: rounding grows a thousandfold
KINDS = ("latent", "text", "placeholder")
DTYPES = {"float64": torch.float64, "float32": torch.float32}
N_LATENTS = 3
LAYERS, LATENTS = {"tiny": 3, "deep": 6}, {"tiny": N_LATENTS, "demo": N_LATENTS, "deep": 6}
ARCHITECTURE_ALPHA = 6.0


def make_pair(name: str, questions: tuple[str, str], answers: tuple[str, str], cots: tuple[str, str]) -> Pair:
    clean, corrupted = (Side(*side, {}) for side in zip(questions, answers, cots, strict=True))
    return Pair(name, clean=clean, corrupted=corrupted, fields={})


# Questions of three lengths, answers of one token and of two, one answer the start of the other (14, 148).
PAIRS = (
    make_pair(
        "equal-length",
        ("Sam has 3 boxes of 5 pens. Sam finds 28 more.", "Sam has 3 boxes of 5 pens. Sam finds 29 more."),
        ("43", "44"),
        ("<<3*5=15>><<15+28=43>>", "<<3*5=15>><<15+29=44>>"),
    ),
    make_pair(
        "prefix-answer",
        ("Tom has 150 stamps. Tom sells 2. How many?", "Tom has 16 stamps. Tom sells 2. How many?"),
        ("148", "14"),
        ("<<150-2=148>><<148+0=148>>", "<<16-2=14>><<14+0=14>>"),
    ),
    make_pair(
        "short",
        ("Ann has 7 bags of 3.", "Ann has 7 bags of 50."),
        ("21", "350"),
        ("<<7*3=21>><<21+0=21>>", "<<7*50=350>><<350+0=350>>"),
    ),
)
ALL, EQUAL_LENGTH = (0, 1, 2), (0,)


@cache
def tiny_llama(dtype: torch.dtype, layers: int = LAYERS["tiny"]) -> LlamaForCausalLM:
    """A random Llama with grouped queries and llama3 rope, whose weights are large enough for a patch to be felt."""
    config = LlamaConfig(
        vocab_size=len(load_tokenizer("demo")) + len(CODI.special),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        initializer_range=0.25,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        for name, weight in model.named_parameters():
            if "norm" in name:  # a norm whose gain is 1 would hide a forgotten gain
                nn.init.uniform_(weight, 0.5, 1.5)
    nn.Module.to(model, dtype).eval().requires_grad_(False)
    return model


def random_head(d_model: int, dtype: torch.dtype) -> LatentHead:
    """A latent head with the tensors of a CODI checkpoint."""
    generator = torch.Generator().manual_seed(1)
    shapes = {"1.weight": (48, d_model), "1.bias": (48,), "3.weight": (d_model, 48), "3.bias": (d_model,)}
    shapes |= {"ln.weight": (d_model,), "ln.bias": (d_model,)}
    return LatentHead(
        {f"prj.{name}": 0.3 * torch.randn(shape, generator=generator).to(dtype) for name, shape in shapes.items()}
    )


@cache
def model_under_test(name: str) -> ThoughtModel:
    """One of `MODELS` or `DEEP`."""
    world, dtype = name.split("-")
    if world == "demo":
        return load_model("demo", dtype=dtype, device="cpu")
    hf, tokenizer = tiny_llama(DTYPES[dtype], LAYERS[world]), load_tokenizer("demo")
    special = range(len(tokenizer), len(tokenizer) + len(CODI.special))
    return ThoughtModel(
        hooked=to_hooked(hf, hf.config.max_position_embeddings),
        tokenizer=tokenizer,
        head=random_head(hf.config.hidden_size, DTYPES[dtype]),
        n_latents=LATENTS[world],
        pad=special[0],
        bot=special[1],
        eot=special[2],
        fingerprint=name,
        parity=0.0,
    )


@cache
def architecture_files(architecture: str) -> Path:
    """A base and a CODI checkpoint on disk; GPT-2's base as it is published, Qwen's and Gemma's in shards."""
    folder, model = Path(mkdtemp()), tiny(architecture)
    sharded = {"max_shard_size": "40KB"} if architecture in ("qwen2", "gemma3_text") else {}
    write_base(folder / "base", model, **sharded)
    assert len(list((folder / "base").glob("*.safetensors"))) > 2 * bool(sharded)
    if architecture == "gpt2":
        as_published_gpt2(folder / "base")
        edit_json(folder / "base" / "tokenizer.json", post_processor=None)  # it puts no token before a question
    write_state(folder / "codi" / "model.safetensors", codi_state(model))
    return folder


@cache
def load_architecture(architecture: str, dtype: str) -> ThoughtModel:
    """The model of these files."""
    folder = architecture_files(architecture)
    return load_model(
        folder / "base",
        codi=folder / "codi",
        lora_alpha=ARCHITECTURE_ALPHA,
        n_latents=N_LATENTS,
        dtype=dtype,
        device="cpu",
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """Questions to be patched, in one batch, with all that a patch needs.

    Attributes:
        layouts: of the questions that are patched.
        unpatched: their run with nothing written.
        donor: vectors of the other side of each pair, at every layer and site.
    """

    model: ThoughtModel
    direction: str
    frame: Frame
    layouts: tuple[Layout, ...]
    batch: Batch
    unpatched: Outcome
    donor: SiteVectors

    def sweep(self, donor: SiteVectors, patches: list[Patch]) -> list[Outcome]:
        """The runs of `patches`, in their order."""
        swept = plain.sweep(self.model.hooked, self.model.head, self.batch, donor, patches)
        return [outcome for _, outcome in swept]

    def relay(self, layer: int) -> list[plain.RelayStep]:
        """The relay through `layer`."""
        return list(plain.relay(self.model.hooked, self.model.head, self.batch, self.donor, layer, self.thoughts))

    @property
    def thoughts(self) -> list[int]:
        """The thoughts, as indices into the sites."""
        return [self.batch.sites.index(site) for site in self.frame.thoughts]

    def cells(self, experiment: str) -> list[Cell]:
        """The cells of an experiment, at every site."""
        return cells_of(Spec(experiments=(experiment,)), self.frame)

    def patch(self, cell: Cell) -> Patch:
        """What a cell writes."""
        return patch_of(cell, self.batch.sites)


@cache
def make_case(
    name: str, kind: str, direction: str = "denoise", pairs: tuple[int, ...] = ALL, prefix: str = "The answer is:"
) -> Case:
    """A batch of some of `PAIRS` with thoughts of one kind, on one of `MODELS` or `DEEP`."""
    model = model_under_test(name)
    spec = Spec(experiments=("position",), thoughts=kind, n_thoughts=LATENTS[name.split("-")[0]], prefix=prefix)
    layouts = [pair_layouts(model, spec, PAIRS[index]) for index in pairs]
    side = recipient(direction)
    recipients = tuple(sides[side] for sides in layouts)
    batch, other = collate(recipients), collate([sides[1 - side] for sides in layouts])
    return Case(
        model=model,
        direction=direction,
        frame=frame_of(model, spec, batch.sites),
        layouts=recipients,
        batch=batch,
        unpatched=plain.baseline(model.hooked, model.head, batch),
        donor=plain.baseline(model.hooked, model.head, other).resid,
    )
