"""A run goes on under the settings that it was begun under, or says that it is a mixture."""

import json
from copy import deepcopy
from dataclasses import asdict, replace

import pytest
import torch
from faults.runs import left_by
from models_under_test import model_under_test

from mechpatch import workflow
from mechpatch.data import pair_path
from mechpatch.errors import SpecError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.growth import join
from mechpatch.experiments.pinned import NAMES, mixture
from mechpatch.experiments.running.activations import UnpatchedRuns
from mechpatch.experiments.spec import Spec
from mechpatch.names import MEMORY
from mechpatch.patching import memory
from mechpatch.patching.memory import Memory
from mechpatch.patching.settings import settings
from mechpatch.storage.results import open_run, read_spec

SPEC = Spec(experiments=("layer",), layers=(1,), thoughts="placeholder", n_thoughts=2, batch_size=2, checks=0)
CPU = torch.device("cpu")
GB = 2**30


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs the first pairs of a file into a folder, and gives what is said of the whole run before its numbers."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.json"
    path.write_text(json.dumps(json.loads(pair_path("demo").read_text())[:4]))

    def run(folder, limit=None, mixed=False):
        model = model_under_test("tiny-float32")
        file = workflow.read_pairs(str(path), model, SPEC, limit=limit)
        out = folder / "run"
        finished = workflow.run_to_directory(model, SPEC, file, out, cache=None, drawn=False, mixed=mixed)
        return [note for note in finished.summary.run.notes if "mixture" in note]

    return run


@pytest.fixture
def threads():
    """Sets the threads of torch, for one test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def machine_with(monkeypatch):
    """Pretends that the machine has so many bytes of memory."""

    def pretend(size):
        monkeypatch.setattr(memory.os, "sysconf", lambda name: 1 if name == "SC_PAGE_SIZE" else size)

    return pretend


def shards_of(folder):
    spec = read_spec(folder / "run")
    with open_run(folder / "run", spec) as directory:
        return spec["machine"], [shard.machine or {} for shard in directory.shards()]


def test_other_threads_are_refused_with_the_ways_out_and_a_mixture_is_told(run, threads, tmp_path):
    assert run(tmp_path, limit=2) == []
    before = torch.get_num_threads()
    threads(before + 1)
    with pytest.raises(SpecError) as refused:
        run(tmp_path)
    first, line, ways = str(refused.value).splitlines()
    assert first == f"{tmp_path / 'run'}: was begun under other settings, and rounding depends on them:"
    assert line == f"  threads of torch: the run has {before}, here it is {before + 1}"
    assert ways.startswith(f"take those of the run (OMP_NUM_THREADS={before}), choose another folder, or give --mixed")
    (said,) = run(tmp_path, mixed=True)
    assert said.startswith(
        f"This run is a mixture: numbers of 2 pairs were computed with threads of torch {before + 1} in place of "
        f"{before}. They differ by rounding"
    )
    machine, found = shards_of(tmp_path)
    assert machine["threads"] == before
    assert sorted(shard["threads"] for shard in found) == [before, before + 1]
    threads(before)
    assert run(tmp_path) == [said]  # what a run was computed under does not change by asking again


def test_under_the_same_settings_a_run_goes_on_and_is_no_mixture(run, tmp_path):
    run(tmp_path, limit=2)
    assert run(tmp_path) == run(tmp_path, mixed=True) == []
    machine, found = shards_of(tmp_path)
    assert machine == settings(CPU, Memory.of(CPU)) == found[0] == found[1]


def test_a_larger_machine_cuts_the_chunks_that_the_run_was_begun_with(run, machine_with, tmp_path):
    machine_with(4 * GB)
    run(tmp_path / "begun", limit=2)
    run(tmp_path / "whole")
    machine_with(64 * GB)
    assert Memory.of(CPU) == (64 * GB, GB)
    assert run(tmp_path / "begun") == []
    machine, found = shards_of(tmp_path / "begun")
    assert [[each[name] for name in MEMORY] for each in (machine, *found)] == [[4 * GB, GB // 4]] * 3
    begun, whole = (left_by(tmp_path / name) for name in ("begun", "whole"))
    assert begun.pop("spec.json").pop("history")
    whole.pop("spec.json")
    assert begun == whole


def test_a_machine_where_these_chunks_do_not_fit_is_refused_and_cuts_its_own_in_a_mixture(run, machine_with, tmp_path):
    machine_with(64 * GB)
    run(tmp_path, limit=2)
    machine_with(2 * GB)
    assert run(tmp_path, limit=3) == []  # less memory, and enough
    machine_with(GB // 2)
    with pytest.raises(SpecError, match=r"memory: .* this machine has 537 MB; .* Go on on a machine .* --mixed"):
        run(tmp_path)
    (said,) = run(tmp_path, mixed=True)
    assert "memory for a chunk of patches 268 MB in place of 1.07 GB" in said


OTHER = {
    "device": ("cuda", "--device cpu"),
    "device_name": ("NVIDIA H200", "a machine that has it"),
    "torch": ("9", "pip install torch=="),
    "fp32_precision": ("tf32", "torch.set_float32_matmul_precision('highest')"),
    "matrix_library": ("OpenBLAS", "the same build of torch"),
    "cpu_capability": ("SSE", "ATEN_CPU_CAPABILITY="),
}


@pytest.mark.parametrize("name", OTHER)
def test_each_setting_is_compared_and_named(name):
    value, way = OTHER[name]
    found = {
        "machine": settings(CPU, Memory.of(CPU)),
        "versions": {},
        "spec": asdict(SPEC),
        "environment": {"model": {}, "pairs": "p"},
        "model": {"fingerprint": "a", "dtype": "float32"},
        "pairs": {"content": "a", "kept": ["p"], "run": ["p"]},
    }
    asked = deepcopy(found)
    assert join(found, asked, False) == asked
    asked["machine"][name] = value
    with pytest.raises(SpecError) as refused:
        join(found, asked, False)
    assert f"{NAMES[name][0]}: the run has {found['machine'][name]}, here it is {value}" in str(refused.value)
    assert way in str(refused.value)
    assert join(found, asked, False, mixed=True)["machine"] == found["machine"]
    (said,) = mixture(found["machine"], [(asked["machine"], [0]), (found["machine"], [1])])
    assert f"{NAMES[name][0]} {value} in place of" in said
    assert "of 1 pair were" in said
    old = deepcopy(found)
    del old["machine"][name]  # a run of an older version
    assert join(old, asked, False)["machine"][name] == value


def test_the_settings_are_what_torch_has(monkeypatch):
    before = settings(CPU)
    torch.set_float32_matmul_precision("medium")
    try:
        changed = settings(CPU)
    finally:
        torch.set_float32_matmul_precision("highest")
    assert {name for name, value in changed.items() if value != before[name]} == {"fp32_precision"}
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")
    assert settings(CPU)["matrix_library"].endswith("MKL_CBWR=COMPATIBLE")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU at {device}")
    gpu = settings(torch.device("cuda:1"))
    assert (gpu["device"], gpu["device_name"], gpu["bf16_reduction"]) == ("cuda", "GPU at cuda:1", True)
    assert {*gpu} | {*MEMORY} == {*NAMES}


def test_unpatched_runs_of_other_settings_are_not_taken_from_the_cache(demo_model, shipped_pairs, threads, tmp_path):
    experiment = Experiment.prepare(demo_model, replace(SPEC, thoughts="latent"), shipped_pairs[:1])
    UnpatchedRuns(demo_model, experiment.layouts, "fast", tmp_path).get(0)
    assert UnpatchedRuns(demo_model, experiment.layouts, "fast", tmp_path).has(0)
    threads(torch.get_num_threads() + 1)
    assert not UnpatchedRuns(demo_model, experiment.layouts, "fast", tmp_path).has(0)
