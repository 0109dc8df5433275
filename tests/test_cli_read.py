"""`mechpatch read` on a run: a table in its directory, three lines, and a refusal where there is nothing to read."""

import json

import pytest
from commands import mechpatch

from mechpatch.reading import Options, open_reading
from mechpatch.stats.finished import FinishedRun
from mechpatch.storage.readings import read_reading


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("read") / "run"
    asked = ("--limit", "12", "--nulls", "other-pair", "--check", "0")
    made = mechpatch("run", "position", "--out", folder, *asked, "--device", "cpu", "-q")
    assert made.returncode == 0, made.stderr
    return folder


def test_a_run_is_read_into_its_directory(run_dir, tmp_path):
    picture = tmp_path / "maps.svg"
    found = mechpatch("read", "lens", run_dir, "--device", "cpu", "--out", picture)
    assert found.returncode == 0, found.stderr
    did, told, distrust, wrote = found.stdout.splitlines()
    assert did.startswith("Did: Read the logit lens at 4 layers × 8 positions and at 5 fed-back thoughts")
    assert told.startswith("Found: Step 1 can be read at ")
    assert " of 20 places of thoughts that were also written" in told.replace("Of 20", " of 20")
    assert "A hit is no cause" in distrust
    assert str(run_dir / "readings" / "lens.parquet") in wrote
    assert "step 1" in picture.read_text(encoding="utf-8")
    stored = read_reading(run_dir, "lens")
    spec = FinishedRun(run_dir).spec
    assert stored.about["model"] == spec["model"]["fingerprint"]
    assert stored.about["pairs"] == spec["pairs"]["run"]
    as_json = mechpatch("read", "lens", run_dir, "--device", "cpu", "--json", "--top", "3")
    summary = json.loads(as_json.stdout)
    assert (summary["top"], summary["pairs"]) == (3, 12)
    assert read_reading(run_dir, "lens").table.equals(stored.table)
    assert len(open_reading(FinishedRun(run_dir), options=Options(top=3)).summary.cells) == len(summary["cells"])


def test_attention_is_read_beside_it(run_dir):
    found = mechpatch("read", "attention", run_dir, "--device", "cpu")
    assert found.returncode == 0, found.stderr
    assert "Did: Read the attention of 4 layers × 4 heads at 5 thoughts and at the answer position" in found.stdout
    assert "To attend is not to use" in found.stdout
    assert read_reading(run_dir, "attention").about["reading"] == "attention"
    twin = mechpatch("read", "attention", run_dir, "--device", "cpu", "--twin", run_dir)
    assert "attention has no twin" in twin.stderr
    unread = mechpatch("read", "attention", run_dir, "--top", "3")
    assert "--top: only lens reads it, which is not asked for; ask for it, or leave --top out" in unread.stderr


def test_probes_are_trained_beside_it(run_dir, tmp_path):
    picture = tmp_path / "probes.svg"
    found = mechpatch("read", "probe", run_dir, "--device", "cpu", "--targets", "step1", "--out", picture)
    assert found.returncode == 0, found.stderr
    did, told, distrust, wrote = found.stdout.splitlines()
    assert did.startswith("Did: Trained ridge probes at 37 places for the value of step 1; tested on pairs")
    assert told.startswith("Found: The value of step 1 is found at ")
    assert "A probe is no cause" in distrust
    assert str(run_dir / "readings" / "probe.parquet") in wrote
    assert "the value of step 1" in picture.read_text(encoding="utf-8")
    table = read_reading(run_dir, "probe").table
    assert table.num_rows == 12 * 2 * 37
    refused = mechpatch("read", "probe", run_dir, "--device", "cpu", "--targets", "step9")
    assert refused.returncode != 0
    assert (
        "--targets step9: fewer than 10 of the 12 pairs that are read have it; expected some of step1" in refused.stderr
    )


def test_what_cannot_be_read_is_refused(run_dir, tmp_path):
    for arguments, said in (
        (("lenz", run_dir), "did you mean lens"),
        (("lens", tmp_path), "holds no run"),
        (("lens", run_dir, "--twin", tmp_path), "holds no run"),
        (("lens", run_dir, "--model", "demo-coconut"), "Give the model of the run"),
        (("lens", run_dir, "--out", tmp_path / "maps.jpg"), "a figure is written as .png, .svg, .pdf"),
    ):
        found = mechpatch("read", *arguments, "--device", "cpu")
        assert found.returncode != 0
        assert said in found.stderr
