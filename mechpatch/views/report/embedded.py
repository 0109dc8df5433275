"""Views of single pairs that CircuitsVis draws: placed closed, drawn when a reader opens the pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mechpatch.views import circuits


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The views of all studies.

    Attributes:
        placed: for each study, the views of each pair by its id: id of the element, classes, title, caption.
        script: CircuitsVis, and `EMBEDDED`: a function that draws each view, by the id of its element; empty without
            views.
        style: the style sheet that all views share; empty without views.
    """

    placed: list[dict[str, list[dict[str, str]]]]
    script: str = ""
    style: str = ""


def collect(studies: Sequence[Sequence[Path]]) -> Embedded:
    """The views of the run directories of each study."""
    placed: list[dict[str, list[dict[str, str]]]] = [{} for _ in studies]
    calls: dict[str, str] = {}
    for by_pair, folders in zip(placed, studies, strict=True):
        for folder in folders:
            for pair_id, views in circuits.inspection_views(folder).items():
                for view in views:
                    element = f"view-{len(calls)}"
                    calls[element] = circuits.render_call(view, element)
                    classes = "circuits circuits-grid" if view.grid else "circuits"
                    about = {"title": view.title, "caption": view.caption, "classes": classes}
                    by_pair.setdefault(pair_id, []).append({"id": element, **about})
    if not calls:
        return Embedded(placed=placed)
    drawn = ",".join(f'"{element}":()=>{{{call}}}' for element, call in calls.items())
    return Embedded(placed=placed, script=f"{circuits.bundle()}\nconst EMBEDDED = {{{drawn}}};", style=circuits.STYLE)
