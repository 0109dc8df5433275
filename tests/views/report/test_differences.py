"""Two runs on one page: its numbers are those of `compare_runs`, and its words those of `mechpatch compare`."""

import numpy as np
import pytest
from records import planted
from report_arrays import decoded
from run_directories import write_run

from mechpatch.stats.compare import compare_runs
from mechpatch.views.report.differences import describe_differences
from mechpatch.views.report.studies import Study, read_studies
from mechpatch.views.words.comparison import describe_runs

PAIRS, SITES = 9, ("t0", "t1")
LAST = [("position", "denoise", "paired", 1, "t1")]


def cells(layers: int, moved: float) -> dict[tuple[str, str, str, int, str], list[float]]:
    """Every pair switches at layer 0, t0 where `moved` says so; nothing moves elsewhere, nor with another pair's."""
    return {
        ("position", "denoise", donor, layer, site): [
            (moved if (donor, layer, site) == ("paired", 0, "t0") else 0.0) + 0.01 * pair for pair in range(PAIRS)
        ]
        for donor in ("paired", "other_pair")
        for layer in range(layers)
        for site in SITES
    }


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> list[Study]:
    """A run of two layers in which a cell moves, and one of three in which none does."""
    folder = tmp_path_factory.mktemp("two")
    tables = planted(cells(2, 0.9), structural=LAST), planted(cells(3, 0.0), structural=LAST)
    runs = [write_run(folder / name, table, model=name) for name, table in zip("ab", tables, strict=True)]
    return read_studies(runs)


def test_the_page_shows_what_a_comparison_of_runs_finds(studies):
    (found,) = describe_differences(studies)
    assert (found["a"], found["b"]) == (0, 1)
    (grid,) = found["grids"]
    assert grid["layers"] == [0, 1]  # those of both
    assert [column["site"] for column in grid["columns"]] == list(SITES)
    assert grid["structural"] == [3]
    for metric, shown in grid["metrics"].items():
        asked = compare_runs(studies[0].table, studies[1].table, metric)
        here = [cell for cell in asked.cells if cell.donor == "paired"]
        for name in ("mean", "low", "high", "q"):
            told = [getattr(cell.difference, name) for cell in here]
            assert decoded(shown[name], 4) == pytest.approx(np.array(told, dtype=float), rel=1e-6, nan_ok=True)
        assert decoded(shown["a"], 4) == pytest.approx([cell.a.mean for cell in here], rel=1e-6)
        assert decoded(shown["n"], 4).tolist() == [PAIRS] * 4
    assert decoded(grid["metrics"]["switched"]["mean"], 4).tolist() == [1, 0, 0, 0]
    assert decoded(grid["metrics"]["switched"]["clear"], 4).tolist() == [1, 0, 0, 0]
    assert found["said"] == describe_runs(compare_runs(studies[0].table, studies[1].table, "switched"), "a", "b")


def test_cells_that_a_screen_left_out_of_one_run_are_absent(tmp_path):
    """Layer 0 has heads 0 and 2, layer 1 has head 1 alone: what stands in a row must not slide."""

    def run(name: str, heads: dict[tuple[int, int], float]):
        effects = {(f"position@z.{head}", "denoise", "paired", layer, "t0"): [value + 0.01 * pair for pair in range(8)]
                   for (layer, head), value in heads.items()}  # fmt: skip
        return write_run(tmp_path / name, planted(effects), model=name)

    both = {(0, 2): 0.3, (1, 1): 0.4, (0, 0): 0.2}
    a = run("a", both | {(1, 3): 0.9})
    b = run("b", {place: value - 0.1 * (place[1] + 1) for place, value in both.items()} | {(2, 0): 0.9})
    (found,) = describe_differences(read_studies([a, b]))
    (grid,) = found["grids"]
    assert (grid["layers"], [column["head"] for column in grid["columns"]]) == ([0, 1], [0, 1, 2])
    assert grid["absent"] == [1, 3, 5]
    means = decoded(grid["metrics"]["effect"]["mean"], 6)
    assert means == pytest.approx([0.1, np.nan, 0.3, np.nan, 0.2, np.nan], nan_ok=True)


def test_pairs_are_those_that_both_runs_can_use(studies, tmp_path):
    table = studies[1].table
    wrong = table.set_column(
        table.column_names.index("both_correct"),
        "both_correct",
        [[index > 1 for index in table["pair_index"].to_pylist()]],
    )
    runs = [studies[0].runs[0].folder, write_run(tmp_path / "wrong", wrong, model="c")]
    (found,) = describe_differences(read_studies(runs))
    assert found["pairs"] == [f"pair-{index:03d}" for index in range(2, PAIRS)]


def test_runs_of_other_questions_are_not_compared_and_the_page_says_why(studies, tmp_path):
    other = write_run(tmp_path / "other", planted(cells(2, 0.9)), model="d", question="What is {} and 5?")
    (found,) = describe_differences(read_studies([studies[0].runs[0].folder, other]))
    assert found["grids"] == []
    assert found["said"][0].startswith("a and other are not compared: the runs have no pair in common")
