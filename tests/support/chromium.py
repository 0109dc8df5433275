"""A real browser for pages that must open from a file, and everything that such a page said or asked for."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Drivers report how fast they are as warnings of the page; that is no fault of it.
NO_FAULT = ("GL Driver Message",)


def settled(page: "Page") -> None:
    """Wait until all of a report is drawn anew."""
    page.wait_for_selector("body[aria-busy=false]", state="attached")


def back(page: "Page") -> None:
    """Take the last choice in a report back."""
    page.go_back()
    page.evaluate("new Promise(done => setTimeout(done))")  # the page hears of it in a task of its own
    settled(page)


@dataclass(frozen=True, slots=True)
class Opened:
    """An open page.

    Attributes:
        faults: errors and warnings of its console, and exceptions.
        requests: addresses it asked for, its own left out.
    """

    page: "Page"
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Debian's Chromium, or a skip that says what is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium on this machine; on Debian: apt install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def open_page(browser: "Browser", path: Path, width: int = 1280) -> Opened:
    """Open a file in a window of its own."""
    opened = Opened(browser.new_page(viewport={"width": width, "height": 900}))
    address = path.as_uri()

    def said(message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning") and not any(each in message.text for each in NO_FAULT):
            opened.faults.append(f"{message.type}: {message.text}")

    def asked(request: "Request") -> None:
        if request.url != address:
            opened.requests.append(request.url)

    opened.page.on("console", said)
    opened.page.on("pageerror", lambda error: opened.faults.append(f"exception: {error}"))
    opened.page.on("request", asked)
    opened.page.goto(address)
    return opened
