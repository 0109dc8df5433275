"""What all recipes share: batches of token ids, the loop over steps, and stages that are kept."""

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

BATCH = 64
IGNORE = -100
HELD_OUT = 1000
PERIODS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)
TIED = "lm_head.weight"  # the embedding once more
Row = tuple[list[int], list[int]]  # context, target
Edit = Callable[[Tensor, int], Tensor]  # of a thought, given its index
T = TypeVar("T")


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


def batches(problems: Iterator[T]) -> Iterator[list[T]]:
    while True:
        yield list(itertools.islice(problems, BATCH))


def pad_right(rows: list[list[int]], value: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [value] * (width - len(row)) for row in rows])


def supervised(rows: list[Row], pad: int) -> tuple[Tensor, Tensor]:
    """Right-padded ids and labels; the first part of a row is context. Right padding is exact under a causal mask."""
    ids = pad_right([context + target for context, target in rows], pad)
    labels = pad_right([[IGNORE] * len(context) + target for context, target in rows], IGNORE)
    return ids, labels


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORE)


def exact(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether greedy decoding gives the answer and its end: every labelled position is top-1."""
    hit = (logits[:, :-1].argmax(-1) == labels[:, 1:]) | (labels[:, 1:] == IGNORE)
    return hit.all(1)


def add_number_features(rows: Tensor, periods: Sequence[float] = PERIODS) -> None:
    """Start the embeddings of 0, 1, … so that numbers that are near, or alike in a period, are near each other."""
    n = torch.arange(float(len(rows)))[:, None]
    angle = 2 * math.pi * n / torch.tensor(periods)
    straight = (n - (len(rows) - 1) / 2) / 28.9
    features = torch.cat([angle.cos(), angle.sin(), straight], dim=1)  # for 0 to 99 [100, 15]
    mix = torch.linalg.qr(torch.randn(rows.shape[1], features.shape[1])).Q.T  # orthonormal rows
    with torch.no_grad():
        rows += 0.2 * features @ mix  # ten times the scale of the random part


def train(
    name: str,
    parameters: Iterable[nn.Parameter],
    steps: int,
    rate: float,
    decay: float,
    loss_of_step: Callable[[int], Tensor],
) -> None:
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


def stage(file: Path, module: nn.Module, run: Callable[[], None]) -> None:
    """Train `module` by `run` and keep it in `file`; or take it from there."""
    if file.exists():
        module.load_state_dict(load_file(file), strict=False)
        say(f"{file.stem}: taken from {file}")
        return
    run()
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.clone() for name, value in module.state_dict().items() if name != TIED}, file)


def with_broken(word: str, right: Callable[[Edit | None], float]) -> dict[str, float]:
    """What `right` gives with thoughts as they are, and with each way of breaking them.

    Args:
        word: what the thoughts are called.
        right: share of answers that are right where each thought is edited so.
    """
    seen: list[Tensor] = []

    def keep(thought: Tensor, index: int) -> Tensor:
        seen.append(thought)
        return thought

    scores = {word: right(keep)}
    return scores | {
        f"zeroed {word}": right(lambda thought, index: torch.zeros_like(thought)),
        f"mean {word}": right(lambda thought, index: seen[index].mean(0, keepdim=True).expand_as(thought)),
        f"shuffled {word} (another question's)": right(lambda thought, index: seen[index].roll(1, 0)),
    }


def as_rows(scores: dict[str, float]) -> str:
    """Scores as rows of a table in Markdown."""
    return "\n".join(f"| {name} | {score:.3f} |" for name, score in scores.items())
