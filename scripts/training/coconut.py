"""Coconut GPT-2 in miniature, and its twin without recurrence: chains, short chains, then thoughts in their place.

    question \\n | bot | r1 r2 … | eot | ### answer

A short chain has one token for each result. Thoughts take the place of all its tokens: at first they are guided, as
what led to a token still has to predict it; then the answer alone counts. The twin has the token `<|latent|>` in the
place of every thought.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from training.fitting import (
    BATCH,
    IGNORE,
    PERIODS,
    Edit,
    Row,
    add_number_features,
    batches,
    exact,
    next_token_loss,
    pad_right,
    supervised,
    train,
    with_broken,
)
from training.words import END

PULL = 2.0  # weight of what draws a state to the direction of an embedding


class Problem(Protocol):
    """What a world's problem must tell."""

    def question(self) -> str: ...
    def results(self) -> list[str]: ...
    def cot(self) -> str: ...
    def answer(self) -> str | int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is learnt, and at which size.

    Attributes:
        problems: an endless stream, by seed and by whether its problems are held out.
        numbers: tokens of 0, 1, … and of whatever else is counted so; their embeddings start as features of `periods`.
        shown: which token of a result stands for it in a short chain, 0 or -1.
        steps: of each stage: explicit (0: none), short, drawn, guided, guided once more (0: not), free.
    """

    problems: Callable[[int, bool], Iterator[Any]]
    tokenizer: PreTrainedTokenizerFast
    shown: int
    d_model: int
    d_mlp: int
    n_layers: int
    n_heads: int
    numbers: tuple[tuple[str, ...], ...]
    periods: tuple[float, ...] = PERIODS
    n_latents: int
    steps: tuple[int, int, int, int, int, int]
    rate: float = 3e-3

    def model(self) -> GPT2LMHeadModel:
        """A fresh one, with rows for bot, eot and latent."""
        config = GPT2Config(
            vocab_size=len(self.tokenizer) + 3,
            n_positions=128,
            n_embd=self.d_model,
            n_layer=self.n_layers,
            n_head=self.n_heads,
            n_inner=self.d_mlp,
            activation_function="gelu_pytorch_tanh",
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=END,
            eos_token_id=END,
        )
        model = GPT2LMHeadModel(config)
        rows = model.transformer.wte.weight.data
        for tokens in self.numbers:
            ids = self.tokenizer.convert_tokens_to_ids(list(tokens))
            featured = rows[ids]
            add_number_features(featured, self.periods)
            rows[ids] = featured
        return model


class Codec:
    """Token ids of a problem's parts."""

    def __init__(self, task: Task) -> None:
        self.task, self.tokenizer = task, task.tokenizer
        self.bot, self.eot, self.latent = (len(task.tokenizer) + i for i in range(3))
        self.eos = self.pad = END

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def question(self, problem: Problem) -> list[int]:
        return self.ids(f"{problem.question()}\n")

    def answer(self, problem: Problem) -> list[int]:
        return [*self.ids(f"### {problem.answer()}"), self.eos]

    def explicit(self, problem: Problem) -> Row:
        return self.question(problem), self.ids(problem.cot()) + self.answer(problem)

    def results(self, problem: Problem) -> list[int]:
        """One token of each step's result, the last one repeated up to the number of thoughts."""
        found = [self.ids(each)[self.task.shown] for each in problem.results()]
        return found + [found[-1]] * (self.task.n_latents - len(found))

    def asked(self, problem: Problem) -> list[int]:
        return [*self.question(problem), self.bot]

    def told(self, problem: Problem) -> list[int]:
        return [self.eot, *self.answer(problem)]

    def short(self, problem: Problem) -> Row:
        return self.asked(problem), self.results(problem) + self.told(problem)


def train_explicit(model: GPT2LMHeadModel, codec: Codec, steps: int, seed: int) -> None:
    """Stage 1: explicit chain of thought."""
    stream = batches(codec.task.problems(seed, False))

    def loss(step: int) -> Tensor:
        ids, labels = supervised([codec.explicit(p) for p in next(stream)], codec.pad)
        return next_token_loss(model(ids).logits, labels)

    train("explicit", model.parameters(), steps, codec.task.rate, 0.01, loss)


def train_short(model: GPT2LMHeadModel, codec: Codec, steps: int, seed: int) -> None:
    """Stage 2: short chains; a third of each batch is explicit where there was an explicit stage."""
    stream = batches(codec.task.problems(seed, False))
    explicit = BATCH // 3 if codec.task.steps[0] else 0
    rate = codec.task.rate * (2 / 3 if explicit else 1)

    def loss(step: int) -> Tensor:
        problems = next(stream)
        total = torch.zeros(())
        for part, form in ((problems[:explicit], codec.explicit), (problems[explicit:], codec.short)):
            if part:
                ids, labels = supervised([form(p) for p in part], codec.pad)
                total = total + next_token_loss(model(ids).logits, labels) * len(part) / BATCH
        return total

    train("short", model.parameters(), steps, rate, 0.01, loss)


def drawn(model: GPT2LMHeadModel, states: Tensor, results: Tensor) -> Tensor:
    """What draws states, [batch, thought, d_model], to the direction of the embeddings of the tokens they lead to."""
    return PULL * (1 - F.cosine_similarity(states, model.transformer.wte(results).detach(), dim=-1)).mean()


def train_drawn(model: GPT2LMHeadModel, codec: Codec, steps: int, seed: int) -> None:
    """Stage 3: short chains alone, and each state that leads to one of their tokens is drawn to its embedding."""
    stream, count = batches(codec.task.problems(seed, False)), codec.task.n_latents

    def loss(step: int) -> Tensor:
        rows = [codec.short(p) for p in next(stream)]
        ids, labels = supervised(rows, codec.pad)
        states = model.transformer(ids).last_hidden_state
        index = torch.arange(len(rows))[:, None]
        at = torch.tensor([[len(context) + t for t in range(count)] for context, _ in rows])
        near = drawn(model, states[index, at - 1], ids[index, at])
        return next_token_loss(model.lm_head(states), labels) + near

    train("drawn", model.parameters(), steps, codec.task.rate * 2 / 3, 0.01, loss)


@torch.no_grad()
def balance(model: GPT2LMHeadModel, codec: Codec) -> None:
    """Make a state that is fed back as long as an embedding, and change nothing else.

    Whatever enters the residual stream is scaled up and what the final norm gives is scaled down by one factor, so that
    logits stay as they are: every block reads the stream through a norm.
    """
    inner: Any = model.transformer
    state = inner.ln_f.weight.norm()  # of a normed vector of this width, on average
    factor = (state / inner.wte.weight[: codec.bot].norm(dim=1).mean()).sqrt()
    for entering in [
        inner.wte,
        inner.wpe,
        *(part for block in inner.h for part in (block.attn.c_proj, block.mlp.c_proj)),
    ]:
        for parameter in entering.parameters():
            parameter *= factor
    for parameter in inner.ln_f.parameters():
        parameter /= factor


def think(
    model: GPT2LMHeadModel,
    codec: Codec,
    problems: list[Any],
    *,
    recurrent: bool,
    thoughts: int,
    edit: Edit | None = None,
) -> tuple[Tensor, Tensor]:
    """States after the final norm from bot on, [batch, 1 + thoughts + tail, d_model], and labels of the answer.

    Args:
        thoughts: how many there are.
        edit: may replace each thought, given its index.
    """
    rows = [codec.asked(p) for p in problems]
    width = max(map(len, rows))
    ids = torch.tensor([[codec.pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    embed, cache = model.transformer.wte, DynamicCache(config=model.config)

    def run(inputs: Tensor) -> Tensor:
        position = mask.cumsum(1)[:, -inputs.shape[1] :] - 1
        return model.transformer(
            inputs_embeds=inputs,
            attention_mask=mask,
            position_ids=position.clamp(min=0),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state

    states = [run(embed(ids))[:, -1:]]
    fixed = embed(torch.full((len(rows), thoughts), codec.latent))
    if recurrent:
        for index in range(thoughts):
            thought = states[-1] if edit is None else edit(states[-1], index)
            mask = F.pad(mask, (0, 1), value=1)
            states.append(run(thought))
    elif thoughts:  # none of them waits for another
        each = fixed.split(1, dim=1)
        edited = each if edit is None else [edit(thought, index) for index, thought in enumerate(each)]
        mask = F.pad(mask, (0, thoughts), value=1)
        states.append(run(torch.cat([*edited], dim=1)))
    tails = pad_right([codec.told(p) for p in problems], codec.pad)
    mask = F.pad(mask, (0, tails.shape[1]), value=1)
    states.append(run(embed(tails)))
    labels = pad_right([[IGNORE] * (thoughts + 2) + codec.answer(p) for p in problems], IGNORE)
    return torch.cat(states, dim=1), labels


def train_thoughts(
    model: GPT2LMHeadModel, codec: Codec, steps: int, seed: int, *, recurrent: bool, guided: bool
) -> None:
    """Stages 4 and 5: all thoughts; while they are guided, what predicts a short token has to go on doing so."""
    stream, count = batches(codec.task.problems(seed, False)), codec.task.n_latents

    def loss(step: int) -> Tensor:
        problems = next(stream)
        states, labels = think(model, codec, problems, recurrent=recurrent, thoughts=count)
        if not guided:
            return next_token_loss(model.lm_head(states), labels)
        results = torch.tensor([codec.results(p) for p in problems])
        labels[:, 1 : count + 1] = results
        return next_token_loss(model.lm_head(states), labels) + drawn(model, states[:, :count], results)

    train("guided" if guided else "free", model.parameters(), steps, codec.task.rate / 3, 0.01, loss)


@torch.no_grad()
def accuracy(model: GPT2LMHeadModel, codec: Codec, recurrent: bool, count: int, seed: int) -> dict[str, float]:
    """Share of held-out problems answered right: with thoughts, with broken ones, and with none."""
    problems = list(itertools.islice(codec.task.problems(seed, True), count))

    def right(edit: Edit | None, thoughts: int = codec.task.n_latents) -> float:
        states, labels = think(model, codec, problems, recurrent=recurrent, thoughts=thoughts, edit=edit)
        return exact(model.lm_head(states), labels).float().mean().item()

    return with_broken("thoughts", right) | {"no thoughts": right(None, 0)}
