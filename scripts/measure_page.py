"""How large a report is, how soon it is ready, and how long the longest task is when its pairs are split.

python scripts/measure_page.py report.html
"""

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

WATCH = """() => {
    window.longest = 0;
    const watch = list => list.getEntries().forEach(each => { longest = Math.max(longest, each.duration); });
    new PerformanceObserver(watch).observe({ type: "longtask" });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    path = parser.parse_args().page.resolve()
    said = [f"{path.name}: {path.stat().st_size / 1e6:.2f} MB"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1600, "height": 1000})
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        said.append(f"ready after {page.evaluate('document.documentElement.dataset.ready')} ms")
        for switch in ("split", "metric", "direction", "experiment"):
            menu = page.locator(f".study:not([hidden]) [data-switch={switch}]")
            options = [each.get_attribute("value") for each in menu.locator("option").all()] if menu.count() else []
            for option in options:
                page.evaluate(WATCH)
                menu.select_option(option)
                page.wait_for_timeout(300)
                said.append(f"{switch} {option or '(nothing)'}: longest task {page.evaluate('longest'):.0f} ms")
            if switch == "split" and options:
                menu.select_option("")
        browser.close()
    print(*said, "0 ms: none of 50 ms or more", sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
