"""What was read in the thoughts of a study's runs, as tables that need no script: the lens beside the causal map."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from mechpatch.catalogue import PAIRED
from mechpatch.formats import capital
from mechpatch.points import RESID_POST
from mechpatch.reprs import short_repr
from mechpatch.stats.attention import AttentionSummary, summarise_attention
from mechpatch.stats.clear import is_clear
from mechpatch.stats.finished import FinishedRun
from mechpatch.stats.lens import SIDES, LensSummary, summarise_lens
from mechpatch.stats.probes import ProbeSummary, summarise_probes
from mechpatch.stats.summary_values import Summary
from mechpatch.storage.readings import has_reading, read_reading
from mechpatch.views.report.studies import Study
from mechpatch.views.told import told
from mechpatch.views.words.attention import attention_lines, group_label
from mechpatch.views.words.lens import hit, lens_lines, target_label
from mechpatch.views.words.probes import probe_label, probe_lines

SIDE, FED = "clean", "fed"
OTHER = "corrupted_answer"  # of the side that is not shown
CAUSAL = (
    " The last map is the run’s own: pairs that switch where the clean vector is written; hatched cells cannot move by "
    "construction."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatCell:
    """One share: whether it is clear, and whether it is zero by construction."""

    share: float | None
    clear: bool = False
    structural: bool = False

    @property
    def text(self) -> str:
        """Whole percents, without the sign."""
        return "–" if self.share is None else f"{100 * self.share:.0f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatTable:
    """A map as a table; a cell that was not looked at is None."""

    title: str
    corner: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[HeatCell | None]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPart:
    """One reading of one run: its lines, what the maps show, and the maps."""

    title: str
    told: Markup
    caption: str
    maps: Sequence[HeatTable]

    __repr__ = short_repr


def reading_parts(study: Study) -> list[ReadingPart]:
    """Every reading of the runs of a study. Raises `StorageError` for one that is damaged."""
    return [part for run in study.runs for part in _parts(run, study.summary.include_incorrect)]


def _parts(run: FinishedRun, include_incorrect: bool) -> Iterator[ReadingPart]:
    of = run.spec["model"]["fingerprint"]
    if has_reading(run.folder, "lens"):
        table, about = read_reading(run.folder, "lens")
        if about["model"] == of:  # a run in the place of another one has a reading of its own, or none
            found = summarise_lens(table, include_incorrect=include_incorrect)
            causal = _causal_map(found, run.summary)
            yield ReadingPart(
                title="Lens: where a value can be read, and where it matters",
                told=told(lens_lines(found, run.summary, bool(about.get("tuned")))),
                caption=f"Share of {found.used} pairs, in percent, whose value is {hit(found)} at a layer (upwards) "
                f"and position, clean questions. Bold is beyond every control.{CAUSAL if causal else ''}",
                maps=[*_lens_maps(found), *causal],
            )
    if has_reading(run.folder, "probe"):
        table, about = read_reading(run.folder, "probe")
        if about["model"] == of:
            found = summarise_probes(table, include_incorrect)
            causal = _causal_map(found, run.summary)
            yield ReadingPart(
                title="Probes: what a linear readout finds, and where it matters",
                told=told(probe_lines(found, run.summary)),
                caption=f"R² (numbers) or accuracy (classes) in percent on questions of {found.used} pairs that did "
                "not train the probe, by layer (upwards) and position; below zero is shown as zero. Bold is beyond "
                f"shuffled labels.{CAUSAL if causal else ''}",
                maps=[*_probe_maps(found), *causal] if found.used else [],
            )
    if has_reading(run.folder, "attention"):
        table, about = read_reading(run.folder, "attention")
        if about["model"] == of:
            found = summarise_attention(table, SIDE, include_incorrect)
            yield ReadingPart(
                title="Attention: what thoughts and answer rest on",
                told=told(attention_lines(found)),
                caption=f"Share of attention in percent, mean over layers, heads and {found.used} pairs, clean "
                "questions: a row is who looks, a column what is looked at.",
                maps=[_attention_map(found)] if found.used else [],
            )


def _lens_maps(found: LensSummary) -> list[HeatTable]:
    cells = found.of(SIDE)
    rows, sites = _axes(found)
    targets = sorted({cell.target for cell in cells} - {OTHER}, key=lambda name: (not name.startswith("step"), name))
    return [
        _heat(
            capital(target_label(target)),
            {
                (_row(cell.hook, cell.layer), cell.site): HeatCell(share=cell.hits.share, clear=cell.clear)
                for cell in cells
                if cell.target == target
            },
            rows,
            sites,
        )
        for target in targets
    ]


def _probe_maps(found: ProbeSummary) -> list[HeatTable]:
    rows, sites = _axes(found)
    return [
        _heat(
            capital(probe_label(target)),
            {
                (_row(cell.hook, cell.layer), cell.site): HeatCell(
                    share=None if cell.score.mean is None else max(0.0, cell.score.mean), clear=cell.clear
                )
                for cell in found.cells
                if cell.target == target
            },
            rows,
            sites,
        )
        for target in dict.fromkeys(cell.target for cell in found.cells)
    ]


def _causal_map(found: LensSummary | ProbeSummary, run: Summary) -> list[HeatTable]:
    """The map of single positions, where it was run."""
    rows, sites = _axes(found)
    cells = {
        (_row(cell.hook, cell.layer), cell.site): HeatCell(
            share=cell.switched.share, clear=is_clear(cell), structural=cell.structural
        )
        for cell in run.cells
        if (cell.experiment, cell.donor, cell.head) == ("position", PAIRED, None)
        and SIDES[cell.direction] == SIDE
        and cell.hook in (RESID_POST, "thought")
    }
    return [_heat("Written: pairs that switch", cells, rows, sites)] if cells else []


def _attention_map(found: AttentionSummary) -> HeatTable:
    return HeatTable(
        title="",
        corner="",
        heads=[group_label(group) for group in found.groups],
        rows=[(site, [HeatCell(share=found.mean[site, group].mean) for group in found.groups]) for site in found.sites],
    )


def _axes(found: LensSummary | ProbeSummary) -> tuple[list[str], list[str]]:
    """Rows from the last layer down, the fed-back thoughts below them; and sites along the sequence."""
    cells = found.of(SIDE)
    layers = sorted({cell.layer for cell in cells if cell.hook == RESID_POST}, reverse=True)
    fed = [FED] if any(cell.hook != RESID_POST for cell in cells) else []
    return [*map(str, layers), *fed], list(dict.fromkeys(cell.site for cell in cells if cell.hook == RESID_POST))


def _row(hook: str, layer: int) -> str:
    return str(layer) if hook == RESID_POST else FED


def _heat(
    title: str, cells: Mapping[tuple[str, str], HeatCell], rows: Sequence[str], sites: Sequence[str]
) -> HeatTable:
    found = [(row, [cells.get((row, site)) for site in sites]) for row in rows]
    return HeatTable(title=title, corner="Layer", heads=sites, rows=found)
