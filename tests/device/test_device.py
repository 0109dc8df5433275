"""The fast path as it would run on CUDA, on a machine that has none: devices, waits, copies, kernels.

`MECHPATCH_DEVICE=all` runs the slow ones too.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from accelerator import BLOCKING, DEVICE, DOWN, HIDDEN, PINNED, UP, WAIT, DeviceError, OnDevice, Seen, accelerator
from device_runs import LATENT, SLOW, SPECS, alike, run, spec_of
from torch import Tensor
from torch.nn import functional as F

from mechpatch.experiments import cost
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import Todo
from mechpatch.experiments.running.engines import ENGINES
from mechpatch.models import ThoughtModel, load_model
from mechpatch.patching import collate
from mechpatch.patching.engine import base, planned, runs
from mechpatch.patching.engine.recording import record
from mechpatch.patching.engine.waves import MOVED
from mechpatch.patching.moved import moved

slow = pytest.mark.skipif(not os.environ.get("MECHPATCH_DEVICE"), reason="slow: MECHPATCH_DEVICE=all runs it")
KERNELS_OF_A_BLOCK = 35  # 7 products, 6 of rotary embedding, 2 norms, 20 of attention and sums


@pytest.fixture(scope="module")
def there() -> ThoughtModel:
    """The demo model on the pretended device."""
    with accelerator():
        model = load_model("demo", device="lazy")
    assert model.device == DEVICE
    assert isinstance(model.hooked.W_E, OnDevice)
    return model


@pytest.fixture
def pairs(shipped_pairs):
    return shipped_pairs[:2]


@contextmanager
def watched(*refused: str) -> Iterator[Seen]:
    """The device, with what waves do under the phase `wave`, and of it blocks under `block`.

    Args:
        refused: kinds of events that raise an error in a wave.
    """
    with accelerator() as seen, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "_climb", _during(seen, "wave", runs._climb, *refused))
        patch.setattr(runs, "run_block", _during(seen, "block", runs.run_block, *refused))
        yield seen


def _during(seen: Seen, phase: str, function: Callable[..., Any], *refused: str) -> Callable[..., Any]:
    def watched_function(*given: Any) -> Any:
        with seen.during(phase, *refused):
            return function(*given)

    return watched_function


@pytest.mark.parametrize(
    "spec", [*SPECS.values(), *(pytest.param(spec, marks=slow) for spec in SLOW.values())], ids=[*SPECS, *SLOW]
)
def test_a_run_has_the_bytes_of_the_cpu_and_no_wave_waits_or_copies(demo_model, there, pairs, spec):
    pairs = pairs[: 2 if spec.nulls or "thought" in spec.hooks else 1]  # two questions of unequal lengths
    expected = run(demo_model, spec, pairs)
    with watched(*BLOCKING, PINNED):
        for mine, theirs in zip(run(there, spec, pairs), expected, strict=True):
            # transformer-lens lays its products out in another way on a device, so the last bits of plain hooks differ
            assert alike(mine, theirs)
            assert spec.engine == "reference" or mine.equals(theirs)


def test_indices_go_up_together_and_a_block_has_few_kernels(there, pairs):
    layouts = Experiment.prepare(there, spec_of("layer", **LATENT), pairs).layouts
    with watched() as seen:
        batch = collate(layouts[0], DEVICE)
        found = runs.base_run(there.hooked, there.head, batch)
        kinds = [event.kind for event in seen.events if not event.place.startswith("patching/engine/runs.py")]
        assert kinds == [PINNED] * 2  # of the batch, of all waves; beside what is read off the last one
        waves, depth = len(found.tree.stages), len(found.model.blocks)
        assert seen.kernels["block"] <= KERNELS_OF_A_BLOCK * waves * depth


def test_the_questions_of_a_batch_are_recorded_together(demo_model, there, pairs, tmp_path):
    layouts = Experiment.prepare(demo_model, spec_of("layer", **LATENT), pairs).layouts
    together = record(demo_model.hooked, demo_model.head, [side for pair in layouts for side in pair])

    def unpatched(model: ThoughtModel, groups: Any = ((0, 1),)) -> UnpatchedRuns:
        return UnpatchedRuns(model, layouts, "fast", tmp_path, groups=groups)

    with watched(*BLOCKING, PINNED) as seen:
        runs_there = unpatched(there)
        found = [recording for index in (0, 1) for recording in runs_there.get(index)]
        kernels, again = seen.kernels.total(), unpatched(there)
        assert again.has(0)
        assert again.has(1)
        assert not unpatched(there, ()).has(0)  # alone it would have other bits
        found += [recording for index in (1, 0) for recording in again.get(index)]
        assert seen.kernels.total() - kernels < kernels / 10  # from the cache
    for mine, theirs in zip(found, [*together, *together[2:], *together[:2]], strict=True):
        for name, tensor in mine.tensors().items():
            assert torch.equal(host(tensor), theirs.tensors()[name]), name
    alone = unpatched(demo_model)
    assert torch.equal(alone.get(0)[0].logits, record(demo_model.hooked, demo_model.head, layouts[0])[0].logits)
    assert unpatched(demo_model, ()).has(0)  # on the CPU each pair is recorded by itself
    assert not alone.has(1)


def test_a_plan_times_the_questions_of_a_batch_together_as_a_run_does(there, pairs, monkeypatch):
    spec, real, questions = spec_of("layer", **LATENT | {"layers": (1,)}), ENGINES["fast"], []

    def count_questions(*given: Any) -> Any:
        questions.append(len(given[2]))
        return real.record(*given)

    monkeypatch.setitem(ENGINES, "fast", dataclasses.replace(real, record=count_questions))
    with accelerator():
        experiment = Experiment.prepare(there, spec, pairs)
        cost._timed(experiment, Todo.whole(experiment, [0, 1]))
    assert questions == [4]


def break_function(module: Any, name: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """What a function gives is changed."""
    real = getattr(module, name)
    return lambda patch: patch.setattr(module, name, lambda *given, **named: change(real(*given, **named)))


def break_block(extra: Callable[[Tensor], object]) -> Callable[[pytest.MonkeyPatch], None]:
    """A block does something with its rows first."""
    real = runs.run_block

    def worse(block: Any, h: Tensor, *rest: Any) -> None:
        extra(h)
        real(block, h, *rest)

    return lambda patch: patch.setattr(runs, "run_block", worse)


def host(value: Any) -> Any:
    """The same on the CPU."""
    if isinstance(value, Tensor):
        return value.values if isinstance(value, OnDevice) else value
    return type(value)(map(host, value))


def left_behind(name: str) -> Callable[[Any], Any]:
    """An entry of a dataclass, or of several, that stays on the CPU."""

    def change(made: Any) -> Any:
        if isinstance(made, list):
            return [change(each) for each in made]
        return dataclasses.replace(made, **{name: host(getattr(made, name))})

    return change


FAULTS = {
    "embedding on the CPU": break_function(base, "read_decoder", left_behind("embed")),
    "item": break_block(lambda h: h.sum().item()),
    "bool": break_block(lambda h: bool((h > 0).any())),
    "mask": break_block(lambda h: h[h > 0]),
    "nonzero": break_block(lambda h: (h > 0).nonzero()),
    "copy down": break_block(lambda h: h.cpu()),
    "copy up": break_block(lambda h: torch.ones(3).to(h.device)),
    "copy up that is not waited for": break_block(lambda h: moved([torch.ones(3)], h.device)),
    "list as an index": break_block(lambda h: h[[0]]),
    "tensor made on the CPU": break_block(lambda h: h[:1] + torch.zeros(h.shape[1])),
    # An unpatched run writes nothing, and reads what was asked for alone.
    **{
        f"{name} of a wave on the CPU": break_function(
            planned if name in ("written", "read") else runs, "on_device", left_behind(name)
        )
        for name in MOVED
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_wave_is_seen(there, pairs, fault, monkeypatch):
    spec = spec_of("position", **LATENT)
    FAULTS[fault](monkeypatch)
    with watched(*BLOCKING, PINNED), pytest.raises(DeviceError):
        run(there, spec, pairs[:1])


# Of a whole batch of one pair, waves aside. Who lowers a number lowers it here too; none may rise.
MOST = {WAIT: 2, DOWN: 15, UP: 20, HIDDEN: 0, PINNED: 8}


def test_a_cell_costs_no_wait_and_no_copy(there, pairs):
    found = []
    for sites in (("t1",), ("bot", "t0", "t1", "eot")):
        with watched() as seen:
            run(there, spec_of("position", **LATENT | {"sites": sites}), pairs[:1])
            found.append({kind: seen.count(kind) for kind in MOST})
    one, several = found
    assert several == one
    assert all(one[kind] <= most for kind, most in MOST.items()), one


def test_the_pretended_device_refuses_what_cuda_refuses():
    with accelerator() as seen:
        here, there = torch.ones(3, 4), torch.ones(3, 4, device=DEVICE)
        index = torch.arange(2, device=DEVICE)
        for fault in (
            lambda: here + there,
            lambda: F.linear(there, here),
            lambda: torch.cat([here, there]),
            lambda: here[index],
            lambda: here.index_put_((index,), there[:2]),
            lambda: there.index_put_((index,), here[:2]),
        ):
            with pytest.raises(DeviceError):
                fault()
        assert not seen.events
        assert (there * torch.tensor(2.0)).sum().item() == 24.0  # a CPU scalar is let through
        _ = there[torch.arange(2)], there[[0, 1]], there.tolist(), there[there > 2], bool(there.any())
        assert [event.kind for event in seen.events] == [WAIT, HIDDEN, UP, DOWN, WAIT, WAIT]
        there[index] = 2.0
        there += 1
        assert there.cpu().sum().item() == 2 * 4 * 3 + 4 * 2
        with pytest.raises(DeviceError, match="wait"), seen.during("quiet", WAIT):
            there.sum().item()


def test_what_is_moved_together_is_the_same_and_takes_one_copy():
    given = [torch.arange(5), torch.ones(2, 3, dtype=torch.bool), torch.empty(4, 0, dtype=torch.long), torch.eye(3).T]
    with accelerator() as seen:
        found = moved([*given, given[0]], DEVICE)
        assert [event.kind for event in seen.events] == [PINNED]
        assert all(
            isinstance(each, OnDevice) and torch.equal(host(each), mine)
            for each, mine in zip(found[:-1], given, strict=True)
        )
        assert found[-1] is found[0]
    assert all(mine is each for mine, each in zip(moved(given, torch.device("cpu")), given, strict=True))
