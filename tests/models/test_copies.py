"""One merged copy for all processes: the same model, written once, and of no harm where it is damaged or cannot be."""

import json

import pytest
from typer.testing import CliRunner

from mechpatch import cli
from mechpatch.errors import CheckpointError
from mechpatch.experiments.experiment import Experiment
from mechpatch.experiments.spec import Spec
from mechpatch.models.copies import copy_of
from mechpatch.models.load import load_source
from mechpatch.scale.order import Order
from mechpatch.scale.worker import load_for
from mechpatch.source import ModelSource

DEMO = ModelSource(base="demo")


def test_a_merged_model_is_written_once_and_is_the_same(demo_model, tmp_path):
    copy = copy_of(tmp_path, demo_model.fingerprint)
    times = []
    for _ in range(2):
        found = load_source(DEMO, device="cpu", copy=copy)
        assert (found.fingerprint, found.about) == (demo_model.fingerprint, demo_model.about)
        times.append(copy.stat().st_mtime_ns)
    assert times[0] == times[1]
    shown = CliRunner().invoke(cli.app, ["cache", "--cache", str(tmp_path), "--json"])
    assert json.loads(shown.output)["bytes"] == copy.stat().st_size
    CliRunner().invoke(cli.app, ["cache", "--cache", str(tmp_path), "--clear"])
    assert not copy.exists()


def test_files_that_are_mapped_themselves_are_not_copied(tmp_path):
    plain = load_source(ModelSource(base="demo-coconut"), device="cpu", copy=tmp_path / "copy.safetensors")
    assert not [*tmp_path.iterdir()]
    wide = load_source(ModelSource(base="demo-coconut"), dtype="float64", device="cpu", copy=tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").is_file()
    assert wide.fingerprint != plain.fingerprint


def test_where_no_copy_can_be_written_the_model_is_merged_in_memory(demo_model, tmp_path, caplog):
    (tmp_path / "merged").write_text("a file where the folder should be")
    found = load_source(DEMO, device="cpu", copy=copy_of(tmp_path, "a" * 16))
    assert found.fingerprint == demo_model.fingerprint
    assert "the merged weights are kept in memory" in caplog.text


@pytest.mark.parametrize("damage", ["a bit", "half"])
def test_a_damaged_copy_is_put_away(demo_model, shipped_pairs, tmp_path, damage):
    order = Order.of(Experiment.prepare(demo_model, Spec(experiments=("layer",)), shipped_pairs[:1]), tmp_path)
    copy = copy_of(tmp_path, demo_model.fingerprint)
    load_source(DEMO, device="cpu", copy=copy)
    data = bytearray(copy.read_bytes())
    data[-1000] ^= 1
    copy.write_bytes(data if damage == "a bit" else data[: len(data) // 2])
    if damage == "a bit":
        assert load_source(DEMO, device="cpu", copy=copy).fingerprint != demo_model.fingerprint
    else:
        with pytest.raises(CheckpointError):
            load_source(DEMO, device="cpu", copy=copy)
    assert load_for(order).fingerprint == demo_model.fingerprint
    assert not copy.exists()
