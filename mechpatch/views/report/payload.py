"""What the page's script is given: one JSON value that holds every number the figures show."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.colors import Colormap, to_hex

from mechpatch.catalogue import DIRECTIONS, DONORS, MEASURES, Measure, is_null, role_of
from mechpatch.kinds import all_kinds
from mechpatch.points import POINTS
from mechpatch.stats.cell_values import CellSummary
from mechpatch.stats.cells import Column, Group
from mechpatch.stats.typical_pairs import typical_pairs
from mechpatch.views.figures.theme import colours, layer_colours
from mechpatch.views.report.comparison import describe_comparisons
from mechpatch.views.report.fields import describe_fields
from mechpatch.views.report.grids import describe_grids
from mechpatch.views.report.methods import describe_methods
from mechpatch.views.report.pairs import describe_pairs
from mechpatch.views.report.strongest import shown_columns
from mechpatch.views.report.studies import Study
from mechpatch.views.report.tables import describe_tables

SAMPLES = 33  # of a colour map; odd, so that the neutral middle is one of them


def build_payload(
    studies: Sequence[Study],
    views: Sequence[dict[str, list[dict[str, str]]]],
    differences: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Words and colours of the house, and the numbers of every study.

    Args:
        views: the views of single pairs for each study (see `embedded`).
        differences: see `describe_differences`.
    """
    return {
        "words": {
            "metrics": {name: asdict(metric) | {"axis": metric.axis} for name, metric in MEASURES.items()},
            "experiments": {
                name: {"label": kind.label, "drawing": kind.drawing, "across": kind.across, "up": kind.up}
                for name, kind in all_kinds().items()
            },
            "hooks": {name: point.label for name, point in POINTS.items()},
            "parts": {name: point.part for name, point in POINTS.items()},
            "directions": DIRECTIONS,
            "donors": {
                name: {"label": donor.label, "role": role_of(name), "null": is_null(name)}
                for name, donor in DONORS.items()
            },
        },
        "theme": {
            "diverging": _samples(colours(Measure(label="", signed=True), np.zeros(1))[0]),
            "sequential": _samples(colours(Measure(label=""), np.zeros(1))[0]),
            "layers": _samples(layer_colours()),
        },
        "studies": [describe_study(study, placed) for study, placed in zip(studies, views, strict=True)],
        "differences": [{name: value for name, value in each.items() if name != "said"} for each in differences],
    }


def describe_study(study: Study, views: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    """The numbers of one study; see the modules that make each part."""
    pairs = describe_pairs(study.table, study.pairs)
    fields = describe_fields(study.table, [pair["index"] for pair in pairs])
    shown = shown_columns(study.table, study.summary.include_incorrect)
    leading = next(iter(study.summary.leading()), None)
    return {
        "name": study.name,
        "include_incorrect": study.summary.include_incorrect,
        "pairs": pairs,
        "fields": fields,
        "grids": describe_grids(study.table, shown),
        "tables": describe_tables(study, fields, shown),
        "comparisons": describe_comparisons(study.table, study.summary.seed),
        "leading": leading and {name: getattr(leading, name) for name in (*Group._fields, "layer", *Column._fields)},
        "methods": describe_methods(study),
        "typical": {cell.direction: _typical(study, cell) for cell in study.summary.leading()},
        "views": views,
    }


def _typical(study: Study, leading: CellSummary) -> list[dict[str, str]]:
    """The pair that is shown first, and one that fails where that one does not, each with the reason."""
    names = dict(zip(study.table["pair_index"].to_pylist(), study.table["pair_id"].to_pylist(), strict=True))
    return [{"pair": names[each.index], "why": each.why} for each in typical_pairs(study.table, leading, 2)]


def _samples(colour_map: Colormap) -> list[str]:
    return [to_hex(colour_map(at)) for at in np.linspace(0, 1, SAMPLES)]
