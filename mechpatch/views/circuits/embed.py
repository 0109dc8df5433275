"""A view in a page: the script and style that all share, a place for each, and the statement that draws it.

CircuitsVis' own objects load their script from a server; they write tokens into a page as HTML, and NaN as JSON that is
none. Here the script is the wheel's own, and text and numbers are made safe in two places: `texts.shown` for what
CircuitsVis does with tokens, `render_call` for what a page does with a script.
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from mechpatch.errors import StorageError
from mechpatch.views.circuits.view import View
from mechpatch.views.html import inline, json_text, render

STYLE = """
.circuits { font: 14px/1.35 system-ui, sans-serif; color: #1a1a1a; max-width: 100%; overflow-wrap: anywhere; }
.circuits h2 { font-size: 13px; } .circuits h3 { font-size: 13px; margin: 8px 0; } .circuits h4 { font-size: 10px; }
.circuits > div[style*="padding-bottom"] { padding-bottom: 4px !important; }
.circuits .colored-tokens { line-height: 1.9; }
.circuits div[style*="max-width: min("] { width: 520px !important; max-width: 100% !important; }
.circuits div:has(> input[type="text"]), .circuits [for^="sample"], .circuits [id^="sample"] { display: none; }
.circuits select, .circuits input, .circuits button { font: inherit; }
.circuits table { border-collapse: collapse; } .circuits td, .circuits th { padding: 0 6px; }
.circuits-grid { font-family: "DejaVu Sans Mono", ui-monospace, monospace; font-size: 12px; overflow-x: auto; }
.circuits-grid > div { white-space: nowrap; } .circuits-grid hr { display: none; }
.circuits-grid div[style*="font-size: 20px"] { font-size: 13px !important; }
.circuits [data-popper-interactive] { z-index: 20 !important; }
.circuits-grid > div > span:nth-of-type(odd) { display: none; }
"""


@cache
def bundle() -> str:
    """The script of CircuitsVis, eased for readers, for one inline `<script>` before every `render_call`.

    Raises:
        StorageError: the installed circuitsvis has no such script.
    """
    spec = find_spec("circuitsvis")
    path = Path(spec.origin if spec and spec.origin else "circuitsvis").parent / "dist" / "cdn" / "iife.js"
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}; install circuitsvis again") from error
    if "var CircuitsVis=" not in text:
        raise StorageError(f"{path}: does not define CircuitsVis; install the version that constraints.txt names")
    eased = files("mechpatch.views.circuits").joinpath("static", "reading.js").read_text(encoding="utf-8")
    return inline(re.sub(r"(?m)^//# sourceMappingURL=.*$", "", text) + eased)


def element(view: View, element_id: str) -> str:
    """The place of a view in a page, a closed element; `STYLE` says how it looks."""
    return render("mechpatch.views.circuits", "element.html", id=_checked(element_id), view=view)


def render_call(view: View, element_id: str) -> str:
    """The statement that draws a view into its element; stands in an inline `<script>` after `bundle()`.

    Raises:
        ValueError: the id is not plain, or the component is not a name.
        TypeError: a property is no JSON value and no array.
    """
    if not re.fullmatch(r"[A-Z]\w*", view.component, flags=re.ASCII):
        raise ValueError(f"component {view.component!r} is not a name")
    text = json_text(_plain(view.props))
    place = _checked(element_id)
    return f'CircuitsVis.render("{place}", CircuitsVis.{view.component}, {text});CircuitsVis.ease("{place}");'


def _checked(element_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z][\w-]*", element_id, flags=re.ASCII):
        raise ValueError(f"element id {element_id!r}: expected letters, digits, - and _")
    return element_id


def _plain(value: object) -> object:
    """JSON values for numbers and arrays of any library; null for what is not finite."""
    tolist: Callable[[], object] | None = getattr(value, "tolist", None)
    if tolist is not None:
        return _plain(tolist())
    match value:
        case Mapping():
            return {str(key): _plain(each) for key, each in value.items()}
        case list() | tuple():
            return [_plain(each) for each in value]
        case float() if not math.isfinite(value):
            return None
        case float() if value.is_integer():  # "0" is half of "0.0", and a page holds many
            return int(value)
        case str() | int() | float() | bool() | None:
            return value
    raise TypeError(f"a property holds a {type(value).__name__}, which is no JSON value")
