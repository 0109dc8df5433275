"""A changed byte in any part of any file is noticed, or changes nothing that is read."""

import shutil
from pathlib import Path

import pytest
from faults import damage
from faults.damage import NOTICED, SAME
from faults.runs import small_run

from mechpatch.data import DEMO_FOLDER
from mechpatch.errors import SpecError
from mechpatch.models import ThoughtModel, load_model

RUN = ("a shard", "effects.parquet", "effects.sha256", "spec.json", "summary.json", "pairs.json")
WEIGHTS = ("base, safetensors", "PEFT adapter, safetensors", "PEFT adapter, .bin", "CODI, safetensors", "CODI, .bin")


@pytest.fixture(scope="module")
def files(demo_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    found = damage.of_a_run(demo_model, folder / "run") | damage.of_a_cache(folder / "cache")
    return found | damage.of_checkpoints(folder / "checkpoints")


@pytest.mark.parametrize("name", [*RUN, "the activation cache"])
def test_damage_of_what_we_wrote(files, name):
    found = damage.damage(files[name], 60, seed=0)
    assert not found.unseen
    assert found.counts[NOTICED] > 30


@pytest.mark.parametrize("name", [*WEIGHTS, "tokenizer.json"])
@pytest.mark.filterwarnings("ignore")  # what torch says of odd files
def test_damage_of_checkpoints_is_refused_or_in_the_fingerprint(files, name):
    found = damage.damage(files[name], 24, seed=0)
    assert not found.unseen
    assert found.counts[NOTICED] > 6
    assert found.counts[NOTICED] + found.counts[SAME] == found.counts.total()


def test_a_file_that_is_not_checked_would_be_noticed(tmp_path):
    path = tmp_path / "plain.txt"
    path.write_text("a number: 12345")
    assert damage.damage(damage.Target(path, path.read_bytes), 10, seed=0).unseen


def test_a_resumed_run_refuses_a_flipped_weight(demo_model, tmp_path):
    """The weight is a weight like any other, in the very file that the run was begun with."""
    shutil.copytree(DEMO_FOLDER, tmp_path / "demo")
    file = tmp_path / "demo" / "codi" / "model.safetensors"
    sound, flipped = (_of_files(tmp_path / "demo", file, flip) for flip in (False, True))
    small_run(sound, tmp_path, pairs=2)
    had, now = (rf"base \({model.fingerprint}\)" for model in (sound, flipped))
    with pytest.raises(SpecError, match=rf"--model: the run has .*{had}, asked for .*{now}: its files have changed"):
        small_run(flipped, tmp_path, pairs=2)


def _of_files(folder: Path, file: Path, flip: bool) -> ThoughtModel:
    if flip:
        data = bytearray(file.read_bytes())
        data[len(data) * 2 // 3] ^= 0x40
        file.unlink()  # the other model has the old one mapped
        file.write_bytes(data)
    return load_model(folder / "base", codi=file, lora_alpha=64.0, n_latents=5, device="cpu")
