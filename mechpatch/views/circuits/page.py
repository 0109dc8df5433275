"""One offline page with every view of one or several inspected pairs.

Everything is in the file, and the page forbids itself to ask for anything else.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mechpatch.errors import SpecError
from mechpatch.formats import written
from mechpatch.sequences import common_ends
from mechpatch.storage.atomic import write_text
from mechpatch.storage.inspections import read_inspection
from mechpatch.views.circuits import STYLE, bundle, element, panels, render_call
from mechpatch.views.circuits.texts import shown
from mechpatch.views.html import render
from mechpatch.views.told import told
from mechpatch.views.words.lines import Lines

_PAGE_STYLE = """
body { margin: 0 auto; max-width: 1080px; padding: 24px 16px 96px; color: #1a1a1a; }
body { font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 22px; margin: 32px 0 8px; }
.lines dt { font-weight: 600; color: #555; } .lines dd { margin: 0 0 6px; }
section { margin: 36px 0 0; border-top: 1px solid #c8c8c8; padding-top: 12px; }
section > h2 { font-size: 16px; margin: 0 0 4px; }
section > p { margin: 0 0 12px; color: #555; font-size: 13px; max-width: 90ch; }
table.pair { border-collapse: collapse; margin: 8px 0; }
table.pair td, table.pair th { text-align: left; vertical-align: top; padding: 3px 14px 3px 0; }
table.pair td { overflow-wrap: anywhere; }
table.pair th { font-weight: 600; white-space: nowrap; }
@media (max-width: 640px) { table.pair th, table.pair td { display: block; padding: 2px 0; white-space: normal; } }
mark { background: #ffe08a; padding: 0 1px; }
"""


def write_page(run_dir: Path, indices: Sequence[int], path: Path, lines: Lines | None = None) -> Path:
    """Write the page of the inspected pairs `indices` to `path`, under the three lines of their run, if they are given.

    Raises:
        StorageError: an inspection is missing or damaged, or the page cannot be written.
    """
    if not indices:
        raise SpecError("no pair was named; a page needs at least one")
    pairs, calls = [], []
    for index in indices:
        inspection = read_inspection(run_dir, index)
        views = [(f"view-{index}-{number}", view) for number, view in enumerate(panels.all_views(inspection))]
        calls += [render_call(view, name) for name, view in views]
        placed = [
            {"title": view.title, "caption": view.caption, "element": Markup(element(view, name))}
            for name, view in views
        ]
        pairs.append(_pair(inspection.about) | {"views": placed})
    values = {
        "told": told(lines) if lines else "",
        "pairs": pairs,
        "calls": calls,
        "bundle": bundle(),
        "style": _PAGE_STYLE + STYLE,
    }
    write_text(path, render("mechpatch.views.circuits", "page.html", **values))
    return path


def _pair(about: Mapping[str, Any]) -> dict[str, Any]:
    """What stands above the views of one pair: both questions with what differs marked, the three runs in numbers."""
    runs, differences, cell = about["runs"], about["answer_logprob_diff"], about["patched"]
    clean, corrupted = (runs[name]["tokens"][: min(runs[name]["positions"])] for name in ("clean", "corrupted"))
    labels = {
        "clean": "clean run",
        "corrupted": "corrupted run",
        "patched": f"corrupted run, clean vector at layer {cell['layer']}, {cell['site']}",
    }
    start, end = common_ends(clean, corrupted)
    return {
        "name": shown(about["pair_id"]),
        "why": about.get("why", ""),
        "answers": [shown(about["answers"][name]) for name in ("clean", "corrupted")],
        "questions": [
            (name, ["".join(map(shown, part)) for part in (tokens[:start], tokens[start:stop], tokens[stop:])])
            for name, tokens, stop in (
                ("clean", clean, len(clean) - end),
                ("corrupted", corrupted, len(corrupted) - end),
            )
        ],
        "differences": [(label, written(differences[name], "+.2f")) for name, label in labels.items()],
    }
