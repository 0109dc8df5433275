"""`mechpatch verify` as a person meets it."""

import json
import subprocess
from functools import partial

import pytest
from commands import mechpatch
from typer.testing import CliRunner

from mechpatch import cli
from mechpatch.verify import LAWS
from mechpatch.verify import verify as try_laws


def verify(*arguments: str) -> subprocess.CompletedProcess[str]:
    return mechpatch("verify", *arguments, env={"COLUMNS": "100"})


@pytest.fixture(scope="module")
def sound() -> subprocess.CompletedProcess:
    return verify("--dtype", "float64", "--layers", "1")


def test_a_sound_model_passes(sound):
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "Traceback" not in sound.stderr
    for law in LAWS:
        assert law.says in sound.stdout
    assert "FAILS" not in sound.stdout
    assert "All 19 laws that apply hold." in sound.stdout
    assert "not applicable: latent thoughts are fed back" in sound.stdout


def test_a_wrong_alpha_fails_and_is_named(monkeypatch):
    """Held to its files and answers alone, by which an alpha is told; all laws are tried on the sound model."""
    laws = [law for law in LAWS if law.number == 7]
    monkeypatch.setattr("mechpatch.verify.verify", partial(try_laws, laws=laws))  # a command is a fork, see `commands`
    # In float32 so large an adapter also makes rounding larger than it is for a sound model.
    found = verify("--lora-alpha", "256", "--layers", "3", "--dtype", "float64", "--json")
    assert found.returncode == 1, found.stdout + found.stderr
    findings = json.loads(found.stdout)
    assert not findings["holds"]
    assert [law["key"] for law in findings["laws"] if law["verdict"] == "FAILS"] == ["alpha"]
    assert [law["key"] for law in findings["laws"]] == [law.key for law in laws]
    (cause,) = findings["causes"]
    said = "wrong alpha: with alpha 256 the model answers 0 of 12 questions, and 12 with alpha 64; give that one"
    assert cause.startswith(said)


def test_rounding_that_would_hide_faults_is_refused():
    found = verify("--dtype", "bfloat16")
    assert found.returncode == 1
    assert "--dtype: 'bfloat16' is not known" in found.stderr
    assert "expected float32, float64" in found.stderr


def test_options_are_those_of_run():
    """Renaming or dropping an option breaks users' scripts: change this list knowingly."""
    result = CliRunner().invoke(cli.app, ["verify", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    options = (
        "model adapter codi lora-alpha lora-targets latents pairs thoughts answer-prefix separator",
        "placeholder-token layers seed dtype device json",
    )
    for option in " ".join(options).split():
        assert f"--{option}" in result.output
