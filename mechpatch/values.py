"""What answers are compared by: two numbers are one answer if they are equal, however they are written."""

import re
from decimal import Decimal
from fractions import Fraction

Value = str | Fraction

_SIGNS = str.maketrans("−－＋．，٫٬", "--+.,.,")
# Three digits of an exponent would be an exact number of up to a thousand digits.
_NUMBER = re.compile(r"[+-]?(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,2})?")


def answer_value(text: str) -> Value:
    """What answers are compared by: the exact number that `text` writes, or `text` itself.

    A number has decimal digits of any script, commas between thousands or none, an exponent of at most two digits,
    and ASCII, full-width or Arabic signs.
    """
    plain = text.translate(_SIGNS)
    return Fraction(Decimal(plain.replace(",", ""))) if _NUMBER.fullmatch(plain) else text
