"""Numbers as readers see them."""

from collections.abc import Callable

import pytest

from mechpatch.formats import amount, duration, equals, megabytes, percent, scientific, significant, written


@pytest.mark.parametrize(
    ("form", "value", "text"),
    [
        (written, 0.125, "0.12"),
        (written, -1.0, "−1.00"),
        (written, -0.001, "0.00"),
        (written, None, "–"),
        (lambda value: written(value, "+.2f"), 0.5, "+0.50"),
        (significant, 12345.0, "1.23e+04"),
        (significant, -0.00001234, "−1.23e-05"),
        (scientific, 0.0003, "3.0e-04"),
        (scientific, None, "–"),
        (percent, 0.0, "0 %"),
        (percent, 0.0528, "5.3 %"),
        (percent, 0.5, "50 %"),
        (percent, 0.0997, "10 %"),
        (percent, 0.125, "13 %"),  # as JavaScript's toFixed on the page
        (percent, 0.375, "38 %"),
        (percent, 0.0625, "6.3 %"),
        (percent, -0.125, "−13 %"),
        (percent, 0.0002, "< 0.1 %"),
        (percent, 0.996, "> 99 %"),
        (percent, 1.0, "100 %"),
        (lambda value: equals("q", value), 0.0004, "q < 0.001"),
        (lambda value: equals("p", value), 0.0123, "p = 0.012"),
        (amount, 999, "999 "),
        (amount, 999.7, "1 k"),
        (amount, 3.45e9, "3.45 G"),
        (amount, 2e17, "200 P"),
        (megabytes, 1_250_000, "1.2 MB"),
        (duration, 119.0, "119 s"),
        (duration, 150.0, "2.5 min"),
        (duration, 9000.0, "2.5 h"),
    ],
)
def test_a_number_is_written_so(form: Callable[..., str], value: float | None, text: str):
    assert form(value) == text
