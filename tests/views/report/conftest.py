"""A real browser for reports, and what it must never do: an error in the console, a request that leaves the page."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

OPEN = 60_000  # milliseconds; a machine that does other things is slow

# A page draws what is not seen at once a little later. Here that is always late, as it is on a busy machine, so that
# a test that reads without waiting fails everywhere. What a late task puts off itself comes at once.
LATE = """{
  const plain = window.setTimeout;
  let inside = false;
  const within = (task) => (...given) => {
    inside = true;
    try { task(...given); } finally { inside = false; }
  };
  const late = (delay) => (inside ? delay : Math.max(delay, 100));
  window.setTimeout = (task, delay = 0, ...given) => plain(within(task), late(delay), ...given);
}"""


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a report from its file and waits until it is drawn; at the end nothing may have gone wrong or out."""
    pages, problems = [], []

    def opened(path: Path, width: int = 1280, height: int = 900) -> Any:
        page = browser.new_page(viewport={"width": width, "height": height})
        pages.append(page)
        page.add_init_script(LATE)
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: _record(request.url, path, problems))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("html[data-ready]", state="attached", timeout=OPEN)
        page.set_default_timeout(OPEN)
        page.problems = problems
        return page

    yield opened
    for page in pages:
        page.close()
    assert not problems


def _record(url: str, path: Path, problems: list[str]) -> None:
    if url != path.resolve().as_uri() and not url.startswith(("data:", "blob:")):
        problems.append(f"request: {url[:200]}")
