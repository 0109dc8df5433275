"""Inspection pages in a real browser: they draw, answer the mouse, ask for nothing, and obey nobody's question."""

import re
from pathlib import Path
from typing import Any

import pytest
from chromium import Opened, open_page
from inspections import hostile_inspection, tiny_inspection

from mechpatch.storage.inspections import write_inspection
from mechpatch.views import circuits
from mechpatch.views.circuits import panels
from mechpatch.views.circuits.page import write_page

PAGES = {
    "latent": tiny_inspection,
    "text": lambda: tiny_inspection("text", 2),
    "placeholder": lambda: tiny_inspection("placeholder", 1),
    "hostile": hostile_inspection,
}
# Something that can be seen in every view: text on a colour, or a canvas that is not of one colour.
DRAWN = """
() => [...document.querySelectorAll('.circuits')].map(place => {
    const seen = [...place.querySelectorAll('span > span')].filter(each => each.innerText.trim() && each.offsetWidth);
    const drawn = [...place.querySelectorAll('canvas')].filter(each => {
        if (!each.width) return false;
        // A copy, because the browser warns of reading the same canvas again and again.
        const copy = new OffscreenCanvas(64, 64).getContext('2d', { willReadFrequently: true });
        copy.drawImage(each, 0, 0, 64, 64);
        const data = copy.getImageData(0, 0, 64, 64).data;
        return new Set(new Uint32Array(data.buffer)).size > 2;
    });
    const colours = new Set(seen.map(each => getComputedStyle(each).backgroundColor));
    return Math.max(drawn.length, seen.length > 5 && colours.size > 1 ? seen.length : 0);
})
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name, make in PAGES.items():
        folder = tmp_path_factory.mktemp(name)
        write_inspection(folder, 0, make())
        found[name] = write_page(folder, [0], folder / "a page & more.html")
    return found


def opened(browser, path: Path, width: int = 1280) -> Opened:
    found = open_page(browser, path, width)
    for _ in range(100):  # the page's own policy forbids the driver to wait inside it
        if all(found.page.evaluate(DRAWN)):
            break
        found.page.wait_for_timeout(100)
    return found


def said(place: Any, start: str) -> None:
    """Wait until a place's text begins so: what the mouse moves is drawn a little later."""
    place.filter(has_text=re.compile(rf"^\s*{start}", re.DOTALL)).wait_for()


@pytest.mark.parametrize(
    ("name", "width"), [*((name, 1280) for name in PAGES), ("latent", 400), ("hostile", 400)], ids=str
)
def test_every_view_is_drawn_and_nothing_else_happens(browser, pages: dict[str, Path], name: str, width: int):
    found = opened(browser, pages[name], width)
    drawn = found.page.evaluate(DRAWN)
    assert len(drawn) == 9
    assert all(drawn)
    assert drawn[6] == drawn[7] == 1 + 1 + 12  # the enlarged pattern, the mean, and 3 layers of 4 heads
    assert found.page.evaluate("window.obeyed") is None
    assert found.page.evaluate("document.images.length") == 0
    assert found.page.evaluate("document.documentElement.scrollWidth") <= width
    assert not found.faults
    assert not found.requests
    found.page.close()


def test_a_page_that_asks_or_fails_is_noticed(browser, tmp_path: Path):
    path = tmp_path / "page.html"
    path.write_text('<img src="http://127.0.0.1:9/x.png"><script>window.obeyed = 1; fail()</script>')
    found = open_page(browser, path)
    found.page.wait_for_load_state()
    assert found.requests == ["http://127.0.0.1:9/x.png"]
    assert any("fail is not defined" in each for each in found.faults)
    assert found.page.evaluate("window.obeyed") == 1
    found.page.close()


def test_views_answer_the_mouse(browser, pages: dict[str, Path]):
    found = opened(browser, pages["latent"])
    views = found.page.locator(".circuits")
    effect, lens, attention, heads = (views.nth(i) for i in (0, 2, 5, 6))
    before = effect.inner_html()
    effect.get_by_text("layer 1").click()
    assert effect.inner_html() != before
    effect.get_by_text("[t1]").hover()
    said(effect.locator("table"), "largest")
    lens.locator("span:visible").nth(30).hover()
    said(lens.locator("table"), "Rank")
    said(lens.locator("[data-popper-interactive]"), ".*clean\u00a0run,\u00a0layer")
    before = attention.inner_html()
    attention.locator("select").nth(1).select_option("2")
    assert attention.inner_html() != before
    heads.get_by_text("L1H2").hover()
    heads.get_by_text("L1H2 Zoomed").wait_for()
    assert not found.faults
    found.page.close()


def test_notebook_objects_draw_themselves(browser, tmp_path: Path):
    inspection = hostile_inspection()
    shows = (
        circuits.logit_lens(inspection),
        circuits.head_attention(inspection, 1),
        circuits.effect_tokens(inspection),
    )
    path = tmp_path / "notebook.html"
    path.write_text('<meta charset="utf-8">' + "".join(each._repr_html_() for each in shows))
    found = opened(browser, path)
    drawn = found.page.evaluate(DRAWN)
    assert len(drawn) == 3
    assert all(drawn)
    assert found.page.evaluate("window.obeyed") is None
    assert not found.faults
    assert not found.requests
    found.page.close()


@pytest.mark.parametrize("style", ["display: none", "width: 0"])
def test_a_pattern_that_was_drawn_out_of_sight_has_its_size_when_it_is_seen(browser, tmp_path: Path, style: str):
    view, path = panels.thought_attention(tiny_inspection(), "clean"), tmp_path / "page.html"
    path.write_text(
        f'<meta charset="utf-8"><style>{circuits.STYLE}</style>'
        f'<div id="place" style="{style}">{circuits.element(view, "x")}</div>'
        f"<script>{circuits.bundle()}</script><script>{circuits.render_call(view, 'x')}</script>"
    )
    found = open_page(browser, path)
    canvas = found.page.locator("canvas").last
    canvas.wait_for(state="attached")
    found.page.evaluate("place.style = ''")
    for _ in range(50):
        if canvas.evaluate("each => each.getBoundingClientRect().width") > 300:
            break
        found.page.wait_for_timeout(100)
    assert canvas.evaluate("each => each.getBoundingClientRect().width") == pytest.approx(520, abs=2)
    found.page.close()
