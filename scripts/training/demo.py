"""The demo model, trained, measured and written in the formats in which CODI's models circulate, with its card."""

import itertools
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import nn
from transformers import LlamaForCausalLM

from mechpatch.pairs import demo as world
from training.codi import (
    N_LATENTS,
    Codec,
    make_base,
    make_head,
    student,
    train_base,
    train_codi,
    train_head,
    train_short,
)
from training.fitting import HELD_OUT, Edit, as_rows, exact, pad_right, say, stage, with_broken
from training.words import llama_tokenizer

LORA_RANK, LORA_ALPHA = 32, 64
LORA_TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
STEPS, CODI_RATE = (1000, 1200, 300, 400), 1.2e-3


@torch.no_grad()
def accuracy(model, head, codec: Codec, count: int, seed: int) -> dict[str, float]:
    """Share of held-out problems answered right: with latents, with broken latents, and with an explicit chain."""
    problems = list(itertools.islice(world.problems(seed, held_out=True), count))

    def right(edit: Edit | None, n_latents: int = N_LATENTS) -> float:
        logits, labels, _ = student(model, head, codec, problems, n_latents, edit)
        return exact(logits, labels).float().mean().item()

    scores = with_broken("latents", right)
    scores["no latents"] = right(None, 0)
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


def train_demo(out: Path, work: Path, seed: int) -> dict[str, float]:
    """All stages; writes the model and its card."""
    torch.manual_seed(seed)
    tokenizer = llama_tokenizer()
    codec = Codec(tokenizer)
    base = make_base(tokenizer)
    stage(work / "1_explicit.safetensors", base, lambda: train_base(base, codec, STEPS[0], seed + 1))
    stage(work / "2_short.safetensors", base, lambda: train_short(base, codec, STEPS[1], seed + 2))
    base.requires_grad_(False)
    head = make_head(base.model.embed_tokens.weight.std().item())
    stage(work / "3_head.safetensors", head, lambda: train_head(base, head, codec, STEPS[2], seed + 3))
    say(f"after stage 3: {accuracy(base, head, codec, 500, seed + 9)}")
    config = LoraConfig(r=LORA_RANK, lora_alpha=LORA_ALPHA, target_modules=LORA_TARGETS, task_type="CAUSAL_LM")
    plain = {k: v.clone() for k, v in base.state_dict().items()}
    adapted = get_peft_model(base, config)
    both = nn.ModuleList([adapted, head])
    stage(work / "4_codi.safetensors", both, lambda: train_codi(adapted, head, codec, STEPS[3], CODI_RATE, seed + 4))
    scores = accuracy(adapted, head, codec, HELD_OUT, seed + 9)
    clean = make_base(tokenizer)
    clean.load_state_dict(plain)
    write(out, tokenizer, clean, adapted, head)
    card = CARD.format(
        latents=N_LATENTS,
        seed=seed,
        parameters=sum(p.numel() for p in clean.parameters()),
        rank=LORA_RANK,
        alpha=LORA_ALPHA,
        count=HELD_OUT,
        rows=as_rows(scores),
    )
    (out / "MODEL_CARD.md").write_text(card, encoding="utf-8")
    return scores
