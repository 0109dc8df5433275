"""Nothing that a user wrote can become markup, script, or an order of signs beside it."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest
from records import make_records
from run_directories import with_field, write_run

from mechpatch.views.report import write_report
from mechpatch.views.report.embedded import Source
from mechpatch.views.report.markup import foreign, inlined, power, safe_json, text

NASTY = (
    """</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'"`&amp;"""
    "<!--<b>\u202e{} ${{7*7}} \u2028"
)


def test_text_is_escaped_and_isolated():
    assert text('<a href="x">\'&') == "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;"
    assert foreign("\u202eabc<") == '<bdi dir="auto">\u202eabc&lt;</bdi>'


def test_data_cannot_end_its_element_and_reads_back_the_same():
    encoded = safe_json({"a": NASTY})
    assert not {*"<>&\u2028"} & {*encoded}
    assert json.loads(encoded) == {"a": NASTY}
    with pytest.raises(ValueError, match="not JSON compliant"):
        safe_json([float("nan")])


def test_inlined_code_cannot_end_its_element():
    assert inlined('a="</script>";b="<!--"') == 'a="<\\/script>";b="<\\!--"'
    assert "</sCript" not in inlined('"</sCript>"')


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (0.001, "0.001"), (3.1e-5, '<span class="number">3.1 × 10<sup>−5</sup></span>')]
)
def test_small_numbers_are_powers_of_ten(value, shown):
    assert power(value) == shown


def nasty_run(folder: Path, question: str) -> Path:
    records = make_records(pairs=4, experiments=("layer", "position"), nulls=("self",))
    ids = [f"{NASTY} {index}" for index in records["pair_index"].to_pylist()]
    records = records.set_column(records.column_names.index("pair_id"), "pair_id", pa.array(ids))
    records = with_field(records, NASTY, [NASTY, "b", None, "c"])
    dropped = [{"pair_id": NASTY, "reason": "same_answer", "detail": NASTY}]
    return write_run(folder, records, question=question, dropped=dropped, notes=(NASTY,))


def test_nasty_text_stays_text(tmp_path, open_page):
    question = NASTY.replace("{}", "{{}}").replace("${{7*7}}", "") + " has {} apples. " + "x" * 10_000
    run = nasty_run(tmp_path / "run", question)
    page = open_page(write_report([run], tmp_path / "report.html"))
    pair = page.locator("details.pair").first
    pair.locator("summary").first.click()
    pair.locator(".figure[data-drawn=true]").first.wait_for()
    for switch, value in (("split", "0"), ("pair", "1")):
        page.locator(f"[data-switch={switch}]").select_option(value)
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("main b, main script").count() == 0
    assert NASTY.replace("\u2028", "")[:40] in page.locator("main").inner_text()
    assert pair.locator(".pair-id bdi").get_attribute("dir") == "auto"
    shown = pair.locator(".question").first
    assert len(shown.inner_text()) < 500
    shown.get_by_role("button", name="show all").click()
    assert len(shown.inner_text()) > 10_000
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    with page.expect_download() as waiting:
        page.locator("[data-part=method] .actions button:visible").first.click()
    assert "window.hacked" in waiting.value.path().read_text(encoding="utf-8-sig")


@dataclass
class View:
    pair_id: str
    title: str
    caption: str
    grid: bool = False


def test_views_of_a_pair_are_drawn_when_it_is_opened_by_one_script(tmp_path, open_page):
    run = write_run(tmp_path / "run", make_records(pairs=3, experiments=("layer",)))
    draws = 'document.getElementById(id).textContent = text + "</script>";'
    bundle = f"var Toy = {{render: (id, text) => {{ {draws} }}}}; window.runs = (window.runs || 0) + 1;"
    views = [View("pair-000", NASTY, NASTY), View("pair-000", "second", "", grid=True)]
    source = Source(
        inspection_views=lambda folder: {"pair-000": views, "pair-001": [View("pair-001", "third", "")]},
        bundle=lambda: bundle,
        render_call=lambda view, element: f'Toy.render("{element}", "</script><b>drawn ");',
        style=".circuits { color: #123456; }",
    )
    page = open_page(write_report([run], tmp_path / "report.html", source))
    assert page.evaluate("window.runs") is None
    for pair in (0, 1):
        page.locator("details.pair > summary").nth(pair).click()
    page.locator("#view-2").wait_for()
    assert page.locator("#view-0").inner_text() == "</script><b>drawn </script>"
    assert "circuits-grid" in page.locator("#view-1").get_attribute("class")
    assert page.evaluate("getComputedStyle(document.getElementById('view-0')).color") == "rgb(18, 52, 86)"
    assert page.evaluate("window.runs") == 1
    assert page.evaluate("window.hacked") is None


def test_a_page_without_views_carries_no_bundle(tmp_path):
    run = write_run(tmp_path / "run", make_records(pairs=3, experiments=("layer",)))
    source = Source(inspection_views=lambda folder: {}, bundle=lambda: "BUNDLE", render_call=lambda *_: "")
    assert "BUNDLE" not in write_report([run], tmp_path / "report.html", source).read_text(encoding="utf-8")
