"""What the page's script is given: one JSON value that holds every number the figures show."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from matplotlib.colors import Colormap, to_hex

from mechpatch.catalogue import DIRECTIONS, DONORS, MEASURES, Measure, role_of
from mechpatch.kinds import KINDS
from mechpatch.views.figures.theme import (
    BLUE,
    HATCH_INK,
    INK,
    MUTED,
    RULE,
    STRUCTURAL,
    colours,
    layer_colours,
)
from mechpatch.views.report.comparison import describe_comparisons
from mechpatch.views.report.fields import describe_fields
from mechpatch.views.report.grids import describe_grids
from mechpatch.views.report.pairs import describe_pairs
from mechpatch.views.report.studies import Study

SAMPLES = 33  # of a colour map; odd, so that the neutral middle is one of them


def build_payload(studies: Sequence[Study], views: Sequence[dict[str, list[dict[str, str]]]]) -> dict[str, Any]:
    """Words and colours of the house, and the numbers of every study.

    Args:
        views: the views of single pairs for each study (see `embedded`).
    """
    described = [describe_study(study, own) for study, own in zip(studies, views, strict=True)]
    return {
        "words": {
            "metrics": {name: asdict(metric) | {"axis": metric.axis} for name, metric in MEASURES.items()},
            "experiments": {name: kind.label for name, kind in KINDS.items()}
            | {grid["experiment"]: grid["label"] for study in described for grid in study["grids"]},
            "directions": DIRECTIONS,
            "donors": {name: donor.label for name, donor in DONORS.items()},
            "ablations": [name for name in DONORS if role_of(name) == "ablation"],
        },
        "theme": {
            "ink": INK,
            "muted": MUTED,
            "rule": RULE,
            "structural": STRUCTURAL,
            "hatch": HATCH_INK,
            "blue": BLUE,
            "diverging": _samples(colours(Measure(label="", signed=True), np.zeros(1))[0]),
            "sequential": _samples(colours(Measure(label=""), np.zeros(1))[0]),
            "layers": _samples(layer_colours()),
        },
        "studies": described,
    }


def describe_study(study: Study, views: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    """The numbers of one study; see the modules that make each part."""
    pairs = describe_pairs(study.table, study.pairs)
    seed = study.summary.seed
    return {
        "name": study.name,
        "include_incorrect": study.summary.include_incorrect,
        "pairs": pairs,
        "fields": describe_fields(study.table, [pair["index"] for pair in pairs]),
        "grids": describe_grids(study.table, seed),
        "comparisons": describe_comparisons(study.table, seed),
        "views": views,
    }


def _samples(colour_map: Colormap) -> list[str]:
    return [to_hex(colour_map(at)) for at in np.linspace(0, 1, SAMPLES)]
