"""`summary.json` is read back as the value that was written, and nothing else is read as one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from records import make_records
from run_directories import run_facts

from mechpatch.errors import StorageError
from mechpatch.stats import read_summary, summarise, write_summary
from mechpatch.stats.summary_values import Prediction, RoundingFacts
from mechpatch.storage.results import SUMMARY
from mechpatch.storage.sealed import read_sealed, write_sealed


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    experiments = ("layer", "position", "cumulative", "pairwise", "window", "leave_one_out")
    table = make_records(
        layers=3, thoughts=2, pairs=6, nulls=("self",), directions=("denoise", "noise"), experiments=experiments
    )
    rounding = RoundingFacts(dtype="float32", floor=1e-5, difference=2e-5, cells=3, refereed=("layer 1",), says="so.")
    run = run_facts(rounding=rounding, expected=Prediction(of="its plan", seconds=3.0), notes=("one",))
    path = tmp_path_factory.mktemp("run")
    write_summary(path, summarise(table, seed=0).of_run(run))
    return path


def test_a_run_that_was_stopped_is_said_to_be_unfinished(tmp_path):
    with pytest.raises(StorageError, match=r"summary.json: cannot be read"):
        read_summary(tmp_path)  # no run at all
    (tmp_path / "spec.json").write_text("{}")
    with pytest.raises(
        StorageError, match=r"the run is not finished \(no summary.json\); run the same command again to"
    ):
        read_summary(tmp_path)


def test_a_summary_is_read_as_it_was_written(folder, tmp_path):
    summary = read_summary(folder)
    assert summary.run.rounding is not None
    assert any(cell.gain for cell in summary.cells)
    assert any(cell.lost for cell in summary.cells)
    write_summary(tmp_path, summary)
    assert (tmp_path / SUMMARY).read_bytes() == (folder / SUMMARY).read_bytes()
    assert read_summary(tmp_path) == summary


def change(*keys: str | int, to: Any) -> Callable[[Any], None]:
    def edit(found: Any) -> None:
        for key in keys[:-1]:
            found = found[key]
        found[keys[-1]] = to

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (change("cells", 3, "effect", "mean", to="0.5"), r"cells\[3\]\.effect\.mean: found '0\.5', expected a number"),
        (change("cells", 0, "structural", to=1), r"cells\[0\]\.structural: found 1, expected true or false"),
        (change("cells", 0, "layer", to=True), r"cells\[0\]\.layer: found True, expected a whole number"),
        (change("cells", 1, "effect", "beyond", to=[]), r"cells\[1\]\.effect\.beyond: found \[\], expected an object"),
        (change("counts", "used", to=1.5), r"counts\.used: found 1\.5, expected a whole number"),
        (change("checks", to=None), r"checks: found None, expected a list"),
        (change("run", "notes", 0, to=7), r"run\.notes\[0\]: found 7, expected a text"),
        (lambda found: found["run"].pop("seconds"), r"run: lacks seconds: found expected, notes, "),
        (change("counts", "mine", to=3), r"counts: found mine, expected only pairs, "),
        (lambda found: found.clear(), r"the object: lacks .*cells, .*found nothing"),
    ],
)
def test_a_foreign_summary_is_refused_by_file_and_key(folder, tmp_path, edit, said):
    found = json.loads(json.dumps(read_sealed(folder / SUMMARY, "")))
    edit(found)
    write_sealed(tmp_path / SUMMARY, found)  # the seal holds, so only what stands in it can be wrong
    with pytest.raises(StorageError, match=rf"summary\.json: {said}.*; run the same command again"):
        read_summary(tmp_path)
