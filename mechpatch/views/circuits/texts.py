"""Tokens as a reader can see them, whatever they hold.

CircuitsVis writes a token into the page in three ways: as HTML, as text, and as the label of a chart. What is shown
here is safe and looks the same in all three.
"""

import unicodedata

LONGEST = 40
JOINER = "\u2060"  # invisible; neither a tag nor a character reference can begin with it
_VISIBLE = {"\n": "↵", "\r": "␍", "\t": "⇥", "\u200c": "\u200c", "\u200d": "\u200d"}
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def shown(text: str) -> str:
    """`text` with nothing that a browser would obey: no markup, no control character, no change of direction."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST - 1]}…"
    return "".join(_shown(sign) for sign in text) or "∅"


def _shown(sign: str) -> str:
    if sign in "<&":
        return sign + JOINER
    if sign in _VISIBLE:
        return _VISIBLE[sign]
    return f"⟨U+{ord(sign):04X}⟩" if unicodedata.category(sign) in _HIDDEN else sign
