"""One CircuitsVis view as plain data, and the words that several share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mechpatch.storage.inspections import Inspection
from mechpatch.views.circuits.texts import shown

RUNS = ("clean", "corrupted", "patched")


@dataclass(frozen=True, slots=True)
class View:
    """One view of a page.

    Attributes:
        pair_id: whose it is.
        title, caption: plain text, to be escaped.
        component: name of the CircuitsVis component.
        props: JSON values and arrays; tokens in them are safe.
        grid: whether every second token is the hidden name of a place.
    """

    pair_id: str
    title: str
    caption: str
    component: str
    props: Mapping[str, Any] = field(repr=False)
    grid: bool = False


def answers_of(about: Mapping[str, Any]) -> str:
    return f"clean {shown(about['answers']['clean'])}, corrupted {shown(about['answers']['corrupted'])}"


def patched_cell(about: Mapping[str, Any]) -> str:
    cell = about["patched"]
    what = ", the strongest cell among the thoughts" if cell["strongest"] else ""
    return f"clean vector at layer {cell['layer']}, {cell['site']}{what}"


def arrays_of(inspection: Inspection, run: str) -> dict[str, Any]:
    """Arrays of one run, without its name."""
    start = f"{run}."
    return {name.removeprefix(start): array for name, array in inspection.arrays.items() if name.startswith(start)}
