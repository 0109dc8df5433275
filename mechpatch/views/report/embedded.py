"""Views of single pairs that another library draws: placed closed, drawn when a reader opens the pair.

`mechpatch.views.circuits` gives them for a run that was inspected:
`inspection_views(run_dir)` by pair, `bundle()` and `STYLE` (the script and style that all share) and
`render_call(view, element_id)`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mechpatch.views import circuits


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where views come from; of a view this page reads `title`, `caption` and, where it has one, `grid` alone."""

    inspection_views: Callable[[Path], Mapping[str, Sequence[Any]]]
    bundle: Callable[[], str]
    render_call: Callable[[Any, str], str]
    style: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The views of all studies.

    Attributes:
        placed: of each study, by pair id, {id, classes, title, caption} of each view.
        calls: the statement that draws each view, by element id.
        bundle, style: what they share; empty without views.
    """

    placed: list[dict[str, list[dict[str, str]]]]
    calls: dict[str, str]
    bundle: str = ""
    style: str = ""


def default_source() -> Source:
    """CircuitsVis."""
    return Source(
        inspection_views=circuits.inspection_views,
        bundle=circuits.bundle,
        render_call=circuits.render_call,
        style=circuits.STYLE,
    )


def collect(studies: Sequence[Sequence[Path]], source: Source | None) -> Embedded:
    """The views of the run directories of each study."""
    placed: list[dict[str, list[dict[str, str]]]] = [{} for _ in studies]
    calls: dict[str, str] = {}
    if source is None:
        return Embedded(placed=placed, calls=calls)
    for own, folders in zip(placed, studies, strict=True):
        for folder in folders:
            for pair_id, views in source.inspection_views(folder).items():
                for view in views:
                    element = f"view-{len(calls)}"
                    calls[element] = source.render_call(view, element)
                    about = {"title": str(view.title), "caption": str(view.caption), "classes": _classes(view)}
                    own.setdefault(str(pair_id), []).append({"id": element, **about})
    if not calls:
        return Embedded(placed=placed, calls=calls)
    return Embedded(placed=placed, calls=calls, bundle=source.bundle(), style=source.style)


def _classes(view: Any) -> str:
    return "circuits circuits-grid" if getattr(view, "grid", False) else "circuits"
