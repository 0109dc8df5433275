"""The memory of a run is bounded as asked, refused where that cannot be, and close to what was counted."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mechpatch.errors import SpecError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.footprint import MB, Footprint, footprint, require_memory
from mechpatch.experiments.inspection import inspect_pair
from mechpatch.experiments.spec import Spec


@pytest.mark.parametrize("spare", [0, 1, 30, 1000, 10**6])
@pytest.mark.parametrize(("rows", "logits"), [(1, 100), (100, 1), (7, 11)])
def test_the_peak_stays_under_its_bound(spare: int, rows: int, logits: int):
    counted = {"process": 1000, "batch": 500, "work": 50, "rows": rows, "logits": logits, "cap": 4000}
    least = Footprint(bound=0, **counted).least
    bounded = Footprint(bound=least + spare, **counted)
    peaks = [bounded.peak(patches) for patches in (1, 2, 50, 10**6)]
    assert peaks == sorted(peaks)
    assert peaks[-1] <= least + spare
    assert bounded.chunk <= max(4000, rows + logits)


def test_less_than_the_least_is_refused_with_that_number(demo_model, shipped_pairs):
    spec = Spec(experiments=("position",), batch_size=2, memory=100 * MB)
    with pytest.raises(
        SpecError, match=r"--max-memory is 100, and (\d+) MB are the least .* --batch-size smaller than 2"
    ):
        require_memory(Experiment.prepare(demo_model, spec, shipped_pairs[:3]))
    needed = Experiment.prepare(demo_model, spec, shipped_pairs[:2])
    least = -(-footprint(demo_model, spec, needed.layouts, 2).least // MB)
    require_memory(replace(needed, spec=replace(spec, memory=least * MB)))
    with pytest.raises(SpecError, match=f"and {least} MB are the least"):
        require_memory(replace(needed, spec=replace(spec, memory=(least - 1) * MB)))


def test_looking_inside_a_pair_keeps_to_the_memory_too(demo_model, shipped_pairs):
    spec = Spec(experiments=("position",))
    experiment = Experiment.prepare(demo_model, spec, shipped_pairs[:1])
    least = footprint(demo_model, spec, experiment.layouts, 1).least
    free, tight = (inspect_pair(demo_model, each, shipped_pairs[0]) for each in (spec, replace(spec, memory=least)))
    assert tight.about["runs"]["clean"]["first_query"] > free.about["runs"]["clean"]["first_query"] == 0
    assert tight.arrays["effect"] == pytest.approx(free.arrays["effect"], abs=1e-4)
    with pytest.raises(SpecError, match="--max-memory is"):
        inspect_pair(demo_model, replace(spec, memory=least - 1), shipped_pairs[0])


MEASURED = """
import dataclasses, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
from checkpoints import tiny_llama
from mechpatch import workflow  # as the command line has it
from mechpatch.data import pair_path
from mechpatch.experiments.activations import UnpatchedRuns
from mechpatch.experiments.batches import BatchRunner, Todo
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.footprint import footprint_of_batch
from mechpatch.experiments.spec import Spec
from mechpatch.models import load_model
from mechpatch.models.hooked import to_hooked
from mechpatch.pairs import load_pairs
from mechpatch.patching.memory import peak_memory

torch.set_num_threads(1)
hf = tiny_llama(vocab_size=128_000, max_position_embeddings=128)
model = load_model("demo", device="cpu")
model = dataclasses.replace(model, hooked=to_hooked(hf, 128), head=torch.nn.Identity(), n_latents=2)
asked = int(sys.argv[2]) or None
spec = Spec(experiments=("position",), layers=(0, 1), batch_size=8, min_gap=1e-9, memory=asked)
experiment = Experiment.prepare(model, spec, load_pairs(pair_path("demo"))[:8])
(indices,) = experiment.batches
counted = footprint_of_batch(experiment, indices)
runs = UnpatchedRuns(model, experiment.layouts, "fast", None)
parts = BatchRunner.prepare(experiment, runs, lambda cells: None).run(Todo.whole(experiment, indices))
assert sum(part.table.num_rows for part in parts)
print(counted.least, counted.peak(len(experiment.cells(indices))), peak_memory(model.device))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what is resident is counted in other ways elsewhere")
def test_what_is_counted_is_what_is_taken_at_a_large_vocabulary():
    def measured(asked: int) -> list[int]:
        tests = str(Path(__file__).parents[1])
        command = [sys.executable, "-c", MEASURED, tests, str(asked)]
        return [int(each) for each in subprocess.run(command, capture_output=True, check=True).stdout.split()]

    least, counted, taken = measured(0)
    assert counted == pytest.approx(taken, rel=0.25)
    _, bounded, tight = measured(least)
    assert bounded <= least
    assert tight <= least * 1.05
    assert tight < taken
