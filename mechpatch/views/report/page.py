"""The page: one HTML file with its style, scripts and data inlined, and a policy that forbids it any network."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from mechpatch.storage.atomic import write_text, writing
from mechpatch.views.report.embedded import Embedded, Source, collect, default_source
from mechpatch.views.report.markup import deferred_script, foreign, inlined, script, script_data, text
from mechpatch.views.report.overview import overview
from mechpatch.views.report.payload import build_payload
from mechpatch.views.report.sections import study_section
from mechpatch.views.report.studies import Study, read_studies

# Everything stands in the page: `data:` and `blob:` serve the figures' own image export.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "font-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
)
# Maps and curves of plotly.js 4.1.1, as the npm package plotly.js-cartesian-dist-min carries them: a browser reads the
# whole library for a second longer.
LIBRARY = "plotly-cartesian.min.js"
SCRIPTS = ("data.js", "stats.js", "figures.js", "heatmap.js", "curves.js", "tables.js", "pairs.js", "main.js")


def write_report(runs: Sequence[Path], out: Path, source: Source | None = None) -> Path:
    """Write the report of the finished runs in the directories `runs` to `out`, and return `out`.

    Args:
        source: views of single pairs; by default those that `mechpatch inspect` stored in the runs.

    Raises:
        SpecError: no run is named, or one is named twice.
        StorageError: a run is not finished or is damaged, or `out` cannot be written.
    """
    studies = read_studies(runs)
    folders = [[run.folder for run in study.runs] for study in studies]
    page = render(studies, collect(folders, source or default_source()))
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def render(studies: Sequence[Study], embedded: Embedded) -> str:
    """The whole page as text."""
    title = f"mechpatch: {', '.join(study.name for study in studies)}"
    tabs = ""
    if len(studies) > 1:
        buttons = "".join(
            f'<button type="button" role="tab" data-tab="{at}" aria-selected="{"false" if at else "true"}">'
            f"{foreign(study.name)}</button>"
            for at, study in enumerate(studies)
        )
        tabs = f'<div class="tabs" role="tablist">{buttons}</div>'
    sections = "".join(study_section(study, at, hidden=at > 0) for at, study in enumerate(studies))
    calls = ",".join(f'"{element}":()=>{{{inlined(call)}}}' for element, call in embedded.calls.items())
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{text(POLICY)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="mechpatch">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>{_static("report.css")}{embedded.style.replace("</", "")}</style>
</head>
<body>
<header><h1>Which layer at which thought carries the answer?</h1>
<p class="origin">mechpatch report of {foreign("; ".join(study.name for study in studies))}</p>
{overview(studies)}{tabs}</header>
<main>{sections}</main>
<noscript><p>Figures and tables of this page need JavaScript; the text above does not.</p></noscript>
{script_data("payload", build_payload(studies, embedded.placed))}
{script(_static(LIBRARY))}
{deferred_script("bundle", embedded.bundle) if embedded.bundle else ""}
<script>const EMBEDDED = {{{calls}}};</script>
{script('"use strict";(() => {' + "".join(map(_static, SCRIPTS)) + "})();")}
</body>
</html>
"""


def _static(name: str) -> str:
    return files("mechpatch.views.report").joinpath("static", name).read_text(encoding="utf-8")
