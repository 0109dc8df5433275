"""One offline page with every view of one or several inspected pairs.

Everything is in the file, and the page forbids itself to ask for anything else.
"""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mechpatch.errors import SpecError
from mechpatch.storage.atomic import write_text
from mechpatch.storage.inspections import read_inspection
from mechpatch.views.circuits import STYLE, bundle, element, panels, render_call
from mechpatch.views.circuits.texts import shown

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
_PAGE_STYLE = """
body { margin: 0 auto; max-width: 1080px; padding: 24px 16px 96px; color: #1a1a1a; }
body { font: 15px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 22px; margin: 32px 0 8px; }
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


def write_page(run_dir: Path, indices: Sequence[int], path: Path) -> Path:
    """Write the page of the inspected pairs `indices` to `path`.

    Raises:
        StorageError: an inspection is missing or damaged, or the page cannot be written.
    """
    if not indices:
        raise SpecError("no pair was named; a page needs at least one")
    heads, calls = [], []
    for index in indices:
        inspection = read_inspection(run_dir, index)
        heads.append(_pair(inspection.about))
        for number, view in enumerate(panels.all_views(inspection)):
            name = f"view-{index}-{number}"
            text = f"<h2>{escape(view.title)}</h2><p>{escape(view.caption)}</p>"
            heads.append(f"<section>{text}{element(view, name)}</section>")
            calls.append(render_call(view, name))
    body, script = "\n".join(heads), "\n".join(calls)
    write_text(
        path,
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>mechpatch inspect</title><style>{_PAGE_STYLE}{STYLE}</style></head>\n<body>\n{body}\n"
        f"<script>{bundle()}</script>\n<script>\n{script}\n</script>\n</body></html>\n",
    )
    return path


def _pair(about: Mapping[str, Any]) -> str:
    """Heading of one pair: both questions with what differs marked, and the three runs in numbers."""
    runs, values = about["runs"], about["answer_logprob_diff"]
    first = min(runs["clean"]["positions"]), min(runs["corrupted"]["positions"])
    clean, corrupted = (runs[name]["tokens"][:end] for name, end in zip(("clean", "corrupted"), first, strict=True))
    cell = about["patched"]
    labels = {
        "clean": "clean run",
        "corrupted": "corrupted run",
        "patched": f"corrupted run, clean vector at layer {cell['layer']}, {cell['site']}",
    }
    clean_answer, corrupted_answer = (escape(shown(about["answers"][name])) for name in ("clean", "corrupted"))
    rows = "".join(
        f"<tr><th>{labels[name]}</th><td>log p({clean_answer}) − "
        f"log p({corrupted_answer}) = {values[name]:+.2f} nats</td></tr>".replace("= -", "= −")
        for name in labels
    )
    questions = "".join(
        f'<tr><th>{name}</th><td dir="auto">{_marked(own, other)}</td></tr>'
        for name, own, other in (("clean", clean, corrupted), ("corrupted", corrupted, clean))
    )
    return f'<h1>Pair {escape(shown(about["pair_id"]))}</h1><table class="pair">{questions}{rows}</table>'


def _marked(own: Sequence[str], other: Sequence[str]) -> str:
    """A question with the tokens marked that lie between what both have at the start and at the end."""
    shorter = min(len(own), len(other))
    start = next((i for i in range(shorter) if own[i] != other[i]), shorter)
    end = next((i for i in range(shorter - start) if own[-1 - i] != other[-1 - i]), shorter - start)
    parts = ["".join(map(shown, part)) for part in (own[:start], own[start : len(own) - end], own[len(own) - end :])]
    before, differs, after = map(escape, parts)
    return f"{before}<mark>{differs}</mark>{after}"
