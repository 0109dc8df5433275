"""Reports in a real Chromium, opened from a file."""

import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from records import make_records
from run_directories import with_field, write_run
from typer.testing import CliRunner

from mechpatch import cli
from mechpatch.stats import benjamini_hochberg, bootstrap_mean, select, sign_flip_p, summarise
from mechpatch.stats.cells import Group
from mechpatch.views.report import write_report

FIGURES = ("heatmap", "profile", "chain", "comparison")
HOVER = re.compile(
    r"(?P<label>[\w ]+): <b>(?P<mean>[−\d.]+)</b>.*95 % interval (?P<low>[−\d.]+) to (?P<high>[−\d.]+)"
    r"<br>n = (?P<n>\d+) pairs; q = (?P<q>< [\d.]+|[\d.]+)"
)


def number(text: str) -> float:
    return float(text.replace("−", "-").removeprefix("< "))


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory) -> tuple[Path, Any]:
    """A report in which everything there can be is there, and its records."""
    folder = tmp_path_factory.mktemp("synthetic")
    table = make_records(
        layers=4,
        thoughts=3,
        pairs=24,
        directions=("denoise", "noise"),
        nulls=("self", "other_pair"),
        incorrect=4,
        feedback=False,
    )
    table = with_field(table, "entry", [0, 1, 2])
    run = write_run(folder / "run", table, notes=("A note.",), dropped=[{"pair_id": "x", "reason": "same_answer"}])
    return write_report([run], folder / "report.html"), table


def figure(page: Any, name: str) -> Any:
    return page.locator(f".study:not([hidden]) [data-figure={name}]")


def traces(page: Any, name: str) -> list[dict[str, Any]]:
    """Values and hover texts of a figure, as they are drawn."""
    return figure(page, name).evaluate(
        "element => element.data.map(({z, y, hovertext, name}) => ({z, y, hovertext, name}))"
    )


def choose(page: Any, switch: str, value: str) -> None:
    page.locator(f".study:not([hidden]) [data-switch={switch}]").select_option(value)


def hovers(page: Any) -> list[dict[str, str]]:
    """What the effect's map tells of its cells, those with an interval."""
    found = [HOVER.search(text) for row in traces(page, "heatmap")[0]["hovertext"] for text in row]
    return [match.groupdict() for match in found if match]


def test_the_demo_opens_offline_with_every_view_drawn(demo_runs, open_page, tmp_path):
    out = tmp_path / "report.html"
    result = CliRunner().invoke(cli.app, ["report", *map(str, demo_runs), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output
    page = open_page(out)
    for name in FIGURES:
        assert figure(page, name).get_attribute("data-drawn") == "true", name
        assert figure(page, name).locator("svg.main-svg").count() >= 1, name
        assert traces(page, name), name
    text = page.locator("main").inner_text()
    for told in ("Layer-wise, layer", "CODI", "6 run", "identities that the records allow hold", "Position-wise"):
        assert told in text, told
    assert page.locator("[data-place=cells] tbody tr").count() >= 20
    first = page.locator("details.pair").first
    first.locator("summary").first.click()
    first.locator(".figure[data-drawn=true]").nth(1).wait_for()
    marks = first.locator(".question mark").all_inner_texts()
    assert len(marks) == 2
    assert marks[0] != marks[1]
    assert "greedy decoding gives the clean answer" in first.inner_text()


def test_hover_shows_the_numbers_of_the_summary(synthetic, open_page):
    path, table = synthetic
    page = open_page(path)
    (cell,) = [
        cell
        for cell in summarise(table, 0).cells
        if (cell.experiment, cell.direction, cell.donor) == ("position", "denoise", "paired")
        and (cell.layer, cell.site) == (2, "t1")
    ]
    figure(page, "heatmap").evaluate("element => element.scrollIntoView({block: 'center'})")
    box = figure(page, "heatmap").locator(".heatmaplayer image").first.bounding_box()
    columns = 6  # bot, three thoughts, eot, answer
    page.mouse.move(box["x"] + box["width"] * 2.5 / columns, box["y"] + box["height"] * 1.4 / 4)
    shown = page.locator(".hoverlayer .hovertext")
    shown.wait_for(timeout=10_000)
    told = shown.text_content() or ""
    effect = cell.effect
    assert "Layer 2, t1" in told
    assert cell.q is not None
    for value in (effect.mean, effect.low, effect.high):
        assert f"{value:.3f}" in told
    assert f"n = {effect.n} pairs" in told
    assert ("< 0.001" if cell.q < 0.001 else f"{cell.q:.3f}") in told


def test_structural_cells_are_grey_and_say_so(synthetic, open_page):
    page = open_page(synthetic[0])
    effect, apart = traces(page, "heatmap")[:2]
    assert effect["z"][3][1:4] == [None] * 3  # thoughts at the last layer, without feedback
    assert apart["z"][3][1:4] == [1] * 3
    assert "zero by construction" in apart["hovertext"][3][1]
    assert page.locator(".swatch.hatched").count() == 1
    assert "whatever the model has learnt" in page.locator("[data-part=heatmap]").inner_text()


def test_switches_change_the_figures(synthetic, open_page):
    page = open_page(synthetic[0])

    def drawn() -> list[Any]:
        return [traces(page, name) for name in FIGURES]

    before = drawn()
    assert len(before[0]) == 6  # the effect and two null donors, each with its structural cells
    choose(page, "nulls", "hidden")
    assert len(traces(page, "heatmap")) == 2
    choose(page, "pairs", "all")
    assert {each["n"] for each in hovers(page)} == {"24"}
    choose(page, "pairs", "correct")
    assert {each["n"] for each in hovers(page)} == {"20"}
    choose(page, "direction", "noise")
    assert {each["label"] for each in hovers(page)} == {"destruction"}
    assert all(figure(page, name).get_attribute("data-drawn") for name in FIGURES)
    choose(page, "direction", "denoise")
    choose(page, "experiment", "cumulative")
    assert len(traces(page, "heatmap")[0]["z"][0]) == 3
    choose(page, "mode", "cumulative")
    assert traces(page, "chain") != before[2]
    choose(page, "compared", "kl_divergence")
    assert traces(page, "comparison") != before[3]
    choose(page, "experiment", "position")
    seen = [traces(page, "heatmap")[0]["hovertext"]]
    for option in page.locator("[data-switch=metric] option").all()[1:]:
        choose(page, "metric", option.get_attribute("value") or "")
        figures = traces(page, "heatmap")
        if figures:  # similarities are those of a relay alone
            assert figures[0]["hovertext"] not in seen, option.inner_text()
            seen.append(figures[0]["hovertext"])
    assert len(seen) > 10


def test_a_split_is_estimated_as_the_records_would_be(synthetic, open_page):
    path, table = synthetic
    page = open_page(path)
    choose(page, "split", "0")
    found = traces(page, "heatmap")
    assert len(found) == 6  # three groups of pairs, each with its structural cells
    correct, widths = table.filter(pc.field("both_correct")), []
    for group in range(3):
        cells = select(correct.filter(pc.field("field.entry") == group), Group("position", "denoise", "paired"))
        values = cells.values("effect")
        interval = bootstrap_mean(values, seed=0)
        p = sign_flip_p(cells.values("answer_logprob_change"), seed=0)
        q = benjamini_hochberg(np.where(cells.structural, np.nan, p))
        for at in zip(*np.nonzero(~cells.structural), strict=True):
            match = HOVER.search(found[2 * group]["hovertext"][at[0]][at[1]])
            assert match is not None
            assert int(match["n"]) == len(values)
            assert number(match["mean"]) == pytest.approx(interval.mean[at], abs=1e-3)
            width = float(interval.high[at] - interval.low[at])
            for side in ("low", "high"):
                assert number(match[side]) == pytest.approx(getattr(interval, side)[at], abs=0.1 * width + 1e-3)
            if width > 0.02:  # three decimals tell a narrower one too coarsely
                widths.append((number(match["high"]) - number(match["low"])) / width)
            assert number(match["q"]) == pytest.approx(q[at], abs=1e-3)  # so few pairs have every sign flip tried
    assert len(widths) > 5
    assert np.mean(widths) == pytest.approx(1, abs=0.08)  # a 90 % interval would be 0.84 as wide
    assert "computed in this page" in page.locator("[data-part=heatmap] .caption").inner_text()
    choose(page, "pair", "3")
    one = select(table, Group("position", "denoise", "paired"), include_incorrect=True).values("effect")[3]
    assert traces(page, "heatmap")[0]["z"][2] == pytest.approx(one[2].tolist(), abs=1e-3)
    assert "one pair: no interval" in traces(page, "heatmap")[0]["hovertext"][2][2]


@pytest.mark.parametrize("width", [390, 760, 1600])
def test_nothing_overlaps_or_runs_out_of_the_window(synthetic, open_page, width):
    page = open_page(synthetic[0], width)
    page.locator("details.pair > summary").first.click()
    page.locator("details.pair .figure[data-drawn=true]").nth(1).wait_for()
    for switch, value in (("", ""), ("split", "0"), ("metric", "l2_logit_difference")):
        if switch:
            choose(page, switch, value)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        for place in page.locator(".study:not([hidden]) .figure").all():
            room = place.bounding_box()
            assert room["x"] >= 0
            assert room["x"] + room["width"] <= width
            assert place.locator("svg.main-svg").first.bounding_box()["width"] <= room["width"]
            assert not place.evaluate(OVERLAPS), place.get_attribute("data-figure")
        boxes = [each.bounding_box() for each in page.locator(".study:not([hidden]) .menu").all()]
        boxes = [box for box in boxes if box]
        assert not [1 for at, a in enumerate(boxes) for b in boxes[:at] if overlap(a, b)]


# Pairs of texts of a figure that cover each other by more than a hair.
OVERLAPS = """element => {
  const texts = [...element.querySelectorAll("text")].filter((text) => text.textContent.trim() && text.getBoundingClientRect().width);
  const boxes = texts.map((text) => text.getBoundingClientRect());
  const found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = 0; j < i; j++) {
    const [a, b] = [boxes[i], boxes[j]];
    const x = Math.min(a.right, b.right) - Math.max(a.left, b.left), y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (x > 3 && y > 3) found.push([texts[i].textContent, texts[j].textContent]);
  }
  return found.length ? JSON.stringify(found.slice(0, 5)) : "";
}"""  # noqa: E501


def overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    return (
        min(a["x"] + a["width"], b["x"] + b["width"]) - max(a["x"], b["x"]) > 1
        and min(a["y"] + a["height"], b["y"] + b["height"]) - max(a["y"], b["y"]) > 1
    )


def test_figures_follow_the_window(synthetic, open_page):
    page = open_page(synthetic[0], 1600)
    wide = figure(page, "heatmap").bounding_box()
    page.set_viewport_size({"width": 420, "height": 900})
    deadline = time.monotonic() + 20
    while page.evaluate("document.documentElement.scrollWidth") > 420 and time.monotonic() < deadline:
        page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    assert figure(page, "heatmap").bounding_box()["height"] > wide["height"]  # panels are stacked
    assert page.pdf().startswith(b"%PDF")


def test_tables_sort_and_save_themselves(synthetic, open_page):
    page = open_page(synthetic[0])
    place = page.locator("[data-place=cells]")
    column = place.locator("tbody tr td:nth-child(3)")
    place.get_by_role("button", name="Layer").click()
    assert column.all_inner_texts() == ["3"] * 25
    place.get_by_role("button", name="Layer").click()
    assert column.all_inner_texts() == ["0"] * 25
    with page.expect_download() as waiting:
        place.get_by_role("button", name="Download CSV").click()
    download = waiting.value
    assert download.suggested_filename == "mechpatch-cells-denoise.csv"
    lines = download.path().read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("Experiment,Donor,Layer,Site,Step,Effect")
    assert len(lines) == 1 + 3 * 4 * (1 + 6 + 3 + 3)  # donors x layers x columns of the four experiments
    place.get_by_role("button", name="Show all").click()
    assert place.locator("tbody tr").count() == len(lines) - 1


@pytest.mark.parametrize(("button", "suffix", "magic"), [(0, "png", b"\x89PNG"), (1, "svg", b"<svg")])
def test_figures_are_saved_without_a_network(synthetic, open_page, button, suffix, magic):
    page = open_page(synthetic[0])
    with page.expect_download() as waiting:
        figure(page, "profile").locator(".modebar-btn").nth(button).click()
    assert waiting.value.suggested_filename == f"mechpatch-layer-denoise.{suffix}"
    assert magic in waiting.value.path().read_bytes()[:200]


def test_the_page_may_not_reach_a_network(synthetic, open_page):
    page = open_page(synthetic[0])
    refused = page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'refused')")
    assert refused == "refused"
    assert any("Content Security Policy" in problem for problem in page.problems)
    page.problems.clear()  # this refusal was asked for


def test_several_studies_are_tabs(tmp_path, open_page):
    records = make_records(pairs=6, experiments=("layer", "position"))
    runs = [write_run(tmp_path / name, records, model=name) for name in ("one", "two")]
    page = open_page(write_report(runs, tmp_path / "report.html"))
    assert page.locator(".study:visible").count() == 1
    side_by_side = page.locator(".overview tbody tr")
    assert side_by_side.count() == 4  # two experiments of two studies
    assert {row.locator("td").nth(4).inner_text() for row in side_by_side.all()} == {"layer 2, all", "layer 2, t2"}
    page.get_by_role("tab", name="two").click()
    figure(page, "profile").locator("svg.main-svg").first.wait_for()
    assert page.locator(".study:visible").get_attribute("data-study") == "1"
    assert traces(page, "heatmap")


def test_a_large_run_opens_at_once(tmp_path, browser):
    """57 pairs x 16 layers x 6 positions x (effect and 4 null donors), in processor time: neighbours do not count."""
    nulls = ("self", "other_pair", "same_value", "gaussian")
    records = make_records(layers=16, thoughts=6, landmarks=False, pairs=57, experiments=("position",), nulls=nulls)
    out = write_report([write_run(tmp_path / "run", records)], tmp_path / "report.html")
    seconds = []
    for _ in range(2):
        page = browser.new_page()
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(out.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        metrics = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        seconds.append(metrics["ProcessTime"])
        page.close()
    assert 0.05 < min(seconds) < 3


def test_a_report_of_the_demos_shape_is_small(tmp_path):
    nulls = ("self", "other_pair", "same_value", "gaussian")
    records = make_records(layers=4, thoughts=5, pairs=72, directions=("denoise", "noise"), nulls=nulls, incorrect=4)
    out = write_report([write_run(tmp_path / "run", records)], tmp_path / "report.html")
    assert out.stat().st_size < 5e6
