"""The page of a screened run: what the screen missed, its picture, and cells that were not run."""

import re

import numpy as np
import pyarrow as pa
import pytest
from records import planted
from run_directories import write_run
from screened import screened_records

from mechpatch.stats import summarise
from mechpatch.views.report import write_report
from mechpatch.views.report.grids import describe_grids
from mechpatch.views.report.screens import HEIGHT, LEFT, WIDTH, screen_parts

TOP = [0.9, 0.5, -0.4, 0.3, 0.2]
ESTIMATES = [*TOP, *np.linspace(0, 0.01, 50)]


def page(tmp_path, **settings) -> str:
    table, choices = screened_records(TOP, [0.0] * 50, ESTIMATES, **settings)
    run = write_run(tmp_path / "run", table, choices=choices)
    return write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_page_says_and_draws_what_the_screen_missed(tmp_path):
    found = page(tmp_path)
    section = found[found.index("<h2>What the screen missed</h2>") :]
    section = section[: section.index("</section>")]
    assert "Of 1,000 cells of z that can move, position-wise patching (denoise), 55 were run" in section
    assert "None of 50 random cells has a clear effect" in section
    assert section.count("<circle") == 5
    assert section.count("<path") == 50
    assert "The estimate only chose; the effect is the result." in section
    assert re.search(r"<title>layer 1, t0, head 2 of z \(top\): estimate −0.40, effect −0.4\d</title>", section)


def test_a_run_without_a_screen_has_no_such_section(tmp_path):
    table, _ = screened_records(TOP, [], TOP)
    run = write_run(tmp_path / "run", table.drop_columns(["candidates"]))
    assert "What the screen missed" not in write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")


def test_where_nothing_was_left_out_nothing_is_drawn(tmp_path):
    table, choices = screened_records(TOP, [], TOP, candidates=5)
    (part,) = screen_parts(summarise(table, 0, choices=choices).screens)
    assert part.dots == []
    assert part.told == [
        "All 5 cells of z that can move, position-wise patching (denoise), were run, so the screen left nothing out."
    ]


def test_marks_stand_where_their_numbers_are():
    table, choices = screened_records(TOP, [0.0] * 50, ESTIMATES)
    (part,) = screen_parts(summarise(table, 0, choices=choices).screens)
    assert all(LEFT <= dot.x <= WIDTH and 0 <= dot.y <= HEIGHT for dot in part.dots)
    zero = next(tick.at for tick in part.across if tick.text == "0.00")
    largest, negative = part.dots[0], part.dots[2]
    assert largest.x > part.dots[1].x > zero > negative.x
    assert largest.y < part.dots[1].y < negative.y  # upwards is up
    x1, y1, x2, y2 = part.equal
    on_line = y1 + (y2 - y1) * (largest.x - x1) / (x2 - x1)
    assert largest.y == pytest.approx(on_line, abs=5)  # its estimate is its effect, but for noise


def test_ticks_of_small_values_are_written_with_all_their_decimals():
    table, choices = screened_records([value / 20 for value in TOP], [0.0] * 50, [value / 20 for value in ESTIMATES])
    (part,) = screen_parts(summarise(table, 0, choices=choices).screens)
    for ticks in (part.across, part.up):
        values = [float(tick.text.replace("−", "-")) for tick in ticks]
        steps = np.diff(values)
        assert len(ticks) > 2
        assert steps == pytest.approx(np.full(len(steps), steps[0]))  # what is written is where it stands


def test_cells_that_were_not_run_are_told_from_those_without_a_value():
    effects = {(f"position@z.{head}", "denoise", "paired", head, "t0"): [0.5] * 8 for head in (0, 1)}
    table = planted(effects)
    (whole,) = describe_grids(table)
    (few,) = describe_grids(table.append_column("candidates", pa.array([10] * len(table), pa.int64())))
    assert (whole["absent"], whole["left_out"]) == ([1, 2], 0)  # of two layers × two heads
    assert (few["absent"], few["left_out"]) == ([1, 2], 8)
