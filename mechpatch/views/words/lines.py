"""A run in three lines: what was done, what was found, and what to distrust.

The finding is told by pairs that switch, at thoughts alone where thoughts were written, beside the strongest control of
the whole map. Where the switch of the leading cell is not clear, the line says that and claims nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mechpatch.catalogue import PAIRED, donor_label, role_of
from mechpatch.formats import percent
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.cells import Group, at_thoughts
from mechpatch.stats.summary_values import Summary
from mechpatch.views.words.claims import FEWEST_PAIRS, called, listed, place
from mechpatch.views.words.switching import GIVEN, controls, share, switch_is_clear, switching

INTO = {"denoise": ("clean", "corrupted"), "noise": ("corrupted", "clean")}


@dataclass(frozen=True, slots=True)
class Lines:
    """The three lines, each one or more sentences."""

    did: str
    found: str
    distrust: str


def lines(summary: Summary) -> Lines:
    """The three lines of a summary made by `summarise`."""
    leading = [*summary.leading()]
    found = " ".join(filter(None, (_found(summary, cell) for cell in leading)))
    return Lines(
        did=" ".join(_did(summary, leading)),
        found=found or summary.note or "Nothing can move: every cell is zero by construction.",
        distrust=" ".join(dict.fromkeys(_distrust(summary, leading)))
        or "Nothing speaks against these numbers but their intervals.",
    )


def _did(summary: Summary, leading: Sequence[CellSummary]) -> Iterator[str]:
    writes: dict[str, list[str]] = {}  # by where and on how many pairs
    for cell in leading:
        source, run = INTO[cell.direction]
        grid, single = _map(summary, cell), cell.experiment == "position"
        layers, columns = len({each.layer for each in grid}), len({(each.site, each.step) for each in grid})
        what = f"one {source} vector at a time" if single else f"{source} vectors"
        how = "" if single else f", by {called(cell.experiment)}"
        where = f"{layers} layers × {columns} {'positions' if single else 'places'}"
        pairs = _pairs(cell.switched.n or summary.counts.used)
        writes.setdefault(f"{where}, {pairs}", []).append(f"{what} into the {run} run{how}")
    for where, what in writes.items():
        yield f"Wrote {listed(what)}: {where}."
    told = {cell.experiment for cell in leading}
    others = [name for name in dict.fromkeys(cell.experiment for cell in summary.cells) if name not in told]
    donors = [donor for donor in dict.fromkeys(cell.donor for cell in summary.cells) if role_of(donor) == "control"]
    yield f"Controls: {listed([donor_label(donor) for donor in donors])}." if donors else "No control was run."
    if others:
        yield f"Also run: {listed([called(name) for name in others])}."


def _found(summary: Summary, cell: CellSummary) -> str:
    if not switch_is_clear(cell):
        return switching(summary, cell.direction)
    source, run = INTO[cell.direction]
    best = [
        each
        for each in _map(summary, cell)
        if at_thoughts(each.site) == at_thoughts(cell.site)
        and each.switched.share == cell.switched.share
        and switch_is_clear(each)
    ]
    if cell.experiment == "position":
        how = f"Writing one {source} vector into the {run} run makes"
        where = _spots(best)
    else:
        how, where = f"With {called(cell.experiment)},", place(cell)
    reached = f"up to {share(cell.switched)} of {cell.switched.n} pairs"
    text = f"{how} {reached} give the {GIVEN[cell.direction]} answer, at {where}."
    return " ".join(filter(None, (text, _strongest_control(summary, cell), _silent(summary, cell))))


def _strongest_control(summary: Summary, leading: CellSummary) -> str:
    """The largest share of any control at any cell of the map."""
    shares = [
        (test.share, donor, cell)
        for cell in _movable(summary, leading)
        for donor, test in cell.switched.beyond.items()
        if donor in controls(cell) and test.share is not None
    ]
    if not shares:
        return ""
    most, donor, cell = max(shares, key=lambda each: each[0])
    if not most:
        return "With the controls none does, at any cell."
    return f"No control exceeds {percent(most)} at any cell ({donor_label(donor)}, {place(cell)})."


def _silent(summary: Summary, leading: CellSummary) -> str:
    """Positions at which no pair switches at any layer that could move, with what so many pairs can exclude."""
    if leading.experiment != "position" or leading.switched.n < FEWEST_PAIRS:
        return ""
    by_site: dict[str, list[CellSummary]] = {}
    for cell in _movable(summary, leading):
        by_site.setdefault(cell.site, []).append(cell)
    silent = [site for site, cells in by_site.items() if not any(cell.switched.count for cell in cells)]
    if not silent:
        return ""
    bounds = [cell.switched.high for site in silent for cell in by_site[site] if cell.switched.high is not None]
    return (
        f"Nothing passes through {listed(silent)} (no pair at any layer; at most {percent(max(bounds))} in each cell)."
    )


def _distrust(summary: Summary, leading: Sequence[CellSummary]) -> Iterator[str]:
    counts, failed = summary.counts, summary.failed()
    if failed:
        names = listed([check.name.replace("_", " ") for check in failed])
        yield f"{len(failed)} of {len(summary.asserted())} checks FAIL, so do not rely on these numbers: {names}."
    if leading and not any(controls(cell) for cell in leading):
        yield "Without a control any vector might do the same; run --nulls other-pair."
    if counts.both_correct < counts.pairs:
        yield (
            f"The unpatched model answers {counts.both_correct} of {counts.pairs} pairs right on both sides; the "
            "others cannot switch and are left out."
        )
    if 0 < counts.switchable < FEWEST_PAIRS:
        yield f"Fewer than {FEWEST_PAIRS} pairs can switch, which makes nothing clear."
    for cell in leading:
        yield from _doubts(summary, cell)
    if counts.undefined_recovery:
        yield f"In {_pairs(counts.undefined_recovery)} the gap is too small for a recovery."


def _doubts(summary: Summary, cell: CellSummary) -> Iterator[str]:
    movable = _movable(summary, cell)
    if cell.switched.count and len(movable) > 1:
        yield (
            f"{share(cell.switched)} is the best of {len(movable)} cells; its interval, {percent(cell.switched.low)} "
            f"to {percent(cell.switched.high)}, does not know that it was picked."
        )
    if cell.neither.count:
        yield f"There {share(cell.neither)} of the pairs give neither answer."
    if structural := sum(each.structural for each in _map(summary, cell)):
        named = "1 cell" if structural == 1 else f"{structural} cells"
        yield f"{named} cannot move by construction (hatched), which is no finding."


def _map(summary: Summary, cell: CellSummary) -> list[CellSummary]:
    """The cells of the effect that are drawn in one map with `cell`."""
    group = _group(cell)._replace(donor=PAIRED)
    return [each for each in summary.cells if _group(each) == group]


def _group(cell: CellSummary) -> Group:
    return Group(*(getattr(cell, name) for name in Group._fields))


def _movable(summary: Summary, cell: CellSummary) -> list[CellSummary]:
    return [each for each in _map(summary, cell) if not each.structural and each.switched.n]


def _spots(cells: Sequence[CellSummary]) -> str:
    """Sites with the layers at which they are: "t4 (layers 0–1) and t3 (layer 3)"."""
    layers: dict[str, list[int]] = {}
    for cell in sorted(cells, key=lambda cell: cell.layer):
        layers.setdefault(cell.site, []).append(cell.layer)
    return listed([f"{site} ({_layers(found)})" for site, found in layers.items()])


def _layers(numbers: Sequence[int]) -> str:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1].append(number)
        else:
            spans.append([number])
    named = ", ".join(f"{span[0]}–{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
    return f"layer{'s' if len(numbers) > 1 else ''} {named}"


def _pairs(count: int) -> str:
    return f"{count} pair{'' if count == 1 else 's'}"
