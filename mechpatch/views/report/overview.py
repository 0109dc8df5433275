"""Several studies side by side: the leading cell that each found, experiment by experiment."""

from collections.abc import Iterator, Sequence

from mechpatch.kinds import kind_of
from mechpatch.stats import CellSummary
from mechpatch.views.report.markup import foreign, table, text
from mechpatch.views.report.studies import Study
from mechpatch.views.words.claims import written
from mechpatch.views.words.switching import share

HEADS = ("Runs", "Model", "Experiment", "Direction", "Leading cell", "Switched", "Effect", "95 % interval", "n", "q")


def overview(studies: Sequence[Study]) -> str:
    """A table of the leading cell of every experiment of every study; nothing for a single study."""
    if len(studies) < 2:
        return ""
    rows = [_row(study, cell) for study in studies for cell in _largest(study)]
    return f'<section class="overview"><h2>Side by side</h2>{table("overview", HEADS, rows)}</section>'


def _largest(study: Study) -> Iterator[CellSummary]:
    """The first cell of each experiment and direction: the best thought, if thoughts were written."""
    seen = set()
    for cell in study.summary.top:
        kind = cell.experiment, cell.direction
        if kind not in seen:
            seen.add(kind)
            yield cell


def _row(study: Study, cell: CellSummary) -> list[tuple[str, object]]:
    effect, fingerprint = cell.effect, study.runs[0].spec.get("model", {}).get("fingerprint", "")
    place = f"layer {cell.layer}, {cell.site}" + (f", step {cell.step}" if cell.step else "")
    low, high = written(effect.low), written(effect.high)
    experiment = kind_of(cell.experiment).label
    q = cell.q
    return [
        (foreign(study.name), study.name),
        (f"<code>{foreign(str(fingerprint)[:8])}</code>", fingerprint),
        (text(experiment), experiment),
        (text(cell.direction), cell.direction),
        (text(place), place),
        (text(share(cell.switched)), cell.switched.share),
        (text(written(effect.mean)), effect.mean),
        (text(f"{low} to {high}"), f"{low} to {high}"),
        (text(effect.n), effect.n),
        (text("–" if q is None else "< 0.001" if q < 0.001 else f"{q:.3f}"), q),
    ]
