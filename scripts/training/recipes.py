"""The Coconut models that are shipped: what each learns, at which size, its files and its card."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import fill

import torch
from safetensors.torch import save_file
from transformers import GPT2LMHeadModel

from mechpatch.pairs import demo, handovers
from training.coconut import (
    Codec,
    Task,
    accuracy,
    balance,
    train_drawn,
    train_explicit,
    train_short,
    train_thoughts,
)
from training.fitting import HELD_OUT, as_rows, say, stage
from training.words import handover_tokenizer, word_problem_tokenizer

LAST = tuple("~" * (len(pieces) > 1) + pieces[-1] for pieces in handovers.PIECES)  # tells who it is


def word_problems() -> Task:
    """The demo's world, at the demo's size."""
    return Task(
        problems=demo.problems,
        tokenizer=word_problem_tokenizer(),
        shown=0,
        numbers=(tuple(map(str, range(100))),),
        d_model=128,
        d_mlp=384,
        n_layers=4,
        n_heads=4,
        n_latents=4,
        steps=(1000, 1200, 600, 600, 900, 700),
    )


def ball() -> Task:
    """Who has the ball after some hand-overs."""
    return Task(
        problems=handovers.problems,
        tokenizer=handover_tokenizer(),
        shown=-1,
        # Places in the circle, and how far the ball goes: nobody goes 0 on, which stands for no token.
        numbers=(LAST, ("<unk>", *(str(n) for n in range(1, handovers.FURTHEST + 1)))),
        periods=(12.0, 6.0, 4.0, 3.0, 2.4, 2.0),
        d_model=64,
        d_mlp=160,
        n_layers=3,
        n_heads=4,
        n_latents=3,
        steps=(0, 1000, 300, 200, 0, 100),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One model.

    Attributes:
        shared: name of the stages before the thoughts; models of one name share them.
        recurrent: whether a thought is what the model feeds back, or the token `<|latent|>`.
        world: file of its problems.
        about: what it is, after "A miniature of".
    """

    task: Callable[[], Task]
    shared: str
    recurrent: bool
    world: str
    about: str


RECIPES = {
    "demo-coconut": Recipe(
        task=word_problems,
        shared="words",
        recurrent=True,
        world="demo",
        about="a Coconut GPT-2, made to try mechpatch on: it answers word problems of two or three steps",
    ),
    "demo-pause": Recipe(
        task=word_problems,
        shared="words",
        recurrent=False,
        world="demo",
        about="a Coconut GPT-2 without recurrence, the twin of `demo-coconut`: it answers the same word problems",
    ),
    "demo-names": Recipe(
        task=ball,
        shared="names",
        recurrent=True,
        world="handovers",
        about="a Coconut GPT-2 whose answers are words: it says who has a ball after two or three hand-overs",
    ),
}

INTRO = (
    "A miniature of {about}, with {latents} {thoughts}. It knows nothing else. Trained from nothing by "
    "`python scripts/train_demo_model.py {name}` (seed {seed}) on problems from `mechpatch/pairs/{world}.py`; both are "
    "ours and under this repository's licence."
)
CARD = """# Model card: {name}

{intro}

| part | |
|---|---|
| `base/` | GPT-2 without weights: {layers} layers, {heads} heads, d_model {d_model}, d_mlp {d_mlp}; tokenizer |
| `coconut/` | its {parameters:,} parameters under the names of published Coconut checkpoints |
| `pairs.json` | held-out pairs, made by `python scripts/make_demo_pairs.py {name}` |

Share of {count} held-out problems that greedy decoding answers exactly:

| condition | accuracy |
|---|---|
{rows}

## Departures from Coconut

- The model is trained from nothing, where Coconut starts from GPT-2.
- What thoughts replace is a short chain of one token for each result, the last one repeated: `r1 r2 r3 r3`. All of its
  tokens are replaced at once; Coconut replaces the steps of a written chain one after the other.
{steps}
- Drawn: on short chains, each state that leads to a token of the chain is drawn to the direction of its embedding.
  Guided: with thoughts in the place of the tokens, that goes on, and so does the prediction of each token. Free: the
  answer alone is trained, as in Coconut.
- Before it is drawn, a state that is fed back gets the length of an embedding: all that enters the residual stream is
  scaled up and the gain of the final norm down, which leaves the logits as they are.
- {latents} thoughts; Coconut has six.
{more}"""
TWIN = """- Nothing is fed back: in the place of every thought stands the token `<|latent|>`. Data, stages, steps and
  seeds are those of `demo-coconut`, with which it shares the stages without thoughts.
"""
FEATURES = "- Embeddings of whatever is counted start as Fourier features.\n"
WIDTH = 120  # of a card
STAGES = ("written chains", "short chains", "drawn", "guided", "guided once more", "free")


def train_coconut(name: str, out: Path, work: Path, seed: int) -> dict[str, float]:
    """All stages of one model; writes its files and its card."""
    recipe = RECIPES[name]
    task = recipe.task()
    torch.manual_seed(seed)
    model, codec = task.model(), Codec(task)
    explicit, short, pulled, guided, again, free = task.steps
    before = work / f"{recipe.shared}_1_explicit.safetensors", work / f"{recipe.shared}_2_short.safetensors"
    if explicit:
        stage(before[0], model, lambda: train_explicit(model, codec, explicit, seed + 1))
    stage(before[1], model, lambda: train_short(model, codec, short, seed + 2))
    balance(model, codec)
    drawn = work / f"{recipe.shared}_3_drawn.safetensors"
    stage(drawn, model, lambda: train_drawn(model, codec, pulled, seed + 7))
    think = partial(train_thoughts, model, codec, recurrent=recipe.recurrent)
    stage(work / f"{name}_4_guided.safetensors", model, partial(think, guided, seed + 3, guided=True))
    if again:
        stage(work / f"{name}_5_guided.safetensors", model, partial(think, again, seed + 5, guided=True))
    stage(work / f"{name}_6_free.safetensors", model, partial(think, free, seed + 4, guided=False))
    scores = accuracy(model, codec, recipe.recurrent, HELD_OUT, seed + 9)
    write(out, task, model)
    parameters = sum(p.numel() for p in model.parameters())
    (out / "MODEL_CARD.md").write_text(card(name, scores, parameters, seed), encoding="utf-8")
    return scores


def card(name: str, scores: dict[str, float], parameters: int, seed: int) -> str:
    """The text of a card."""
    recipe = RECIPES[name]
    task = recipe.task()
    intro = INTRO.format(
        name=name,
        about=recipe.about,
        world=recipe.world,
        seed=seed,
        latents=task.n_latents,
        thoughts="latent thoughts" if recipe.recurrent else "`<|latent|>` tokens in place of thoughts",
    )
    steps = ", ".join(f"{count} {stage}" for count, stage in zip(task.steps, STAGES, strict=True) if count)
    return CARD.format(
        name=name,
        intro=fill(intro, WIDTH),
        latents=task.n_latents,
        layers=task.n_layers,
        heads=task.n_heads,
        d_model=task.d_model,
        d_mlp=task.d_mlp,
        parameters=parameters,
        count=HELD_OUT,
        rows=as_rows(scores),
        steps=fill(f"- Steps of training, one stage after the other: {steps}.", WIDTH, subsequent_indent="  "),
        more=FEATURES + ("" if recipe.recurrent else TWIN),
    )


def write(out: Path, task: Task, model: GPT2LMHeadModel) -> None:
    """Configuration and tokenizer (without the three special tokens), and the state dict as Coconut's code saves it."""
    state = {f"base_causallm.{name}": value.clone() for name, value in model.state_dict().items()}
    state["embedding.weight"] = model.transformer.wte.weight.detach().clone()
    (out / "coconut").mkdir(parents=True, exist_ok=True)
    save_file(state, out / "coconut" / "model.safetensors")
    model.config.vocab_size = len(task.tokenizer)
    model.config.save_pretrained(out / "base")
    task.tokenizer.save_pretrained(out / "base")
    say(f"{out}: {sum(each.stat().st_size for each in out.rglob('*') if each.is_file()) / 1e6:.2f} MB")
