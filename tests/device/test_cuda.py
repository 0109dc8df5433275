"""The same on a real GPU, where there is one: numbers of the CPU to rounding, and the same bytes each time."""

import pytest
import torch
from device_runs import SLOW, SPECS, alike, run

from mechpatch.models import ThoughtModel, load_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


@pytest.fixture(scope="module")
def on_gpu() -> ThoughtModel:
    """The demo model on the GPU."""
    return load_model("demo", device="cuda")


@pytest.mark.parametrize("spec", [*SPECS.values(), *SLOW.values()], ids=[*SPECS, *SLOW])
def test_a_run_has_the_numbers_of_the_cpu_and_the_same_bytes_each_time(demo_model, on_gpu, shipped_pairs, spec):
    pairs = shipped_pairs[:2]
    expected, found, again = run(demo_model, spec, pairs), run(on_gpu, spec, pairs), run(on_gpu, spec, pairs)
    for mine, other, theirs in zip(found, again, expected, strict=True):
        assert alike(mine, theirs)
        assert mine.equals(other)
