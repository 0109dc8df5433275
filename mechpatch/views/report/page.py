"""The page: one HTML file with its style, scripts and data inlined, and a policy that forbids it any network."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from mechpatch.storage.atomic import write_text, writing
from mechpatch.views.html import render
from mechpatch.views.report.differences import describe_differences
from mechpatch.views.report.embedded import Embedded, collect
from mechpatch.views.report.overview import overview
from mechpatch.views.report.payload import build_payload
from mechpatch.views.report.sections import study_page
from mechpatch.views.report.studies import Study, read_studies

# Others' code, unmodified; scripts/renew_vendored.py says which versions and renews them.
LIBRARIES = ("vendor/d3.min.js", "vendor/plot.min.js", "vendor/htm-preact.min.js")
SCRIPTS = (
    *("data.js", "state.js", "figure.js", "tables.js", "map.js"),
    *("distribution.js", "pair.js", "differences.js", "curves.js", "main.js"),
)


def write_report(runs: Sequence[Path], out: Path) -> Path:
    """Write the report of the finished runs in the directories `runs` to `out`, and return `out`.

    Raises:
        SpecError: no run is named, or one is named twice.
        StorageError: a run is not finished or is damaged, or `out` cannot be written.
    """
    studies = read_studies(runs)
    embedded = collect([[run.folder for run in study.runs] for study in studies])
    page = render_page(studies, embedded)
    with writing(out.parent):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_text(out, page)
    return out


def render_page(studies: Sequence[Study], embedded: Embedded) -> str:
    """The whole page as text."""
    differences = describe_differences(studies)
    return render(
        "mechpatch.views.report",
        "page.html",
        names=[study.name for study in studies],
        style=_static("report.css") + embedded.style,
        overview=overview(studies),
        studies=[study_page(study, at, differences) for at, study in enumerate(studies)],
        payload=build_payload(studies, embedded.placed, differences),
        libraries=[_static(name) for name in LIBRARIES],
        bundle=embedded.script,
        code='"use strict";(async () => {' + "".join(map(_static, SCRIPTS)) + "})();",
    )


def _static(name: str) -> str:
    return files("mechpatch.views.report").joinpath("static", *name.split("/")).read_text(encoding="utf-8")
