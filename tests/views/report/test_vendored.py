"""What others wrote stands here unmodified, with its licence, and every file of it is accounted for."""

import hashlib
import re
import runpy
from pathlib import Path

from mechpatch.views.report.page import LIBRARIES

ROOT = Path(__file__).parents[3]
FOUND = runpy.run_path(str(ROOT / "scripts" / "renew_vendored.py"))


def test_every_vendored_file_is_the_one_that_its_row_names():
    for each in FOUND["VENDORED"]:
        path = each.folder / each.name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == each.sha256, path
        licence = path if not each.licence else path.with_suffix(".LICENSE.txt")
        assert re.search("[Pp]ermission|[Ll]icense", licence.read_text(encoding="utf-8")), licence


def test_nothing_else_is_vendored():
    named = {each.folder / each.name for each in FOUND["VENDORED"]}
    there = {path for folder in (FOUND["PAGE"], FOUND["TESTS"]) for path in folder.iterdir()}
    assert {path for path in there if path.suffix == ".js"} == {path for path in named if path.suffix == ".js"}
    assert {FOUND["PAGE"].parent / name for name in LIBRARIES} <= named
