"""The three lines of a run as a part of any page: of a report, of inspected pairs, and of a notebook's cell."""

from markupsafe import Markup

from mechpatch.views.html import render
from mechpatch.views.words.lines import Lines


def told(lines: Lines) -> Markup:
    """What was done, what was found, what to distrust: a list of terms."""
    return Markup(render("mechpatch.views", "lines.html", lines=lines))
