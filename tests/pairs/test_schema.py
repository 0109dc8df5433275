import json
import re
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechpatch.errors import PairError
from mechpatch.pairs import Pair, Side, canonical_answer
from mechpatch.pairs.schema import MAX_DIGITS, shown

SAME = {
    "1000": [1000, 1000.0, "1000", "1,000", "1000.0", "1e3", "1E+3", " 1000\n", "+1000", "01000", Decimal("1E+3")],
    "3.5": [3.5, "3.50", "3.5", "03.500", Decimal("3.50"), "35e-1", "٣٫٥", "３．５"],
    "0": [0, 0.0, -0.0, "0", "-0", "0.000", "−0.0", "0e50", Decimal("-0")],
    "-5": [-5, -5.0, "-5", "−5", "－５", "-5."],
    "0.1": [0.1, "0.1", ".1", Decimal("0.1")],
    "1234567": ["1,234,567", "１，２３４，５６７", "١٬٢٣٤٬٥٦٧", 1234567],
    "12345678901234567890.5": ["12345678901234567890.5", "12,345,678,901,234,567,890.50"],
    "1" + "0" * 99: ["1e99", 10**99, Decimal("1e99"), "1" + "0" * 99],
    "0." + "0" * 98 + "1": ["1e-99", 1e-99],
}

REFUSED = [
    True, False, None, "", "  ", [], [3], {}, object(), b"5", 3j,
    "twelve", "5 apples", "$5", "5%", "1_000", "1,00", "1,0000", ",5", "1 000", "1/2", "10²", "½", "Ⅻ", "–5",
    "--5", "5-", ".", "-", "e5", "0x10", "1e", "1.2.3", "NaN", "inf", "Infinity",
    float("nan"), float("inf"), -float("inf"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"),
    "1e999999999", "-1e999999999", "1e-999999999", "1e99999999999999999999", Decimal("1e999999999"),
    "1e100", "1e-100", 10**100, 1 << 10_000_000, "7" * (MAX_DIGITS + 1), "7" * 1_000_000, "0." + "7" * (MAX_DIGITS + 1),
]  # fmt: skip


def side(answer: str = "18", **fields: object) -> Side:
    return Side("How many?", answer, None, fields)


@pytest.mark.parametrize(("canonical", "value"), [(key, value) for key, values in SAME.items() for value in values])
def test_one_number_has_one_text(canonical, value):
    assert canonical_answer(value) == canonical


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: shown(value)[:30])
def test_what_is_no_number_is_refused_with_a_short_reason(value):
    with pytest.raises(ValueError, match="number") as caught:
        canonical_answer(value)
    assert type(caught.value) is ValueError
    assert 5 < len(str(caught.value)) < 100


def test_the_decimal_context_of_the_caller_changes_nothing():
    with localcontext(prec=3, Emax=5):
        assert canonical_answer("123456789.125") == "123456789.125"
        assert canonical_answer(Decimal("123456789.125")) == "123456789.125"


@settings(derandomize=True, max_examples=200, deadline=None)
@given(st.decimals(-(10**60), 10**60, allow_nan=False, places=20) | st.integers() | st.floats(-1e50, 1e50))
def test_canonical_text_keeps_the_value_and_is_its_own_canonical_text(value):
    if value and abs(value) < 1e-99:
        return
    text = canonical_answer(value)
    assert Fraction(text) == Fraction(repr(value) if isinstance(value, float) else value)
    assert canonical_answer(text) == text
    assert text == "0" or re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*[1-9])?", text)


@settings(derandomize=True, max_examples=400, deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789.,+-−eE٣５ _²xn") | st.characters(), max_size=30))
def test_any_text_is_a_number_or_a_reason(text):
    try:
        canonical = canonical_answer(text)
    except ValueError:
        return
    assert len(canonical) <= 2 * MAX_DIGITS + 2
    assert canonical.isascii()


def test_a_side_takes_canonical_answers_only():
    assert side("3.5").answer == "3.5"
    with pytest.raises(PairError, match=r"'1,000', expected '1000'.*canonical_answer"):
        side("1,000")
    with pytest.raises(PairError, match="'twelve', not a number"):
        side("twelve")


def test_sides_and_pairs_are_frozen():
    pair = Pair("a", side(), side("19"), {})
    with pytest.raises(AttributeError):
        pair.pair_id = "b"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(AttributeError):
        pair.clean.answer = "20"  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("clean", "corrupted", "difference"),
    [("18", "20", 2.0), ("20", "18", 2.0), ("0.3", "0.1", 0.2), ("-5", "5", 10.0), ("1" + "0" * 40, "1", 1e40)],
)
def test_answer_difference_is_exact_and_has_no_sign(clean, corrupted, difference):
    found = Pair("a", side(clean), side(corrupted), {}).answer_difference
    assert type(found) is float
    assert found == difference


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
    pair = Pair("a", side(steps=1, **{"clean.steps": 2}), side("19", steps=3), fields)
    found = pair.record_fields()
    assert sorted(map(str, found.values())) == sorted("56789123")
    assert (found["field.clean.steps"], found["field.pair.clean.steps"]) == (1, 5)


def test_messages_show_short_values():
    assert [shown(value) for value in (None, True, 3, [1], {"a": 1}, "x")] == [
        "null", "true", "the number 3", "a list", "an object", "'x'",
    ]  # fmt: skip
    assert max(len(shown(value)) for value in ("x" * 10**6, 10**5000, Decimal("1" * 5000))) < 80
