"""Nothing that a user wrote can become markup, script, or an order of signs beside it."""

import ast
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from chromium import settled
from records import make_records
from run_directories import with_field, write_run

import mechpatch.views
from mechpatch.stats.cell_values import Share
from mechpatch.views import circuits
from mechpatch.views.circuits import View
from mechpatch.views.html import inline, json_text, render, style_sheet
from mechpatch.views.report import write_report
from mechpatch.views.report.parts import STYLES, Part
from mechpatch.views.report.sections import StudyPage
from mechpatch.views.told import told
from mechpatch.views.words.lines import Lines

NASTY = (
    """</script><script>window.hacked=1</script><img src=x onerror="window.hacked=1">'"`&amp;"""
    "<!--<b>\u202e{} ${{7*7}} \u2028"
)


def part(each: Part) -> str:
    """The part as the page writes it."""
    row = [each]
    facts = StudyPage(
        number=0, name="", mapped=False, answers=[], answers_told=[], told=told(Lines("", "", "")),
        facts=[("Fact", row)], sections=[("run", "Run")], said=[],
        captions={}, paragraphs=[], notes=(), laws=[], relations=[], method=[], dropped=[], runs=[], cite="",
    )  # fmt: skip
    page = render("mechpatch.views.report", "study.html", study=facts)
    return page.partition("<dt>Fact</dt><dd>")[2].partition("</dd>")[0]


def test_text_is_escaped_and_isolated():
    assert part(Part('<a href="x">\'&')) == "&lt;a href=&#34;x&#34;&gt;&#39;&amp;"
    assert part(Part("\u202eabc<", "foreign")) == '<bdi dir="auto">\u202eabc&lt;</bdi>'
    assert part(Part("<", "foreign code")) == '<code><bdi dir="auto">&lt;</bdi></code>'
    half = Share(count=1, n=2, share=0.5, low=0.1, high=0.9, beyond={}, beyond_every=None)
    shown = {"power": 1.0, "share": half}
    for style in STYLES:
        assert "<x>" not in part(Part(shown.get(style, "<x>"), style))
    assert part(Part(half, "share")) == '<span class="share" style="--share: 50.0%">1 of 2</span>'


def test_data_cannot_end_its_element_and_reads_back_the_same():
    encoded = json_text({"a": NASTY})
    assert not {*"<>&\u2028"} & {*encoded}
    assert json.loads(encoded) == {"a": NASTY}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_text([float("nan")])


def test_code_and_style_cannot_end_their_element():
    assert inline('a="<script></script><!-- </SCRIPT >"') == r'a="\x3cscript>\x3c/script>\x3c!-- \x3c/SCRIPT >"'
    assert inline("a < b; c</script/.x") == "a < b; c\\x3c/script/.x"
    assert inline("a<b") == "a<b"
    assert style_sheet("a { content: '</style><b>' }") == "a { content: 'style><b>' }"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.001, "0.001"),
        (None, "–"),
        (3.1e-5, '<span class="number">3.1 × 10<sup>−5</sup></span>'),
    ],
)
def test_small_numbers_are_powers_of_ten(value, shown):
    assert part(Part(value, "power")) == shown


def test_no_markup_stands_outside_the_templates():
    """What builds pages in Python has no tag in it, so all that a page says passes through the escaping templates."""
    views = Path(mechpatch.views.__file__).parent
    for path in [*views.glob("*.py"), *views.glob("report/*.py"), *views.glob("circuits/*.py")]:
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        said = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}  # docstrings may name an element
        texts = [str(node.value) for node in nodes if isinstance(node, ast.Constant) and id(node) not in said]
        assert not [text for text in texts if re.search(r"<[a-zA-Z!/][^<>]*>", text)], path


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
    pair = page.locator(".pair")
    page.locator("[data-switch=split]").select_option(index=1)
    page.locator("[data-choose]").nth(1).click()
    settled(page)
    assert pair.get_attribute("data-pair") == f"{NASTY} 1"
    assert page.evaluate("window.hacked") is None
    assert page.locator("img").count() == 0
    assert page.locator("main b, main script").count() == 0
    assert NASTY.replace("\u2028", "")[:40] in page.locator("main").inner_text()
    assert pair.locator("bdi.pair-id").inner_text().endswith(" 1")
    shown = pair.locator(".question").first
    assert len(shown.inner_text()) < 500
    shown.get_by_role("button", name="show all").click()
    assert len(shown.inner_text()) > 10_000
    assert page.evaluate("document.documentElement.scrollWidth") == 1280
    with page.expect_download() as waiting:
        page.locator("[data-part=run] > summary").click()
        page.locator("[data-part=run] .table > button").first.click()
    assert "window.hacked" in waiting.value.path().read_text(encoding="utf-8-sig")


def test_views_of_a_pair_are_drawn_when_it_is_opened_by_one_script(tmp_path, open_page, monkeypatch):
    run = write_run(tmp_path / "run", make_records(pairs=3, experiments=("layer",)))
    draws = 'document.getElementById(id).textContent = text + "</script>";'
    bundle = f"var Toy = {{render: (id, text) => {{ {draws} }}}}; window.runs = (window.runs || 0) + 1;"
    first = [View("pair-001", NASTY, NASTY, "X", {}), View("pair-001", "second", "", "X", {}, grid=True)]
    views = {"pair-001": first, "pair-002": [View("pair-002", "third", "", "X", {})]}
    monkeypatch.setattr(circuits, "inspection_views", lambda folder: views)
    monkeypatch.setattr(circuits, "bundle", lambda: bundle)
    monkeypatch.setattr(circuits, "STYLE", ".circuits { color: #123456; }")
    drawn = "</script><b>drawn "
    monkeypatch.setattr(circuits, "render_call", lambda view, element: f'Toy.render("{element}", "{drawn}");')
    page = open_page(write_report([run], tmp_path / "report.html"))
    assert page.evaluate("window.runs") is None  # the pair shown first has no views
    page.locator("[data-inspected=pair-002]").click()
    page.locator("#view-2").wait_for()
    page.locator("[data-inspected=pair-001]").click()
    page.locator("#view-0").wait_for()
    assert page.locator("#view-0").inner_text() == "</script><b>drawn </script>"
    assert "circuits-grid" in page.locator("#view-1").get_attribute("class")
    assert page.evaluate("getComputedStyle(document.getElementById('view-0')).color") == "rgb(18, 52, 86)"
    assert page.evaluate("window.runs") == 1
    assert page.evaluate("window.hacked") is None


def test_a_page_without_views_carries_no_bundle(tmp_path):
    run = write_run(tmp_path / "run", make_records(pairs=3, experiments=("layer",)))
    assert 'id="bundle"' not in write_report([run], tmp_path / "report.html").read_text(encoding="utf-8")
