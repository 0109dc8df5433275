"""How a number is written for a reader, once for each kind of number: on a terminal, in sentences, figures and pages;
and how a label is that begins a sentence.

A dash stands for what is not defined. A minus is a true one wherever a sentence or a figure has it.
"""

from decimal import ROUND_HALF_UP, Decimal

DASH = "–"
Number = int | float


def written(value: Number | None, form: str = ".2f") -> str:
    """A number with two decimals, or in another form of `format`; no minus on what is rounded to zero."""
    if value is None:
        return DASH
    text = format(value, form)
    if not text.startswith("-"):
        return text
    return f"−{text[1:]}" if float(text) else text[1:]


def significant(value: Number | None, digits: int = 3) -> str:
    """A number with so many significant digits."""
    return written(value, f".{digits}g")


def scientific(value: Number | None) -> str:
    """What may be tiny, such as rounding or a tolerance: `3.1e-05`."""
    return DASH if value is None else f"{value:.1e}"


def in_powers(value: Number | None) -> tuple[str, str]:
    """Two significant digits and the power of ten that they are multiplied with, which is "" from a thousandth on."""
    if value is None or value == 0 or abs(value) >= 1e-3:
        return significant(value, 2), ""
    digits, exponent = scientific(value).split("e")
    return digits.replace("-", "−"), f"−{abs(int(exponent))}"


def percent(value: Number | None) -> str:
    """Whole percents of a share, one decimal under ten; no share is written as 0 % or 100 % that is not."""
    if value is None:
        return DASH
    if value < 0:  # a difference of shares
        return f"−{percent(-value)}"
    if 0 < value < 0.0005:
        return "< 0.1 %"
    if 0.99 < value < 1:
        return "> 99 %"
    # A half is rounded up, as on the page: of 8 pairs one is 13 % in both, where `format` would say 12.
    text = str(Decimal(100 * value).quantize(Decimal("0.1" if value < 0.0995 else "1"), ROUND_HALF_UP))
    return f"{text.removesuffix('.0')} %"


def probability(value: Number | None) -> str:
    """p or q: three decimals, and no smaller one."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def equals(name: str, value: Number | None) -> str:
    """A p or q after its name: `p = 0.012`, `q < 0.001`."""
    text = probability(value)
    return f"{name} {text}" if text.startswith("<") else f"{name} = {text}"


def amount(number: Number) -> str:
    """Three digits with a prefix of the SI, and a space where a unit can follow: `1.5 G`."""
    for prefix in ("", "k", "M", "G", "T"):
        if number < 999.5:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:,.3g} P"


def megabytes(count: int) -> str:
    """The size of a file."""
    return f"{count / 1e6:.1f} MB"


def duration(seconds: Number) -> str:
    """Seconds up to two minutes, else minutes, or hours from two on; three digits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def capital(text: str) -> str:
    """A text with a large first letter, to begin a sentence or to stand alone."""
    return text[:1].upper() + text[1:]
