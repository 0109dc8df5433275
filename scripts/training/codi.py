"""A CODI Llama in miniature and the four stages of its training.

A base learns chains and short chains, `bot r1 r2 r3 r3 r3 eot answer`; a head learns to feed the next result back; then
LoRA and head are trained as CODI does.
"""

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mechpatch.pairs import demo as world
from training.fitting import (
    BATCH,
    IGNORE,
    Edit,
    Row,
    add_number_features,
    batches,
    next_token_loss,
    pad_right,
    supervised,
    train,
)

N_LATENTS = 5
BOS, EOS = 1, 2
NUMBERS = slice(3, 103)


def make_base(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of 0.8 M parameters with rows for pad, bot and eot, its number embeddings started as Fourier features."""
    config = LlamaConfig(
        vocab_size=len(tokenizer) + 3,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=BOS,
        eos_token_id=EOS,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 128,
        },
    )
    model = LlamaForCausalLM(config)
    add_number_features(model.model.embed_tokens.weight.data[NUMBERS])
    return model


def make_head(std: float) -> nn.Sequential:
    """CODI's latent head; its LayerNorm gain starts at the embeddings' scale."""
    head = nn.Sequential(nn.Dropout(0.0), nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 128))
    norm = nn.LayerNorm(128)
    nn.init.constant_(norm.weight, std)
    head.add_module("ln", norm)
    return head


class Codec:
    """Token ids of a problem's parts."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        self.pad, self.bot, self.eot = (len(tokenizer) + i for i in range(3))
        self.eos = EOS

    def ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def question(self, problem: world.Problem) -> list[int]:
        return [*self.tokenizer.encode(problem.question())]

    def answer(self, problem: world.Problem) -> list[int]:
        return [*self.ids(f"{world.ANSWER_PREFIX} {problem.answer()}"), self.eos]

    def explicit(self, problem: world.Problem) -> Row:
        return self.question(problem), self.ids(problem.cot()) + self.answer(problem)

    def results(self, problem: world.Problem) -> list[int]:
        """First token of each step's result, the last one repeated up to the number of latents."""
        firsts = [self.ids(result)[0] for result in problem.results()]
        return firsts + [firsts[-1]] * (N_LATENTS - len(firsts))

    def short(self, problem: world.Problem) -> Row:
        return [*self.question(problem), self.bot], [*self.results(problem), self.eot, *self.answer(problem)]


def train_base(model: LlamaForCausalLM, codec: Codec, steps: int, seed: int) -> None:
    """Stage 1: explicit chain of thought."""
    stream = batches(world.problems(seed, held_out=False))

    def loss(step: int) -> Tensor:
        ids, labels = supervised([codec.explicit(p) for p in next(stream)], codec.pad)
        return next_token_loss(model(ids).logits, labels)

    train("explicit", model.parameters(), steps, 3e-3, 0.01, loss)


def train_short(model: LlamaForCausalLM, codec: Codec, steps: int, seed: int) -> None:
    """Stage 2: a third explicit, two thirds short, where each thought is the first token of a result."""
    stream = batches(world.problems(seed, held_out=False))

    def loss(step: int) -> Tensor:
        problems = next(stream)
        total = torch.zeros(())
        for part, form in ((problems[:21], codec.explicit), (problems[21:], codec.short)):
            ids, labels = supervised([form(p) for p in part], codec.pad)
            total = total + next_token_loss(model(ids).logits, labels) * len(part) / BATCH
        return total

    train("short", model.parameters(), steps, 2e-3, 0.01, loss)


def train_head(model: LlamaForCausalLM, head: nn.Sequential, codec: Codec, steps: int, seed: int) -> None:
    """Stage 3: the head alone learns to turn the hidden state at a short thought into the next result's embedding."""
    stream = batches(world.problems(seed, held_out=False))
    embed = model.model.embed_tokens.weight.detach()

    def loss(step: int) -> Tensor:
        rows = [codec.short(p) for p in next(stream)]
        ids, _ = supervised(rows, codec.pad)
        with torch.no_grad():
            hidden = model.model(ids).last_hidden_state  # [batch, position, d_model], after the final norm
        at = torch.tensor([[len(context) - 1 + t for t in range(N_LATENTS)] for context, _ in rows])
        index = torch.arange(len(rows))[:, None]
        wanted = embed[ids[index, at + 1]]
        return F.mse_loss(head(hidden[index, at]), wanted) / wanted.var()

    train("head", head.parameters(), steps, 3e-3, 0.0, loss)


def student(
    model: LlamaForCausalLM | PeftModel,
    head: nn.Sequential,
    codec: Codec,
    problems: list[world.Problem],
    n_latents: int = N_LATENTS,
    edit: Edit | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Roll out the latents and read the answer.

    Returns logits [batch, tail, vocab], labels, hidden states of all layers [layer, batch, tail, d_model].
    `edit(latent, t)` may replace each latent.
    """
    rows = [[*codec.question(p), codec.bot] for p in problems]
    width = max(map(len, rows))
    ids = torch.tensor([[codec.pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    cache = DynamicCache(config=model.config)
    llama = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(llama, LlamaForCausalLM)

    def run(**inputs):
        nonlocal mask
        position = mask.cumsum(1)[:, -next(iter(inputs.values())).shape[1] :] - 1
        return llama.model(
            attention_mask=mask,
            position_ids=position.clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            output_hidden_states=True,
            **inputs,
        )

    hidden = run(input_ids=ids).last_hidden_state[:, -1:]
    for t in range(n_latents):
        latent = head(hidden)
        if edit is not None:
            latent = edit(latent, t)
        mask = F.pad(mask, (0, 1), value=1)
        hidden = run(inputs_embeds=latent).last_hidden_state
    tails = pad_right([[codec.eot, *codec.answer(p)] for p in problems], codec.pad)
    labels = pad_right([[IGNORE, *codec.answer(p)] for p in problems], IGNORE)
    mask = F.pad(mask, (0, tails.shape[1]), value=1)
    out = run(input_ids=tails)
    return llama.lm_head(out.last_hidden_state), labels, torch.stack(out.hidden_states)


def train_codi(model, head, codec: Codec, steps: int, rate: float, seed: int) -> None:
    """Stage 4: CODI. Student and teacher cross-entropy; the student's hidden states at `:` drawn to the teacher's."""
    stream = batches(world.problems(seed, held_out=False))
    colon = codec.ids(":")[0]
    prefix = len(codec.ids(world.ANSWER_PREFIX))

    def loss(step: int) -> Tensor:
        problems = next(stream)
        logits, labels, hidden = student(model, head, codec, problems)
        ids, teacher_labels = supervised([codec.explicit(p) for p in problems], codec.pad)
        teach = step % 4 == 0
        with torch.set_grad_enabled(teach):
            teacher = model(ids, output_hidden_states=True)
        at = (ids == colon).float().argmax(1)
        goal = torch.stack(teacher.hidden_states)[:, torch.arange(len(at)), at].detach()  # [layer, batch, d_model]
        near = F.smooth_l1_loss(hidden[:, :, prefix], goal, reduction="none").mean((1, 2)) / goal.std((1, 2))
        total = next_token_loss(logits, labels) + 5 * near.mean()
        return total + next_token_loss(teacher.logits, teacher_labels) if teach else total

    train("codi", [*model.parameters(), *head.parameters()], steps, rate, 0.01, loss)
