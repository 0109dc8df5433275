"""`mechpatch inspect` as a person meets it."""

import json
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mechpatch import cli
from mechpatch.data import DEMO_FOLDER
from mechpatch.errors import MechpatchError
from mechpatch.storage.inspections import read_inspections
from mechpatch.storage.sealed import write_sealed
from mechpatch.views.circuits import inspection_views

BASE = ("--device", "cpu")


def mechpatch(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, list(map(str, arguments)), catch_exceptions=True)


def refused(*arguments: object) -> str:
    found = mechpatch(*arguments)
    assert isinstance(found.exception, MechpatchError), found
    return str(found.exception)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inspect")
    found = mechpatch(
        "run", "position", "--limit", 4, "--layers", "1", "--sites", "t1,t2", "--out", folder / "run",
        "--cache", folder / "cache", *BASE,
    )  # fmt: skip
    assert found.exit_code == 0, found
    return folder / "run"


def test_a_pair_is_inspected_stored_and_shown(finished: Path):
    effects = (finished / "effects.parquet").read_bytes()
    found = mechpatch("inspect", finished, "--pair", "demo-002", *BASE)
    assert found.exit_code == 0, found
    page = finished / "inspect" / "000002.html"
    assert found.stdout == f"{page}: demo-002\n"
    assert "Pair demo-002" in page.read_text()
    assert page.stat().st_size < 1_600_000
    assert list(inspection_views(finished)) == ["demo-002"]
    about = read_inspections(finished)[2].about
    assert about["patched"]["strongest"]
    assert about["model"] == json.loads((finished / "spec.json").read_text())["model"]["fingerprint"]
    # What the run left is as it was, and the run can go on.
    assert (finished / "effects.parquet").read_bytes() == effects


def test_a_named_cell_and_page(finished: Path, tmp_path: Path):
    page = tmp_path / "page.html"
    arguments = ("--pair", "demo-003", "--pair", "demo-000", "--layer", 3, "--site", "bot", "--out", page)
    assert mechpatch("inspect", finished, *arguments, *BASE).exit_code == 0
    assert re.findall(r"<h1>Pair (demo-\d+)", page.read_text()) == ["demo-003", "demo-000"]
    assert read_inspections(finished)[3].about["patched"] == {"layer": 3, "site": "bot", "strongest": False}


def test_without_a_pair_typical_ones_are_taken_and_it_is_said_why(finished: Path, tmp_path: Path):
    found = mechpatch("inspect", finished, "--top", 2, "--out", tmp_path / "page.html", *BASE)
    assert found.exit_code == 0
    first, *reasons = found.stdout.splitlines()
    assert len(re.findall(r"demo-\d+", first)) == len(reasons) == 2
    for why in reasons:
        name, _, reason = why.strip().partition(": ")
        assert f"Shown as {reason}." in (tmp_path / "page.html").read_text()
        assert name in first


def test_what_cannot_be_done_is_said(finished: Path, tmp_path: Path):
    assert "no pair 'demo-9'; the run has demo-000, demo-001" in refused("inspect", finished, "--pair", "demo-9")
    assert "give both or neither" in refused("inspect", finished, "--pair", "demo-000", "--layer", 1)
    assert "give one of them" in refused("inspect", finished, "--pair", "demo-000", "--top", 1)
    assert "name the directory of a run" in refused("inspect", tmp_path, "--pair", "demo-000")


def test_a_cell_that_is_not_there_is_refused_before_the_model_is_loaded(
    finished: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delattr("mechpatch.cli.inspect.load")
    for cell, message in (
        (("--layer", 4, "--site", "t0"), "--layer 4: no such layer; the model has layers 0 to 3"),
        (("--layer", 1, "--site", "eott"), "--site: 'eott' is not known; did you mean eot? expected bot, t0, t1"),
    ):
        assert message in refused("inspect", finished, "--pair", "demo-000", *cell, *BASE)
    assert "--max-memory is 0" in refused("inspect", finished, "--pair", "demo-000", "--max-memory", 0, *BASE)


def test_a_run_of_the_demo_names_no_folder_of_this_machine(finished: Path):
    described = json.loads((finished / "spec.json").read_text())["environment"]["model"]
    assert described["base"] == "demo"
    assert str(DEMO_FOLDER) not in json.dumps(described)


def test_a_model_that_has_moved_is_taken_and_another_one_is_refused(finished: Path, tmp_path: Path):
    shutil.copytree(DEMO_FOLDER, tmp_path / "moved")
    base = ("inspect", finished, "--pair", "demo-001", "--model", tmp_path / "moved" / "base", *BASE)
    assert mechpatch(*base, "--codi", tmp_path / "moved" / "codi").exit_code == 0
    said = refused(*base)
    assert f"{tmp_path / 'moved' / 'base'} is " in said
    assert "Give the model of the run" in said


def test_a_run_that_was_tampered_with_is_refused(finished: Path, tmp_path: Path):
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    spec = json.loads((copy / "spec.json").read_text())
    other = {**spec, "model": {**spec["model"], "fingerprint": "0" * 16}}
    write_sealed(copy / "spec.json", other)
    said = refused("inspect", copy, "--pair", "demo-001", *BASE)
    assert "was run with the model 0000000000000000" in said
    assert "Give the model of the run" in said
    for damaged in ({**spec, "spec": {"unheard": 1}}, {**spec, "environment": {}}, {**spec, "pairs": {"kept": []}}):
        write_sealed(copy / "spec.json", damaged)
        assert "run it again" in refused("inspect", copy, "--pair", "demo-001", *BASE)
    (copy / "spec.json").write_text(json.dumps(spec))
    (copy / "pairs.json").unlink()
    assert "pairs.json: cannot be read" in refused("inspect", copy, "--pair", "demo-001", *BASE)


def test_options_are_what_scripts_rely_on():
    result = CliRunner().invoke(cli.app, ["inspect", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    for option in ["pair", "top", "layer", "site", "out", "model", "adapter", "codi", "device"]:
        assert f"--{option}" in result.output
