"""The memory of a run is bounded as asked, refused where that cannot be, and close to what was counted."""

import subprocess
import sys
import weakref
from dataclasses import replace

import pytest
import torch
from checkpoints import tiny_llama
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mechpatch.errors import SpecError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.running import batches
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.running.batches import BatchRunner, Todo
from mechpatch.experiments.running.footprint import (
    LIBRARIES,
    MB,
    Footprint,
    footprint,
    footprint_of_batch,
    require_fit,
    require_memory,
)
from mechpatch.experiments.spec import Spec
from mechpatch.inspection.inspect import inspect_pair
from mechpatch.models.heads import LatentHead
from mechpatch.models.hooked import to_hooked


@pytest.mark.parametrize("spare", [0, 1, 30, 1000, 10**6])
@pytest.mark.parametrize(("rows", "logits"), [(1, 100), (100, 1), (7, 11)])
@pytest.mark.parametrize("says", [False, True])
def test_the_peak_stays_under_its_bound(spare: int, rows: int, logits: int, says: bool):
    counted = {"process": 1000, "batch": 500, "work": 50, "rows": rows, "logits": logits, "cap": 4000}
    least = Footprint(bound=0, says=says, **counted).least
    bounded = Footprint(bound=least + spare, says=says, **counted)
    peaks = [bounded.peak(patches) for patches in (1, 2, 50, 10**6)]
    assert peaks == sorted(peaks)
    assert peaks[-1] <= least + spare
    assert bounded.chunk <= max(4000, rows + logits)


def test_less_than_the_least_is_refused_with_that_number(demo_model, shipped_pairs):
    spec = Spec(experiments=("position",), batch_size=2, memory=100 * MB)
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:2])
    batch = footprint(demo_model, spec, experiment.layouts, 2)
    told = f"is 100, and {-(-batch.least // MB)} MB .* a batch and one patch of it.*--batch-size smaller than 2"
    with pytest.raises(SpecError, match=told):
        require_fit(batch, spec, 2)
    # A small model needs most when it has been run.
    records = experiment.work([0, 1])
    least = -(-footprint_of_batch(experiment, [0, 1], records).least // MB)
    assert least > -(-batch.least // MB)
    require_memory(replace(experiment, spec=replace(spec, memory=least * MB)))
    with pytest.raises(SpecError, match=f"and {least} MB are the least .* summary, figures and page. Give that$"):
        require_memory(replace(experiment, spec=replace(spec, memory=(least - 1) * MB)))


def test_looking_inside_a_pair_keeps_to_the_memory_too(demo_model, shipped_pairs):
    spec = Spec(experiments=("position",))
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:1])
    least = footprint(demo_model, spec, experiment.layouts, 1).least
    free, tight = (inspect_pair(demo_model, each, shipped_pairs[0]) for each in (spec, replace(spec, memory=least)))
    assert tight.about["runs"]["clean"]["first_query"] > free.about["runs"]["clean"]["first_query"] == 0
    assert tight.arrays["effect"] == pytest.approx(free.arrays["effect"], abs=1e-4)
    with pytest.raises(SpecError, match="--max-memory is"):
        inspect_pair(demo_model, replace(spec, memory=least - 1), shipped_pairs[0])


class Live(TorchDispatchMode):
    """Counts the bytes of tensors that were made since, and are alive: `most` of them at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.held: set[int] = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for storage in (leaf.untyped_storage() for leaf in tree_leaves(made) if isinstance(leaf, Tensor)):
            key, size = storage._cdata, storage.nbytes()
            if key not in given and key not in self.held:
                self.held.add(key)
                self.now += size
                self.most = max(self.most, self.now)
                weakref.finalize(storage, self.freed, key, size)
        return made

    def freed(self, key: int, size: int) -> None:
        self.held.discard(key)
        self.now -= size


@pytest.mark.parametrize(
    ("engine", "hook", "say"),
    [
        ("fast", "resid_post", None), ("reference", "resid_post", None), ("fast", "z", None), ("fast", "kv", None),
        ("fast", "mlp_out", None), ("fast", "resid_post", 40), ("reference", "resid_post", 3),
    ],
)  # fmt: skip
def test_tensors_take_no_more_than_is_counted(demo_model, shipped_pairs, monkeypatch, engine, hook, say):
    """At a large vocabulary: with the fast engine logits take most, with plain hooks the work on one patch."""
    hooked = to_hooked(tiny_llama(vocab_size=32_000, max_position_embeddings=128), 128)
    model = replace(demo_model, hooked=hooked, head=LatentHead({}), n_latents=2)
    spec = Spec(experiments=("position",), hooks=(hook,), layers=(1,), engine=engine, batch_size=2, min_gap=1e-9)
    spec = replace(spec, say=say)
    experiment = Experiment.prepare(model, spec, shipped_pairs[:2])
    (indices,) = experiment.batches
    counted, done = footprint_of_batch(experiment, indices), list[int]()
    held, runs_of = list[int](), batches.runs_of
    with Live() as live:
        monkeypatch.setattr(batches, "runs_of", lambda *given: (held.append(live.now), runs_of(*given))[1])
        runs = UnpatchedRuns(model, experiment.layouts, engine, None, spec.points)
        runner = BatchRunner.prepare(experiment, runs, done.append)
        list(runner.run(Todo.whole(experiment, indices)))
    if engine == "fast":  # just before anything is patched
        assert held == [pytest.approx(counted.batch, rel=0.15)]
    patches = sum(done) // len(indices)
    chunk = counted.peak(patches) - counted.process - counted.batch
    assert live.most - counted.batch <= chunk <= 3 * (live.most - counted.batch)


@pytest.mark.skipif(
    sys.platform != "linux" or torch.version.cuda is not None,
    reason="what is resident is counted in other ways elsewhere, and a build of torch for GPUs takes more",
)
def test_the_libraries_take_what_is_counted():
    """Whatever the process that starts them takes itself."""
    held = bytearray(10**9)
    held[::4096] = bytes([1]) * len(held[::4096])
    code = "import mechpatch.workflow as w; import torch; print(w.peak_memory(torch.device('cpu')))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    del held
    assert int(found.stdout) == pytest.approx(LIBRARIES, rel=0.15)
