"""Pages from templates: what stands in them is escaped unless a filter here has made it safe.

{{ text }}             escaped
{{ value | json }}     JSON for a script; it cannot end the element
{{ code | script }}    code for a script, or a style sheet with `style`; it cannot end the element
{{ text | packed }}    compressed, for an element that a script unpacks; letters, digits, + / = alone
"""

import base64
import re
import zlib
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from mechpatch.formats import in_powers


def render(package: str, name: str, **values: object) -> str:
    """The template `name` of the folder `templates` of `package`, filled with `values`."""
    return environment(package).get_template(name).render(**values)


def json_text(value: object) -> Markup:
    """JSON without any character that ends or opens markup. Raises `ValueError` for NaN and infinity."""
    return htmlsafe_json_dumps(value, allow_nan=False, separators=(",", ":"))


def inline(script: str) -> Markup:
    """A script whose strings cannot end the element that it stands in; `\\x3c` is `<` in a string of JavaScript."""
    return Markup(re.sub(r"<(?=/script|script|!--)", r"\\x3c", script, flags=re.IGNORECASE))


def packed(text: str) -> str:
    """A text compressed with zlib, in base64: a page of numbers becomes half as long."""
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 9)).decode("ascii")


def style_sheet(text: str) -> Markup:
    """A style sheet that cannot end its element: nothing in one needs `</`."""
    return Markup(text.replace("</", ""))


@cache
def environment(package: str) -> Environment:
    """Templates of the folder `templates` of `package`, whose values are escaped."""
    found = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    found.tests["startswith"] = str.startswith
    found.filters |= {"json": json_text, "script": inline, "style": style_sheet, "packed": packed, "number": in_powers}
    return found
