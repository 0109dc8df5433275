"""What is counted is what is computed."""

from typing import Any

import pytest
import torch
from models_under_test import KINDS, Case, make_case
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from mechpatch.patching import engine, reference
from mechpatch.patching.engine.work import Work, base_work, plain_work, sweep_work
from mechpatch.patching.patch import Patch


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Case:
    return make_case("tiny-float64", request.param)


def products(counter: FlopCounterMode) -> int:
    """Operations of products with a weight; attention is made of batched ones."""
    counts = counter.get_flop_counts()["Global"]
    return sum(flops for name, flops in counts.items() if str(name) in ("aten.mm", "aten.addmm"))


class Reads(TorchDispatchMode):
    """Counts the numbers in the weights of products."""

    def __init__(self) -> None:
        super().__init__()
        self.read = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            self.read += args[-1].numel()
        return func(*args, **(kwargs or {}))


def attention(case: Case, keys: int) -> int:
    """Operations of attention, for tokens that see so many keys together, in every block."""
    return 4 * case.model.hooked.cfg.n_heads * case.model.hooked.cfg.d_head * keys


def test_base_run(case: Case, blocks: list[int]):
    empty = engine.empty_base(case.model.hooked, case.model.head, case.batch)
    work = base_work(empty)
    with FlopCounterMode(display=False) as counter, Reads() as reads:
        engine.base_run(case.model.hooked, case.model.head, case.batch)
    assert work.read == reads.read
    assert work.token_layers == sum(blocks)
    assert 0 < work.flops - products(counter) < attention(case, empty.tree.tokens.numel() ** 2)
    alone = base_work(engine.empty_base(case.model.hooked, case.model.head, make_case(*of(case), pairs=(0,)).batch))
    assert alone.token_layers < work.token_layers


def of(case: Case) -> tuple[str, str]:
    kind = "latent" if case.batch.n_latents else "text" if "bot" not in case.batch.sites else "placeholder"
    return "tiny-float64", kind


def test_sweep(case: Case, blocks: list[int]):
    base = engine.base_run(case.model.hooked, case.model.head, case.batch)
    patches = [Patch(0, (0,)), Patch(1, (1, 2)), Patch(0, (2,), 2), Patch(2, (0,))]
    work = sweep_work(base, patches)
    blocks.clear()
    with FlopCounterMode(display=False) as counter, Reads() as reads:
        list(engine.sweep(base, case.donor, patches))
    assert work.read == reads.read
    assert work.read == sweep_work(base, patches * 2).read < 2 * work.read  # however many rows there are
    assert work.token_layers == sum(blocks)
    # What is over is attention: one key of one token in one block at least, and all that there are at most.
    assert attention(case, sum(blocks)) < work.flops - products(counter) < attention(case, sum(blocks) * 100)
    assert sweep_work(base, patches[:1]).flops < work.flops
    assert sweep_work(base, []) == Work()


@pytest.mark.parametrize("hook", ["attn_out", "z", "kv", "thought"])
def test_sweep_at_another_hook_point(hook: str, blocks: list[int]):
    case = make_case("tiny-float64", "latent")
    patches = [Patch(0, (1,)), Patch(0, (1, 3)), *[Patch(2, (1, 3)) for _ in range(hook != "thought")]]
    base = engine.base_run(case.model.hooked, case.model.head, case.batch, [hook])
    work = sweep_work(base, patches, hook)
    blocks.clear()
    with FlopCounterMode(display=False) as counter:
        list(engine.sweep(base, base.outcome.vectors[hook] + 1, patches, hook=hook))
    assert work.token_layers == sum(blocks) > sweep_work(base, patches).token_layers  # each joins a block below
    assert attention(case, sum(blocks)) < work.flops - products(counter) < attention(case, sum(blocks) * 100)


def test_plain_run(case: Case):
    work = plain_work(case.model.hooked, case.batch)
    with FlopCounterMode(display=False) as counter:
        reference.baseline(case.model.hooked, case.model.head, case.batch)
    cfg, batch = case.model.hooked.cfg, case.batch
    trunk, tail = batch.tail_start, batch.tails.shape[2]
    tokens = batch.size * ((trunk + 2 * tail) if batch.n_latents else 2 * (trunk + tail))
    assert work.token_layers == tokens * cfg.n_layers
    total = sum(counter.get_flop_counts()["Global"].values())
    # transformer-lens computes scores that the mask hides, and the head, which is not counted here.
    assert 0.6 * total < work.flops < total


def test_works_add_up():
    assert Work(1, 10) + Work(2, 20) == Work(3, 30)
    assert Work(1, 10) * 3 == Work(3, 30)
    assert Work(1, 10, 4) * 2 + Work(0, 0, 1) == Work(2, 20, 9)
    assert (Work(1, 10, 4).effort(0.0), Work(1, 10, 4).effort(3.0)) == (10, 10 + 2 * 3 * 4)
