"""Runs on a real Ray cluster of this machine: equal bytes, whoever dies on the way; and what is refused."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from faults.deaths import FOLDER, deadly
from faults.runs import left_by
from safetensors.torch import load_file, save_file

import mechpatch as mp
from mechpatch import workflow
from mechpatch.data import SHIPPED
from mechpatch.errors import CheckpointError, SpecError, WorkerError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.spec import Spec
from mechpatch.own import Metric, Own
from mechpatch.scale import Cluster, cluster
from mechpatch.scale.order import Order
from mechpatch.scale.worker import Worker

ray = pytest.importorskip("ray")

OWN = Own(metrics=(Metric(name="deadly", function=deadly),))
SPEC = Spec(experiments=("layer",), layers=(1,), nulls=("other_pair",), batch_size=2, checks=1, own=OWN.described())
PAIRS = 7  # the last batch has one pair, and a file can say that such a batch is deadly


@pytest.fixture(scope="module")
def deaths(tmp_path_factory):
    """The folder in which a file says what is to happen to workers, and a cluster whose workers look there."""
    folder = tmp_path_factory.mktemp("deaths")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER, str(folder))
        patch.setenv("RAY_memory_monitor_refresh_ms", "0")  # or it kills workers where memory is short
        with cluster.connected(cluster.LOCAL):
            yield folder


def run(model, folder, run_batches=None, pairs=PAIRS):
    file = workflow.read_pairs("demo", model, SPEC, limit=pairs)
    options = {"cache": folder / "cache", "own": OWN, "drawn": False, "run_batches": run_batches}
    return workflow.run_to_directory(model, SPEC, file, folder / "run", **options)


@pytest.fixture(scope="module")
def here(demo_model, tmp_path_factory):
    """What a run in this process leaves."""
    folder = tmp_path_factory.mktemp("here")
    run(demo_model, folder)
    return left_by(folder)


def test_one_of_two_workers_is_killed_and_one_has_no_memory(demo_model, deaths, tmp_path, here):
    (deaths / "kill").touch()
    (deaths / "memory").touch()
    run(demo_model, tmp_path, Cluster(workers=2, cache=tmp_path / "cache"))
    assert left_by(tmp_path) == here
    log = (tmp_path / "run" / "run.log").read_text()
    assert log.count("a worker was lost with the batch of") == 2
    assert "out of memory: no more of it" in log
    assert {each for each in (deaths.iterdir())} == set()
    [copy] = (tmp_path / "cache" / "merged").glob("*.safetensors")  # one for all workers
    assert copy.stem == demo_model.fingerprint


def test_a_batch_that_kills_every_worker_is_named_and_all_others_are_kept(
    demo_model, deaths, tmp_path, here, monkeypatch
):
    monkeypatch.setattr(cluster, "TRIES", 2)
    (deaths / "always-1").touch()
    with pytest.raises(WorkerError, match=r"the batch of demo-\S+: each try took a worker down.*smaller --batch-size"):
        run(demo_model, tmp_path, Cluster(workers=1, cache=tmp_path / "cache"))
    (deaths / "always-1").unlink()
    assert len([*(tmp_path / "run" / "shards").glob("*.parquet")]) == 2 * (PAIRS // 2)
    run(demo_model, tmp_path)
    assert left_by(tmp_path) == here


def test_a_worker_with_other_weights_is_refused(tmp_path):
    """By the worker itself, here in this process; how what it raises comes back is the next test."""
    row = SHIPPED["demo"]
    for part in ("base", "codi"):
        shutil.copytree(row.folder / part, tmp_path / part)
    model = mp.load_model(
        tmp_path / "base", codi=tmp_path / "codi", lora_alpha=row.lora_alpha, n_latents=row.n_latents, device="cpu"
    )
    weights = load_file(tmp_path / "codi" / "model.safetensors")
    next(iter(weights.values()))[0] += 1
    save_file(weights, tmp_path / "codi" / "model.safetensors")
    file = workflow.read_pairs("demo", model, SPEC, limit=1)
    experiment = Experiment.prepare(model, SPEC, file.kept[:1], own=OWN)
    with pytest.raises(CheckpointError, match=f"and the run is of {model.fingerprint}: they differ there"):
        Worker([]).ready(Order.of(experiment, tmp_path / "cache"))
    assert not [*(tmp_path / "cache").rglob("*.safetensors")]


def test_what_a_worker_raises_is_raised_here(deaths, demo_model, shipped_pairs):
    experiment = Experiment.prepare(demo_model, SPEC, shipped_pairs[:1], own=OWN)
    crew = cluster._Crew(ray, None, None, Order.of(experiment, None), experiment, [], 1, False)

    def refuse() -> None:
        raise CheckpointError("they differ there")

    with pytest.raises(CheckpointError, match="they differ there"):
        crew._found(ray.remote(refuse).remote())


def test_the_driver_is_killed_and_the_run_is_gone_on_with(demo_model, deaths, tmp_path):
    """The real command on the cluster of these tests, killed with SIGKILL once its first shards are there."""
    command = ["layer", "--layers", "1", "--limit", "6", "--batch-size", "1", "--cache", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mechpatch", "run", *command, "--out"]
    address = ray.get_runtime_context().gcs_address
    killed = [*command, str(tmp_path / "run"), "--ray", address, "--workers", "1"]
    process = subprocess.Popen(killed, stderr=subprocess.PIPE, text=True)
    shards, deadline = tmp_path / "run" / "shards", time.monotonic() + 240
    while not (shards.is_dir() and any(shards.glob("*.parquet"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "run" / "effects.parquet").exists()
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"]:  # its worker ends, too
        assert time.monotonic() < deadline
        time.sleep(0.1)
    spec = Spec(experiments=("layer",), layers=(1,), batch_size=1)
    file = workflow.read_pairs("demo", demo_model, spec, limit=6)
    for name in ("run", "whole"):
        workflow.run_to_directory(demo_model, spec, file, tmp_path / name, cache=None, drawn=False)
    files = [tmp_path / name / "effects.parquet" for name in ("run", "whole")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_worker_with_other_settings_would_make_a_mixture(demo_model, shipped_pairs):
    experiment = Experiment.prepare(demo_model, SPEC, shipped_pairs[:1], own=OWN)
    order = Order.of(experiment, None)
    for mixed in (False, True):
        crew = cluster._Crew(None, None, None, order, experiment, [], 1, mixed)
        crew._greet("process 1 on node", order.machine)
        if mixed:
            crew._greet("process 1 on node", order.machine | {"torch": "1.0"})
        else:
            with pytest.raises(
                SpecError, match=r"process 1 on node, is not like the driver(.|\n)*torch: .* it is 1\.0"
            ):
                crew._greet("process 1 on node", order.machine | {"torch": "1.0"})


def test_what_workers_cannot_import_is_refused(demo_model, shipped_pairs):
    with pytest.raises(SpecError, match=r"metric 'mine': .*<lambda> of .* cannot be imported by its name"):
        mp.run(demo_model, shipped_pairs[:1], metrics={"mine": lambda *given: torch.zeros(1)}, ray="local")


def test_what_the_model_is_on_decides_what_a_worker_takes(demo_model, shipped_pairs):
    with pytest.raises(SpecError, match="--gpus-per-worker is 1, and the model is on cpu: give --device cuda"):
        mp.run(demo_model, shipped_pairs[:1], ray="local", gpus_per_worker=1)
    with pytest.raises(SpecError, match="--workers is 0, expected at least 1"):
        mp.run(demo_model, shipped_pairs[:1], ray="local", workers=0)
