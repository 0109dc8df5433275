"""What an answer is: any text on one line, kept as it is written; what it is compared by is in `values`."""

from collections.abc import Mapping
from decimal import Decimal
from numbers import Integral

MAX_LENGTH = 200  # characters of an answer, digits of a number


def answer_text(value: object) -> str:
    """The text of an answer: text without blanks at its ends, or the plain decimal text of a number.

    Raises ValueError with a short reason for what is no answer: no text or number, blank, more than one line, longer
    than `MAX_LENGTH`, or not finite.
    """
    if not isinstance(value, str):
        return number_text(value)
    text = value.strip()
    if not text:
        raise ValueError(f"{shown(value)}, which is blank")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"a text of {len(text)} characters, and an answer has at most {MAX_LENGTH}")
    if len(text.splitlines()) > 1:
        raise ValueError(f"{shown(value)}, which has a line break")
    return text


def number_text(value: object) -> str:
    """The plain decimal text of an int, float or Decimal: 1000.0 is "1000", 3.50 is "3.5", negative zero is "0"."""
    match value:
        case bool():
            raise ValueError(f"{shown(value)}, neither text nor a number")
        case Integral():  # of NumPy too
            if int(value).bit_length() <= 4 * MAX_LENGTH:
                return str(int(value))
        case float() | Decimal():
            number = Decimal(repr(value)) if isinstance(value, float) else value  # 0.1 stays 0.1
            if not number.is_finite():
                raise ValueError(f"{number}, not a finite number")
            if not number:
                return "0"
            first, last = number.adjusted(), number.as_tuple().exponent
            if first < MAX_LENGTH and int(last) > -MAX_LENGTH:
                text = f"{number:f}"
                return text.rstrip("0").rstrip(".") if "." in text else text
        case _:
            raise ValueError(f"{shown(value)}, neither text nor a number")
    raise ValueError(f"a number of more than {MAX_LENGTH} digits")


def shown(value: object) -> str:
    """`value` as a message names it: JSON words, some 60 characters at most, containers by kind only."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(value if len(value) <= 60 else f"{value[:57]}...")
        case int() if value.bit_length() > 4 * MAX_LENGTH:  # str refuses more than some thousand digits
            return "a huge number"
        case int() | float() | Decimal():
            return f"the number {value!s:.40}"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return f"a value of type {type(value).__name__}"
