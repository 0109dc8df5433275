"""Thoughts taken away, counted and swapped: shares of pairs, each with its exact interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mechpatch.catalogue import direction_label, donor_label
from mechpatch.errors import SpecError
from mechpatch.kinds import kind_of
from mechpatch.kinds.cells import ALL, JOIN
from mechpatch.points import POINTS
from mechpatch.stats import groups, select
from mechpatch.stats.answers import AnswerCell, answer_cells, asks_for_answers
from mechpatch.stats.cell_values import Share
from mechpatch.stats.cells import Group
from mechpatch.views.figures.parts import BY_CONSTRUCTION, SEED, add_title, structural_key, wrapped
from mechpatch.views.figures.theme import BLUE, COLUMNS, HATCH, INK, MUTED, RULE, STRUCTURAL, style

GREEN, VERMILION, PURPLE = "#009e73", "#d55e00", "#cc79a7"  # of the palette of `theme.BLUE`
SHARES = {  # by what is asked: which donor and share, its name, colour and marker
    "by number": (
        ("nothing", "kept", "keep their answer", GREEN, "o"),
        ("nothing", "switched", "give the other side's", VERMILION, "s"),
        ("nothing", "neither", "give neither", MUTED, "^"),
    ),
    "necessity": (
        ("zero", "kept", donor_label("zero"), INK, "o"),
        ("mean", "kept", donor_label("mean"), BLUE, "s"),
        ("gaussian", "kept", donor_label("gaussian"), VERMILION, "^"),
        ("other_pair", "kept", donor_label("other_pair"), PURPLE, "D"),
    ),
    "swap": (
        ("other_value", "followed", "follow the donor", BLUE, "o"),
        ("other_value", "kept", "keep their own answer", GREEN, "s"),
        ("other_value", "neither", "give neither side's", MUTED, "^"),
        ("gaussian", "followed", "follow, with Gaussian", VERMILION, "x"),
    ),
}
ASKED = {
    "necessity": "Pairs that keep their answer",
    "count": "Answers by number of thoughts",
    "early": "Answers when asked after each thought",
    "swap": "Whose answer is given",
}
PANELS = 4  # layers that are drawn, at most
PANEL_HEIGHT = {"single": 1.5, "double": 1.7}  # inches


@dataclass(frozen=True, slots=True)
class _Series:
    """One share at each place of a panel; None where it was not run."""

    name: str
    colour: str
    marker: str
    shares: Sequence[Share | None]


def answer_figure(
    table: pa.Table, experiment: str, direction: str, hook: str = "thought", column: str = "double"
) -> Figure:
    """The shares of one experiment that asks for answers; a panel for each layer, of many layers for four of them.

    Args:
        column: how wide it is: a key of `COLUMNS`.

    Raises:
        SpecError: the table has no such experiment.
    """
    asked = experiment, direction, hook
    found = [each for each in groups(table) if (each.experiment, each.direction, each.hook) == asked]
    if experiment not in ASKED or not found:
        known = "; ".join(map(", ".join, answer_groups(groups(table)))) or "none"
        raise SpecError(
            f"the records have no answers of {', '.join(asked)}; expected one of those that were run: {known}"
        )
    cells = [*answer_cells({each: select(table, each) for each in found}, SEED)]
    layers = sorted({cell.layer for cell in cells if not cell.structural}) or [cells[0].layer]
    drawn = [layers[at] for at in sorted({*np.linspace(0, len(layers) - 1, PANELS).round().astype(int).tolist()})]
    places = list(dict.fromkeys((cell.site, cell.step) for cell in cells if _is_told(cell)))
    places.sort(key=lambda place: _order(experiment, place))
    width, pairs = COLUMNS[column], max(cell.kept.n for cell in cells)
    where = f", {POINTS[hook].label}" if POINTS[hook].hooks and experiment in ("necessity", "swap") else ""
    told = "" if experiment in ("count", "early") else direction_label(direction).split(" into ")[-1]
    notes = [f"{pairs} pairs that the model gets right on both sides; bars: exact 95 % intervals"]
    notes += [f"written into {told}"] if told else []
    notes += [f"layers {', '.join(map(str, drawn))} of {len(layers)}"] if len(drawn) < len(layers) else []
    title, notes = wrapped(f"{ASKED[experiment]}{where}", notes, width - 0.5)
    with style():
        high = PANEL_HEIGHT[column] * len(drawn) + 1.3
        figure = Figure(figsize=(width, high), layout="constrained")
        panels = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
        constructed = False
        for panel, layer in zip(panels, drawn, strict=True):
            of_layer = {(cell.site, cell.step, cell.donor): cell for cell in cells if cell.layer == layer}
            series = [
                _Series(name, colour, marker, [_share(of_layer.get((*place, donor)), share) for place in places])
                for donor, share, name, colour, marker in SHARES.get(experiment, SHARES["by number"])
            ]
            _draw(panel, [each for each in series if any(each.shares)], joined=experiment in ("count", "early"))
            dead = [_cannot_move(of_layer, place) for place in places]
            for at in np.flatnonzero(dead):
                panel.axvspan(at - 0.5, at + 0.5, facecolor=STRUCTURAL, hatch=HATCH, linewidth=0, zorder=0)
            constructed = constructed or any(dead)
            if len(layers) > 1:
                panel.set_ylabel(f"Layer {layer}")
        if len(layers) == 1:
            panels[0].set_ylabel("Pairs")
        names = [_named(experiment, place) for place in places]
        crowded = len(names) * max(map(len, names)) * 0.075 > width - 0.8
        panels[-1].set_xticks(range(len(names)), names, rotation=90 if crowded else 0, fontsize=7)
        panels[-1].set_xlabel(kind_of(experiment).across)
        add_title(panels[0], title, notes)
        handles, labels = panels[0].get_legend_handles_labels()
        if constructed:
            handles, labels = [*handles, structural_key()], [*labels, BY_CONSTRUCTION]
        figure.legend(handles, labels, loc="outside lower left", ncols=4 if column == "double" else 2)
    return figure


def answer_groups(found: Sequence[Group]) -> list[tuple[str, str, str]]:
    """Experiment, direction and hook point of the figures that there are, each once."""
    told = [each for each in found if asks_for_answers(each) and each.experiment in ASKED]
    return list(dict.fromkeys((each.experiment, each.direction, each.hook) for each in told))


def _draw(axes: Axes, series: Sequence[_Series], joined: bool) -> None:
    """Dots with intervals, side by side; those of numbers of thoughts are joined by a line."""
    axes.axhline(0, color=RULE, linewidth=0.8, zorder=0)
    reach = 0.05 if joined else 0.21  # a number of thoughts is a place on an axis
    aside = np.linspace(-reach, reach, len(series)) if len(series) > 1 else np.zeros(len(series))
    for shift, each in zip(aside, series, strict=True):
        at = np.arange(len(each.shares)) + shift
        mean, low, high = (
            np.array([np.nan if share is None else getattr(share, name) for share in each.shares], dtype=float)
            for name in ("share", "low", "high")
        )
        axes.errorbar(
            at, mean, yerr=(mean - low, high - mean), color=each.colour, marker=each.marker, markersize=3.2,
            linestyle="-" if joined else "none", linewidth=0.9, elinewidth=0.8, label=each.name,
        )  # fmt: skip
    axes.set_ylim(-0.04, 1.04)
    axes.set_xlim(-0.6, max([len(each.shares) for each in series], default=1) - 0.4)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0, " %"))


def _share(cell: AnswerCell | None, name: str) -> Share | None:
    if cell is None or cell.structural:
        return None
    share: Share = getattr(cell, name)
    return share if share.n else None


def _cannot_move(cells: Mapping[tuple[str, int, str], AnswerCell], place: tuple[str, int]) -> bool:
    """Whether nothing that was written at a place can move anything."""
    there = [cell for (site, step, _), cell in cells.items() if (site, step) == place]
    return bool(there) and all(cell.structural for cell in there)


def _is_told(cell: AnswerCell) -> bool:
    """A thought and step of a swap for which some pair has an expected answer; every cell of the others."""
    return cell.experiment != "swap" or (cell.donor == "other_value" and bool(cell.followed.n))


def _order(experiment: str, place: tuple[str, int]) -> tuple[int, int, int]:
    """Single thoughts, then the first ones, then all; of a swap all first, then thought by thought, step by step."""
    site, step = place
    thoughts = site.split(JOIN)
    first = int(thoughts[0][1:]) if site != ALL else 0
    if experiment == "swap":
        return (int(site != ALL), first, step)
    if experiment == "necessity":
        return (2 if site == ALL else int(len(thoughts) > 1), len(thoughts), first)
    return (0, step, 0)


def _named(experiment: str, place: tuple[str, int]) -> str:
    site, step = place
    if experiment in ("count", "early"):
        return str(step)
    if site == ALL:
        return "all"
    thoughts = site.split(JOIN)
    named = site if len(thoughts) == 1 else f"{thoughts[0]}–{thoughts[-1]}"
    return f"{named}, {step}" if experiment == "swap" else named
