import json
import re
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechpatch.errors import PairError
from mechpatch.pairs import Pair, Side, answer_text, answer_value
from mechpatch.pairs.answers import MAX_LENGTH, shown

NUMBERS = {
    "1000": [1000, 1000.0, 1e3, Decimal("1E+3")],
    "3.5": [3.5, Decimal("3.50")],
    "0": [0, 0.0, -0.0, Decimal("-0"), Decimal("0E+999999")],
    "-5": [-5, -5.0],
    "0.1": [0.1, Decimal("0.1")],
    "0." + "0" * 98 + "1": [1e-99],
    "1" + "0" * (MAX_LENGTH - 1): [10 ** (MAX_LENGTH - 1), Decimal(f"1e{MAX_LENGTH - 1}")],
}
TEXTS = {
    "Mary": ["Mary", " Mary\n", "\tMary"], "1,000": ["1,000", " 1,000"], "1e3": ["1e3"], "007": ["007"], "$5": ["$5"],
    "New  York": ["New  York"], "½": ["½"], "東京": ["東京"], "x" * MAX_LENGTH: ["x" * MAX_LENGTH],
}  # fmt: skip
EQUAL = [
    ["1000", "1,000", "1000.0", "1e3", "1E+3", "+1000", "01000", "１０００", "١٬٠٠٠"],
    ["3.5", "3.50", "03.500", "35e-1", "٣٫٥", "３．５"],
    ["0", "-0", "0.000", "−0.0", "0e50"],
    ["-5", "−5", "－５", "-5."],
    ["0.1", ".1"],
    ["1234567", "1,234,567", "１，２３４，５６７", "١٬٢٣٤٬٥٦٧"],
    ["1e99", "1" + "0" * 99],
]
NO_NUMBERS = [
    "5 apples", "$5", "5%", "1_000", "1,00", "1,0000", ",5", "1 000", "1/2", "10²", "½", "Ⅻ", "–5", "--5", "5-",
    ".", "-", "e5", "0x10", "1e", "1.2.3", "NaN", "inf", "Infinity", "1e100", "1e999999999", "1e-999999999",
]  # fmt: skip
REFUSED = [
    True, False, None, "", "  ", "\n", [], [3], {}, object(), b"5", 3j, "two\nlines", "a\rb", "a\u2028b", "a\x85b",
    float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"),
    Decimal("1e999999999"), Decimal("1e-999999999"), 10**1000, 1 << 10_000_000, "7" * (MAX_LENGTH + 1), "x " * 10**6,
    Decimal("0." + "7" * (MAX_LENGTH + 1)), Decimal(f"1e{MAX_LENGTH}"),
]  # fmt: skip


def side(answer: str = "18", **fields: object) -> Side:
    return Side("How many?", answer, None, fields)


@pytest.mark.parametrize(
    ("text", "value"), [(text, v) for table in (NUMBERS, TEXTS) for text in table for v in table[text]]
)
def test_an_answer_is_text_as_written_or_the_plain_text_of_a_number(text, value):
    assert answer_text(value) == text


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: shown(value)[:30])
def test_what_is_no_answer_is_refused_with_a_short_reason(value):
    with pytest.raises(ValueError, match=r"number|blank|line break|at most") as caught:
        answer_text(value)
    assert type(caught.value) is ValueError
    assert 5 < len(str(caught.value)) < 100


@pytest.mark.parametrize("texts", EQUAL, ids=lambda texts: texts[0][:20])
def test_two_numbers_are_one_answer_if_their_values_are_equal(texts):
    assert {answer_value(text) for text in texts} == {Fraction(texts[0])}
    assert answer_value(f"{texts[0]}9") != answer_value(texts[0])


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_text_that_is_no_number_is_compared_as_it_is_written(text):
    assert answer_value(text) == text
    assert answer_value(text.upper() + "x") != answer_value(text)


def test_the_decimal_context_of_the_caller_changes_nothing():
    with localcontext(prec=3, Emax=5):
        assert answer_text(Decimal("123456789.125")) == "123456789.125"
        assert answer_value("123,456,789.125") == Fraction(123456789125, 1000)


@settings(max_examples=200)
@given(st.decimals(-(10**60), 10**60, allow_nan=False, places=20) | st.integers() | st.floats(-1e50, 1e50))
def test_the_text_of_a_number_keeps_its_value_and_has_one_form(value):
    if value and abs(value) < 1e-99:
        return
    text = answer_text(value)
    assert answer_value(text) == Fraction(repr(value) if isinstance(value, float) else value)
    assert answer_text(text) == text
    assert text == "0" or re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?", text)


@settings(max_examples=400)
@given(st.text(alphabet=st.sampled_from("0123456789.,+-−eE٣５ _²xn") | st.characters(), max_size=30))
def test_any_text_on_one_line_is_an_answer(text):
    try:
        answer = answer_text(text)
    except ValueError:
        assert not text.strip() or len(text.strip().splitlines()) > 1
        return
    assert answer == text.strip()
    assert isinstance(answer_value(answer), Fraction) or answer_value(answer) == answer


def test_a_side_takes_answers_without_blanks_at_their_ends():
    assert (side("3.5").answer, side("1,000").answer, side("Mary").answer) == ("3.5", "1,000", "Mary")
    assert side("1,000").value == side("1000.0").value != side("Mary").value
    with pytest.raises(PairError, match=r"' Mary', expected 'Mary'.*answer_text"):
        side(" Mary")
    with pytest.raises(PairError, match="which has a line break"):
        side("a\nb")


def test_sides_and_pairs_are_frozen():
    pair = Pair("a", side(), side("19"), {})
    with pytest.raises(AttributeError):
        pair.pair_id = "b"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError):
        pair.clean.answer = "20"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("clean", "corrupted", "difference"),
    [
        ("18", "20", 2.0),
        ("20", "18", 2.0),
        ("1,018", "2e1", 998.0),
        ("0.3", "0.1", 0.2),
        ("-5", "5", 10.0),
        ("1" + "0" * 40, "1", 1e40),
    ],
)
def test_answer_difference_is_exact_and_has_no_sign(clean, corrupted, difference):
    found = Pair("a", side(clean), side(corrupted), {}).answer_difference
    assert type(found) is float
    assert found == difference


@pytest.mark.parametrize(("clean", "corrupted"), [("Mary", "18"), ("18", "Mary"), ("Mary", "John"), ("$3", "$5")])
def test_there_is_no_answer_difference_without_two_numbers(clean, corrupted):
    assert Pair("a", side(clean), side(corrupted), {}).answer_difference is None


def test_record_fields_are_flat_scalars_named_by_their_side():
    pair = Pair(
        "a",
        side(steps=2, right=True, tags=["x"]),
        side("19", steps=3, note=None),
        {"source": "gsm", "weight": 0.5, "nested": {"deep": 1}},
    )
    assert pair.record_fields() == {
        "field.source": "gsm",
        "field.weight": 0.5,
        "field.clean.steps": 2,
        "field.clean.right": True,
        "field.corrupted.steps": 3,
        "field.corrupted.note": None,
    }
    assert json.dumps(pair.record_fields())


def test_no_two_fields_share_a_column():
    fields = {"clean.steps": 5, "pair.clean.steps": 6, "corrupted.steps": 7, "steps": 8, "clean": 9}
    pair = Pair("a", Side("How many?", "18", None, {"steps": 1, "clean.steps": 2}), side("19", steps=3), fields)
    found = pair.record_fields()
    assert sorted(map(str, found.values())) == sorted("56789123")
    assert (found["field.clean.steps"], found["field.pair.clean.steps"]) == (1, 5)


def test_messages_show_short_values():
    assert [shown(value) for value in (None, True, 3, [1], {"a": 1}, "x")] == [
        "null", "true", "the number 3", "a list", "an object", "'x'",
    ]  # fmt: skip
    assert max(len(shown(value)) for value in ("x" * 10**6, 10**5000, Decimal("1" * 5000))) < 80
