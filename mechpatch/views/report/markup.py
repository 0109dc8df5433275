"""Text into HTML and data into scripts: nothing that a user wrote can become markup or reorder what is beside it."""

import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def text(value: object) -> str:
    """Our own words, escaped."""
    return escape(str(value), quote=True)


def foreign(value: object) -> str:
    """A user's words: escaped, and isolated so that right-to-left marks end with them."""
    return f'<bdi dir="auto">{escape(str(value), quote=True)}</bdi>'


def power(value: float | None) -> str:
    """A small number to two digits, as a power of ten where it is under a thousandth; a dash for None."""
    if value is None:
        return "–"
    if value == 0 or abs(value) >= 1e-3:
        return text(f"{value:.2g}".replace("-", "−"))
    digits, exponent = f"{value:.1e}".split("e")
    return f'<span class="number">{digits.replace("-", "−")} × 10<sup>−{abs(int(exponent))}</sup></span>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """Names and values (HTML) as a list of definitions; rows without a value are left out."""
    listed = "".join(f"<div><dt>{text(name)}</dt><dd>{value}</dd></div>" for name, value in rows if value)
    return f'<dl class="facts">{listed}</dl>'


def table(name: str, heads: Sequence[str], rows: Iterable[Sequence[tuple[str, object]]]) -> str:
    """A table that the page's script makes sortable and downloadable.

    Args:
        name: of the file it is saved as, without suffix.
        rows: cells as (HTML, value to sort by and to save).
    """
    head = "".join(f'<th scope="col">{text(each)}</th>' for each in heads)
    body = "".join(
        "<tr>" + "".join(f'<td data-value="{text("" if value is None else value)}">{html}</td>' for html, value in row)
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        f'<div class="table"><table data-name="{text(name)}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody>'
        "</table></div>"
    )


def script_data(identifier: str, value: Any) -> str:
    """JSON that a script reads; it cannot end its element. Raises `ValueError` for NaN and infinity."""
    return f'<script type="application/json" id="{identifier}">{safe_json(value)}</script>'


def safe_json(value: Any) -> str:
    """JSON without any character that ends or opens markup."""
    encoded = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return encoded.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def script(code: str) -> str:
    """Code inlined. Within it, what would end the element can only stand in a string, where a backslash is harmless."""
    return f"<script>{inlined(code)}</script>"


def deferred_script(identifier: str, code: str) -> str:
    """Code that is carried but not run until the page's own script asks for it."""
    return f'<script type="text/plain" id="{identifier}">{inlined(code)}</script>'


def inlined(code: str) -> str:
    return re.sub(r"<(?=/script|!--)", r"<\\", code, flags=re.IGNORECASE)
