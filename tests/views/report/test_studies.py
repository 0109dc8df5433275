import pytest
from records import make_records
from run_directories import write_run

from mechpatch.errors import SpecError, StorageError
from mechpatch.stats import summarise
from mechpatch.views.report.studies import read_studies


def test_runs_of_one_model_on_the_same_pairs_are_one_study(tmp_path):
    both = make_records(pairs=6, experiments=("layer", "position"))
    folders = [
        write_run(tmp_path / name, make_records(pairs=6, experiments=(name,)), notes=(name, "shared"))
        for name in ("layer", "position")
    ]
    (study,) = read_studies(folders)
    assert study.name == "layer, position"
    assert study.table.num_rows == both.num_rows
    assert study.summary.cells == summarise(study.table, 0).cells
    assert {check.name for check in study.summary.checks} >= {"rank_correlation_of_layers_layer_position"}
    assert study.summary.run.notes == ("layer", "shared", "position")


def test_joined_runs_are_checked_as_loosely_as_rounding_in_any_of_them_asks(tmp_path):
    tables = [make_records(pairs=6, experiments=(name,)) for name in ("layer", "position")]
    folders = [
        write_run(tmp_path / str(at), table, tolerance=tolerance)
        for at, (table, tolerance) in enumerate(zip(tables, (0.5, 1e-3), strict=True))
    ]
    (study,) = read_studies(folders)
    assert {check.tolerance for check in study.summary.checks if check.kind == "asserted"} == {0.5}


def test_a_window_that_was_run_apart_is_still_held_against_its_layers(tmp_path):
    tables = (make_records(pairs=6, experiments=(name,)) for name in ("position", "window"))
    (study,) = read_studies([write_run(tmp_path / str(at), table) for at, table in enumerate(tables)])
    gains = [cell.gain for cell in study.summary.cells if cell.experiment == "window"]
    assert gains
    assert all(gain and len(gain.over_layers) == 2 for gain in gains)


def test_a_single_run_keeps_the_summary_that_it_has(tmp_path):
    folder = write_run(tmp_path / "run", make_records(pairs=6, incorrect=2), include_incorrect=True)
    (study,) = read_studies([folder])
    assert study.summary.include_incorrect
    assert study.summary.counts.used == 6


@pytest.mark.parametrize(
    "other",
    [
        {"records": {"pairs": 6, "experiments": ("layer",)}},  # the same experiment again
        {"records": {"pairs": 6, "experiments": ("position",)}, "model": "another"},
        {"records": {"pairs": 5, "experiments": ("position",)}},
    ],
)
def test_other_runs_stay_apart(tmp_path, other):
    first = write_run(tmp_path / "a", make_records(pairs=6, experiments=("layer",)))
    records = make_records(**other.pop("records"))
    second = write_run(tmp_path / "b", records, **other)
    assert [study.name for study in read_studies([first, second])] == ["a", "b"]


def test_what_cannot_be_read_is_named(tmp_path):
    folder = write_run(tmp_path / "run", make_records(pairs=2, experiments=("layer",)))
    with pytest.raises(SpecError, match="no run was named"):
        read_studies([])
    with pytest.raises(SpecError, match=r"run: given more than once"):
        read_studies([folder, tmp_path / "." / "run"])
    with pytest.raises(StorageError, match=r"nowhere.*cannot be read"):
        read_studies([tmp_path / "nowhere"])
    (folder / "summary.json").write_text("{")
    with pytest.raises(StorageError, match=r"summary\.json: damaged"):
        read_studies([folder])
    (folder / "summary.json").unlink()
    with pytest.raises(StorageError, match=r"not finished \(no summary\.json\)"):
        read_studies([folder])
    (folder / "effects.parquet").write_bytes(b"x")
    with pytest.raises(StorageError, match=r"effects\.parquet: damaged"):
        read_studies([folder])
