"""Train the demo model from nothing: a miniature of a CODI LLaMA, in under half an hour on two cores.

    python scripts/train_demo_model.py --out mechpatch/data/demo

Writes `base/` (a Hugging Face Llama and its tokenizer), `codi/` (LoRA, latent head and resized embeddings under the
published key names) and `MODEL_CARD.md`: accuracies on held-out problems, and where the recipe departs from CODI. Each
stage is kept in `--work`, so an interrupted training goes on with the stage it was in.
"""

import argparse
import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from mechpatch.pairs import demo as world

N_LATENTS = 5
LORA_RANK, LORA_ALPHA = 32, 64
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
BATCH = 64
IGNORE = -100
BOS, EOS = 1, 2
HELD_OUT = 1000


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


# --- tokenizer -------------------------------------------------------------------------------------------------------


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Words, signs, and digits in groups of at most two: 148 is `14` and its continuation `##8`."""
    words = set(world.NAMES + world.ITEMS + world.HOLDERS)
    words |= {"has", "of", "finds", "loses", "more", "buys", "sells", "times", "as", "many", "How", "does", "have"}
    words |= {"The", "answer", "is"}
    signs = [".", "?", ":", "<<", ">>", "+", "-", "*", "="]
    numbers = [str(n) for n in range(100)] + [f"##{n}" for n in range(10)]
    vocab = {token: i for i, token in enumerate(["<unk>", "<s>", "</s>", *numbers, *signs, *sorted(words)])}
    backend = Tokenizer(models.WordPiece(vocab, unk_token="<unk>"))
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split(Regex(r"<<|>>|[^\p{L}\p{N}]|\p{N}+|\p{L}+"), "isolated"),
        ]
    )
    # Joins the pieces as the world writes them: no blank before . ? : nor inside << >>.
    backend.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace(Regex(r" (?=[.?:+*=>-])"), ""),
            decoders.Replace(Regex(r"(?<=[<+*=-]) "), ""),
            decoders.Replace(Regex(r"(?<=>) (?=<)"), ""),
        ]
    )
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", vocab["<s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


# --- model -----------------------------------------------------------------------------------------------------------


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
    n = torch.arange(100.0)[:, None]
    # Numbers that are near, or alike in a digit, start near each other; ten times the scale of the random part.
    angle = 2 * math.pi * n / torch.tensor([2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0])
    features = torch.cat([angle.cos(), angle.sin(), (n - 49.5) / 28.9], dim=1)  # [100, 15]
    mix = torch.linalg.qr(torch.randn(128, features.shape[1])).Q.T  # orthonormal rows
    with torch.no_grad():
        model.model.embed_tokens.weight[3:103] += 0.2 * features @ mix
    return model


def make_head(std: float) -> nn.Sequential:
    """CODI's latent head; its LayerNorm gain starts at the embeddings' scale."""
    head = nn.Sequential(nn.Dropout(0.0), nn.Linear(128, 256), nn.GELU(), nn.Linear(256, 128))
    norm = nn.LayerNorm(128)
    nn.init.constant_(norm.weight, std)
    head.add_module("ln", norm)
    return head


# --- batches ---------------------------------------------------------------------------------------------------------


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

    def explicit(self, problem: world.Problem) -> tuple[list[int], list[int]]:
        return self.question(problem), self.ids(problem.cot()) + self.answer(problem)

    def results(self, problem: world.Problem) -> list[int]:
        """First token of each step's result, the last one repeated up to the number of latents."""
        firsts = [self.ids(str(step.result))[0] for step in problem.steps()]
        return firsts + [firsts[-1]] * (N_LATENTS - len(firsts))

    def short(self, problem: world.Problem) -> tuple[list[int], list[int]]:
        return [*self.question(problem), self.bot], [*self.results(problem), self.eot, *self.answer(problem)]


def pad_right(rows: list[list[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def supervised(rows: list[tuple[list[int], list[int]]], pad: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids and labels; the first part of a row is context. Right padding is exact under a causal mask."""
    ids = pad_right([context + target for context, target in rows], pad)
    labels = pad_right([[IGNORE] * len(context) + target for context, target in rows], IGNORE)
    return ids, labels


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORE)


def batches(seed: int, held_out: bool = False) -> Iterator[list[world.Problem]]:
    stream = world.problems(seed, held_out)
    while True:
        yield list(itertools.islice(stream, BATCH))


# --- training --------------------------------------------------------------------------------------------------------


def train(name, parameters, steps, rate, decay, loss_of_step) -> None:
    """AdamW with warm-up and a cosine down to 3 %; `loss_of_step(step)` gives the loss to descend."""
    parameters = [p for p in parameters if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=decay)
    warm = min(100, steps // 4)

    def scale(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    start, shown = time.monotonic(), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * scale(step)
        loss = loss_of_step(step)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        shown.append(loss.item())
        if (step + 1) % 50 == 0:
            each = (time.monotonic() - start) / (step + 1)
            say(
                f"{name} {step + 1}/{steps} loss {sum(shown[-50:]) / 50:.4f}, {each:.2f} s a step, "
                f"{each * (steps - step - 1):.0f} s left"
            )


def train_base(model: LlamaForCausalLM, codec: Codec, steps: int, seed: int) -> None:
    """Stage 1: explicit chain of thought."""
    stream = batches(seed)

    def loss(step: int) -> Tensor:
        ids, labels = supervised([codec.explicit(p) for p in next(stream)], codec.pad)
        return next_token_loss(model(ids).logits, labels)

    train("explicit", model.parameters(), steps, 3e-3, 0.01, loss)


def train_short(model: LlamaForCausalLM, codec: Codec, steps: int, seed: int) -> None:
    """Stage 2: a third explicit, two thirds short, where each thought is the first token of a result."""
    stream = batches(seed)

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
    stream = batches(seed)
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
    edit: Callable[[Tensor, int], Tensor] | None = None,
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
    stream = batches(seed)
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


# --- evaluation ------------------------------------------------------------------------------------------------------


def exact(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether greedy decoding gives the answer and its end: every labelled position is top-1."""
    hit = (logits[:, :-1].argmax(-1) == labels[:, 1:]) | (labels[:, 1:] == IGNORE)
    return hit.all(1)


@torch.no_grad()
def accuracy(model, head, codec: Codec, count: int, seed: int) -> dict[str, float]:
    """Share of held-out problems answered right: with latents, with broken latents, and with an explicit chain."""
    problems = list(itertools.islice(world.problems(seed, held_out=True), count))
    seen: list[Tensor] = []

    def keep(latent, t):
        seen.append(latent)
        return latent

    def right(n_latents=N_LATENTS, edit=None) -> float:
        logits, labels, _ = student(model, head, codec, problems, n_latents, edit)
        return exact(logits, labels).float().mean().item()

    scores = {"latents": right(edit=keep)}
    latents = list(seen)
    scores["zeroed latents"] = right(edit=lambda latent, t: torch.zeros_like(latent))
    scores["mean latents"] = right(edit=lambda latent, t: latents[t].mean(0, keepdim=True).expand_as(latent))
    scores["shuffled latents (another question's)"] = right(edit=lambda latent, t: latents[t].roll(1, 0))
    scores["no latents"] = right(n_latents=0)
    rows = [codec.explicit(p) for p in problems]
    contexts = [len(context) for context, _ in rows]
    ids = [context for context, _ in rows]
    done = [False] * count
    for _ in range(40):  # greedy decoding of chain and answer
        live = [i for i in range(count) if not done[i]]
        if not live:
            break
        logits = model(pad_right([ids[i] for i in live], codec.pad)).logits
        for row, i in enumerate(live):
            ids[i] = [*ids[i], int(logits[row, len(ids[i]) - 1].argmax())]
            done[i] = ids[i][-1] == codec.eos
    tails = [each[start:] for each, start in zip(ids, contexts, strict=True)]
    ends = [codec.answer(p) for p in problems]
    scores["explicit chain of thought"] = (
        sum(tail[-len(end) :] == end for tail, end in zip(tails, ends, strict=True)) / count
    )
    return scores


# --- output ----------------------------------------------------------------------------------------------------------


def write(out: Path, tokenizer, base: LlamaForCausalLM, adapted, head: nn.Sequential) -> None:
    """Base (without the three special rows) and CODI checkpoint, in the formats in which the real ones circulate."""
    rows = base.model.embed_tokens.weight.detach().clone()
    prefix = "codi.base_model.model."
    state = {f"{prefix}model.embed_tokens.weight": rows}
    state |= {
        "codi." + name: value.detach().clone() for name, value in adapted.state_dict().items() if ".lora_" in name
    }
    state |= {f"prj.{name}": value.detach().clone() for name, value in head.state_dict().items()}
    (out / "codi").mkdir(parents=True, exist_ok=True)
    save_file(state, out / "codi" / "model.safetensors")
    base.resize_token_embeddings(len(tokenizer))
    base.save_pretrained(out / "base")
    tokenizer.save_pretrained(out / "base")


CARD = """# Model card: the demo model

A miniature of a CODI LLaMA, made to try mechpatch on: it answers word problems of two or three steps with {latents}
latent thoughts. It knows nothing else. Trained from nothing by `scripts/train_demo_model.py` (seed {seed}) on problems
from `mechpatch/pairs/demo.py`; both are ours and under this repository's licence.

| part | |
|---|---|
| `base/` | Llama: 4 layers, 4 heads, 2 key-value heads, d_model 128, d_mlp 384, tied embeddings, llama3 rope |
| | {parameters:,} parameters |
| `codi/` | LoRA rank {rank}, alpha {alpha}, on q, k, v, o, gate, up, down; embeddings with pad, bot and eot |
| | latent head 128–256–128 with LayerNorm |
| `pairs.json` | held-out pairs that differ in one number by one, made by `scripts/make_demo_pairs.py` |

Share of {count} held-out problems (other numbers than any in training) that greedy decoding answers exactly:

| condition | accuracy |
|---|---|
{rows}

## Departures from CODI

- The base has seen short chains, `bot r1 r2 r3 r3 r3 eot answer`, before the latents are trained, so bot and eot are
  trained tokens of the base.
- The head is warm-started on the embedding of the next result; after that nothing supervises the latents.
- The teacher's chain keeps its last step (the reference code drops it).
- The teacher's loss is taken every fourth step, and the distillation weight is 5 (published: 20).
- {latents} latents instead of six, rank {rank} instead of 128, alpha {alpha} instead of 32.
"""


def write_card(out: Path, scores: dict[str, float], parameters: int, count: int, seed: int) -> None:
    rows = "\n".join(f"| {name} | {score:.3f} |" for name, score in scores.items())
    card = CARD.format(
        latents=N_LATENTS, seed=seed, parameters=parameters, rank=LORA_RANK, alpha=LORA_ALPHA, count=count, rows=rows
    )
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("cache/train_demo_model"), help="stage checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs=4, default=[1000, 1200, 300, 400])
    parser.add_argument("--codi-rate", type=float, default=1.2e-3)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(args.seed)
    tokenizer = make_tokenizer()
    codec = Codec(tokenizer)
    base = make_base(tokenizer)

    def stage(name: str, module: nn.Module, run) -> None:
        file = args.work / f"{name}.safetensors"
        if file.exists():
            module.load_state_dict(load_file(file), strict=False)
            say(f"{name}: taken from {file}")
            return
        run()
        state = {k: v.clone() for k, v in module.state_dict().items() if k != "lm_head.weight"}
        save_file(state, file)

    stage("1_explicit", base, lambda: train_base(base, codec, args.steps[0], args.seed + 1))
    stage("2_short", base, lambda: train_short(base, codec, args.steps[1], args.seed + 2))
    base.requires_grad_(False)
    head = make_head(base.model.embed_tokens.weight.std().item())
    stage("3_head", head, lambda: train_head(base, head, codec, args.steps[2], args.seed + 3))
    say(f"after stage 3: {accuracy(base, head, codec, 500, args.seed + 9)}")
    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=LORA_TARGETS, task_type="CAUSAL_LM")
    plain = {k: v.clone() for k, v in base.state_dict().items()}
    adapted = get_peft_model(base, config)
    both = nn.ModuleList([adapted, head])
    stage("4_codi", both, lambda: train_codi(adapted, head, codec, args.steps[3], args.codi_rate, args.seed + 4))
    scores = accuracy(adapted, head, codec, HELD_OUT, args.seed + 9)
    say(json.dumps(scores, indent=1))
    clean = make_base(tokenizer)
    clean.load_state_dict(plain)
    write(args.out, tokenizer, clean, adapted, head)
    write_card(args.out, scores, sum(p.numel() for p in clean.parameters()), HELD_OUT, args.seed)


if __name__ == "__main__":
    main()
