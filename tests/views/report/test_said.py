"""What a patched run said stands where its cell is chosen, and nowhere if the run was not asked."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from records import make_records
from report_arrays import decoded, payload
from run_directories import write_run

from mechpatch.views.report import write_report

RECORDS = make_records(layers=2, thoughts=2, pairs=7, experiments=("position",), nulls=("other_pair",), incorrect=1)
SPOKEN = '<b>"no" & é</b>'


def said_by(row: dict[str, Any]) -> str | None:
    """Another text in each row, but for what is markup and what is empty; one row was not asked."""
    place = row["pair_index"], row["layer"], row["site"], row["donor"]
    told = {(1, 0, "t1", "paired"): SPOKEN, (2, 0, "t1", "paired"): "", (3, 0, "t1", "paired"): None}
    return told.get(place, "-".join(map(str, place)))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("said")
    rows = RECORDS.to_pylist()
    for row in rows:
        if said_by(row) == SPOKEN:
            row["outcome"] = "other"
    column = pa.array([said_by(row) for row in rows], pa.string())
    table = pa.Table.from_pylist(rows, schema=RECORDS.schema).append_column("said", column)
    return write_report([write_run(folder / "run", table)], folder / "report.html")


def test_each_text_is_kept_once_beside_its_cell(report: Path):
    rows = {(row["donor"], row["pair_index"], row["layer"], row["site"]): row for row in RECORDS.to_pylist()}
    (study,) = payload(report.read_text(encoding="utf-8"))["studies"]
    found = 0
    for grid in study["grids"]:
        shape = len(grid["pairs"]), len(grid["layers"]), len(grid["columns"])
        numbers = np.rint(decoded(grid["said"], int(np.prod(shape))).reshape(shape))
        for at in np.ndindex(shape):
            pair, layer, column = grid["pairs"][at[0]], grid["layers"][at[1]], grid["columns"][at[2]]
            row = rows[grid["donor"], pair, layer, column["site"]]
            text = None if np.isnan(numbers[at]) else grid["texts"][int(numbers[at])]
            assert text == said_by(row)
            found += 1
        assert len(grid["texts"]) == len({*grid["texts"]})
    assert found == len(rows) == 7 * 2 * 5 * 2


def test_a_run_that_was_not_asked_has_no_texts(tmp_path: Path):
    silent = RECORDS.append_column("said", pa.nulls(len(RECORDS), pa.string()))
    for name, table in (("old", RECORDS), ("silent", silent)):
        page = write_report([write_run(tmp_path / name, table)], tmp_path / f"{name}.html")
        (study,) = payload(page.read_text(encoding="utf-8"))["studies"]
        assert not any("said" in grid or "texts" in grid for grid in study["grids"])


def test_the_page_shows_it_for_the_chosen_pair_and_cell(report: Path, open_page: Any):
    page = open_page(report)

    def told(pair: int, site: str) -> list[str]:
        page.evaluate(f"location.hash = 'pair=pair-00{pair}&experiment=position&cell=0:{site}:0'")
        page.wait_for_selector(f".pair[data-pair=pair-00{pair}]")
        page.locator(".pair h4", has_text=f"At layer 0, {site}").wait_for()
        return page.locator(".pair .after q").all_inner_texts()

    assert told(1, "t1") == [f"{SPOKEN}", "1-0-t1-other_pair"]
    assert SPOKEN in page.locator("body").inner_text()
    assert page.locator(".pair .after b").count() == 0
    assert told(4, "t0") == ["4-0-t0-paired", "4-0-t0-other_pair"]
    assert told(2, "t1") == ["", "2-0-t1-other_pair"]
    assert told(3, "t1") == ["3-0-t1-other_pair"]
