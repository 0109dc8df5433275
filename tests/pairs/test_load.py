import copy
import json
import os
import pickle
import re
from fractions import Fraction
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechpatch.errors import PairError
from mechpatch.pairs import Pair, PairFileError, Side, answer_text, items, load_pairs, pairs_from, to_prepared
from mechpatch.pairs.answers import MAX_LENGTH
from mechpatch.pairs.faults import FAULTS_PRINTED
from mechpatch.pairs.load import MAX_DEPTH

PREPARED = [
    {
        "pair_id": "a",
        "source": "hand",
        "clean": {"question": "2 and 3?", "answer": 5, "reasoning_steps": 1, "cot": "<<2+3=5>>"},
        "corrupted": {"question": "2 and 4?", "answer": "6", "reasoning_steps": 1, "cot": "<<2+4=6>>"},
    },
    {
        "pair_id": 7,
        "clean": {"question": "Half of 7?", "answer": 3.5, "reasoning_steps": 1, "tags": ["x", {"y": 0.1}]},
        "corrupted": {"question": "Half of 8?", "answer": "4.0", "reasoning_steps": 1},
    },
]
FLAT = [
    {
        "pair_id": 0,
        "variant": "corrupted",
        "question": "1 and 2?",
        "answer": 3,
        "reasoning_steps": 1,
        "needs_cot": True,
    },
    {"pair_id": 1, "variant": "clean", "question": "9 less 1?", "answer": 8, "reasoning_steps": 1, "needs_cot": False},
    {"pair_id": 0, "variant": "clean", "question": "1 and 1?", "answer": 2, "reasoning_steps": 1, "needs_cot": True},
    {
        "pair_id": 1,
        "variant": "corrupted",
        "question": "9 less 2?",
        "answer": 7,
        "reasoning_steps": 1,
        "needs_cot": None,
    },
]


@pytest.fixture
def write(tmp_path):
    """Write text, bytes or anything for `json.dumps` to a file of pairs."""

    def write(content):
        path = tmp_path / "pairs.data"
        if not isinstance(content, bytes):
            content = (content if isinstance(content, str) else json.dumps(content)).encode()
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def faults(write):
    """The faults of a content, as (index, pair_id, field, problem)."""

    def faults(content):
        path = write(content)
        with pytest.raises(PairFileError) as caught:
            load_pairs(path)
        assert all(each.file == str(path) for each in caught.value.faults)
        return [(each.index, each.pair_id, each.field, each.problem) for each in caught.value.faults]

    return faults


def changed(document, *keys, to):
    """A copy of `document` with the value at `keys` replaced."""
    document = copy.deepcopy(document)
    node = document
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = to
    return document


def without(document, *keys):
    document = copy.deepcopy(document)
    node = document
    for key in keys[:-1]:
        node = node[key]
    del node[keys[-1]]
    return document


def test_prepared_list(write):
    first, second = load_pairs(write(PREPARED))
    assert (first.pair_id, first.fields) == ("a", {"source": "hand"})
    assert (first.clean.question, first.clean.answer, first.clean.cot) == ("2 and 3?", "5", "<<2+3=5>>")
    assert (first.corrupted.question, first.corrupted.answer) == ("2 and 4?", "6")
    assert first.clean.fields == {"reasoning_steps": 1}
    assert (second.pair_id, second.clean.answer, second.corrupted.answer) == ("7", "3.5", "4.0")
    assert (second.clean.cot, second.fields) == (None, {})
    assert second.clean.fields == {"reasoning_steps": 1, "tags": ["x", {"y": 0.1}]}


def test_flat_list_joins_sides_in_any_order(write):
    pairs = load_pairs(write(FLAT))
    assert [pair.pair_id for pair in pairs] == ["0", "1"]
    assert [(pair.clean.answer, pair.corrupted.answer) for pair in pairs] == [("2", "3"), ("8", "7")]
    assert pairs[1].clean.fields == {"reasoning_steps": 1, "needs_cot": False}
    assert pairs[1].corrupted.fields == {"reasoning_steps": 1, "needs_cot": None}


@pytest.mark.parametrize("document", [PREPARED, FLAT])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\n\n"])
def test_json_lines_equal_the_list(write, document, newline):
    expected = load_pairs(write(document))
    assert load_pairs(write(newline.join(map(json.dumps, document)) + newline)) == expected
    assert load_pairs(write(b"\xef\xbb\xbf" + json.dumps(document).encode())) == expected


def test_a_line_separator_inside_a_question_does_not_end_the_line(write):
    lines = changed(PREPARED, 0, "clean", "question", to="2\u2028and 3?")
    pairs = load_pairs(write("\n".join(json.dumps(each, ensure_ascii=False) for each in lines)))
    assert pairs[0].clean.question == "2\u2028and 3?"


@pytest.mark.parametrize("document", [PREPARED, FLAT])
def test_to_prepared_loads_as_equal_pairs(write, document):
    pairs = load_pairs(write(document))
    written = to_prepared(pairs)
    assert [type(each["clean"]["answer"]) for each in written] == [str if "." in p.clean.answer else int for p in pairs]
    assert load_pairs(write(json.dumps(written))) == pairs
    assert load_pairs(write(json.dumps(written))) != list(reversed(pairs))


def test_what_experiments_to_come_read_is_kept_as_it_is(write):
    carried = {"entry_step": 1, "expected": {"t0": 18, "t1": "Mary Ann"}}
    document = [PREPARED[0] | carried | {"clean": PREPARED[0]["clean"] | {"values": [3, 5]}}]
    [pair] = pairs = load_pairs(write(document))
    assert {name: pair.fields[name] for name in carried} == carried
    assert pair.clean.fields["values"] == [3, 5]
    assert "field.entry_step" in pair.record_fields()
    assert not [name for name in pair.record_fields() if "expected" in name or "values" in name]
    assert load_pairs(write(json.dumps(to_prepared(pairs)))) == pairs


@pytest.mark.parametrize(
    ("literal", "answer"),
    [
        ("3.0", "3"),
        ("1e3", "1000"),
        ("0.1", "0.1"),
        ("-0.0", "0"),
        ("12345678901234567890.25", "12345678901234567890.25"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('"1,000"', "1,000"),
        ('"1e3"', "1e3"),
        ('"007"', "007"),
        ('"-0"', "-0"),
        ('" Mary Ann "', "Mary Ann"),
        ('"\u0035"', "5"),
    ],
)
def test_answers_are_read_exactly(write, literal, answer):
    text = json.dumps(changed(PREPARED, 0, "clean", "answer", to=0)).replace('"answer": 0', f'"answer": {literal}')
    pairs = load_pairs(write(text))
    assert pairs[0].clean.answer == answer
    assert load_pairs(write(json.dumps(to_prepared(pairs)))) == pairs


def test_numbers_in_fields_are_plain_or_their_text(write):
    text = json.dumps(changed(PREPARED, 0, "source", to=[0])).replace(
        "[0]", f"[0.1, 2, 1e999, 1e{'9' * 30}, {'1' * 500}]"
    )
    values = load_pairs(write(text))[0].fields["source"]
    assert isinstance(values, list)
    assert values == [0.1, 2, "1E+999", f"1e{'9' * 30}", "1" * 500]
    assert [type(each) for each in values] == [float, int, str, str, str]


@pytest.mark.parametrize("claim", [True, False, "no"])
def test_a_claim_about_correctness_decides_nothing(write, claim):
    pair = load_pairs(write(changed(FLAT, 0, "baseline_correct", to=claim)))[0]
    assert pair.corrupted.fields["baseline_correct"] == claim
    assert pair.record_fields()["field.corrupted.baseline_correct"] == claim


@pytest.mark.parametrize("value", [None, "", " \n", "two\nlines", "\ud800", True, [5], {"value": 5}, "9" * 1000])
def test_what_is_no_answer(faults, value):
    [(index, pair_id, name, problem)] = faults(changed(PREPARED, 1, "clean", "answer", to=value))
    assert (index, pair_id, name) == ("item 1", "7", "clean.answer")
    assert problem.endswith("; expected text on one line, or a number")
    assert len(problem) < 150
    assert faults(changed(FLAT, 2, "answer", to=value)) == [("item 2", "0", "answer", problem)]


@pytest.mark.parametrize("name", ["pair_id", "question", "cot"])
@pytest.mark.parametrize("literal", ["9" * 500, f"1e{'9' * 30}", "1e99"])
def test_a_number_is_never_text(faults, write, name, literal):
    """However long: only an id may be a number, and it is the text of that number."""
    keys = (name,) if name == "pair_id" else ("clean", name)
    text = json.dumps(changed(PREPARED, 0, *keys, to="HERE")).replace('"HERE"', literal)
    if (name, literal) == ("pair_id", "1e99"):
        assert load_pairs(write(text))[0].pair_id == "1" + "0" * 99
    else:
        [(_, _, found, problem)] = faults(text)
        assert found == ".".join(keys)
        assert re.match(r"found (a huge number|the number 1E\+99); expected text", problem)


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e99999999999999999999", "9" * 5000])
def test_a_literal_that_is_no_answer(faults, literal):
    text = json.dumps(changed(PREPARED, 0, "clean", "answer", to=0)).replace('"answer": 0', f'"answer": {literal}')
    [(index, pair_id, name, problem)] = faults(text)
    assert (index, pair_id, name) == ("item 0", "a", "clean.answer")
    assert "number" in problem


@pytest.mark.parametrize(
    ("keys", "to", "name", "problem"),
    [
        (("clean", "question"), None, "clean.question", "found null; expected text"),
        (("clean", "question"), " \n", "clean.question", r"found ' \\n'; expected text that is not blank"),
        (("corrupted", "question"), 5, "corrupted.question", "found the number 5; expected text"),
        (("clean", "question"), "half \ud800", "clean.question", "found 'half .*expected text"),
        (("clean", "cot"), 5, "clean.cot", "found the number 5; expected text"),
        (("clean", "cot"), "", "clean.cot", "found ''; expected text"),
        (("clean",), None, "clean", "found null; expected an object"),
        (("clean",), [1], "clean", "found a list; expected an object"),
        (("extra",), "\udfff", "extra", "surrogate"),
        (("\ud800",), 1, "\ud800", "surrogate"),
        (("extra",), float("nan"), "extra", "found nan.*JSON does not have"),
        (("extra",), {"deep": [float("inf")]}, "extra", "found inf"),
        (("pair_id",), None, "pair_id", "found null; expected text.*or a number"),
        (("pair_id",), "", "pair_id", "found ''"),
        (("pair_id",), True, "pair_id", "found true"),
        (("pair_id",), [1], "pair_id", "found a list"),
    ],
)  # fmt: skip
def test_one_wrong_value_is_one_fault(faults, keys, to, name, problem):
    [(index, pair_id, found, text)] = faults(changed(PREPARED, 0, *keys, to=to))
    assert (index, pair_id, found) == ("item 0", None if name == "pair_id" else "a", name)
    assert re.search(problem, text)


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        (("pair_id",), "pair_id"),
        (("clean",), "clean"),
        (("corrupted",), "corrupted"),
        (("clean", "question"), "clean.question"),
        (("corrupted", "answer"), "corrupted.answer"),
    ],
)
def test_a_missing_key_is_one_fault(faults, keys, name):
    [(index, _, found, problem)] = faults(without(PREPARED, 0, *keys))
    assert (index, found) == ("item 0", name)
    assert problem.startswith("missing; expected")


@pytest.mark.parametrize("variant", ["Clean", "", None, 3, ["clean"]])
def test_an_unknown_variant(faults, variant):
    found = faults(changed(FLAT, 3, "variant", to=variant))
    assert found[0][:3] == ("item 3", "1", "variant")
    assert 'expected "clean" or "corrupted"' in found[0][3]


def test_incomplete_and_repeated_pairs(faults):
    assert faults(FLAT[:3]) == [
        ("item 1", "1", "variant", "the only side of its pair is clean; add the other one, or drop the pair")
    ]
    [repeated] = faults([*FLAT, {**FLAT[0], "question": "new?"}])
    assert repeated == ("item 4", "0", "variant", "a second corrupted side, after item 0; expected one")
    [repeated] = faults([PREPARED[0], changed([PREPARED[1]], 0, "pair_id", to="a")[0]])
    assert repeated == ("item 1", "a", "pair_id", "the same as that of item 0; expected one item per pair")


def test_a_number_and_its_text_are_one_pair_id(faults, write):
    [repeated] = faults([PREPARED[1], changed([PREPARED[0]], 0, "pair_id", to="7")[0]])
    assert repeated[1:3] == ("7", "pair_id")
    assert load_pairs(write(json.dumps(PREPARED[1:]).replace('"pair_id": 7', '"pair_id": 7.0')))[0].pair_id == "7"


@pytest.mark.parametrize("sides", [("clean", "corrupted"), ("corrupted", "clean")])
def test_two_questions_may_be_one_pair_only_but_one_may_be_in_several(faults, write, sides):
    again = changed(PREPARED, 1, sides[0], "question", to="2 and 3?")
    assert len(load_pairs(write(again))) == 2
    again = changed(again, 1, sides[1], "question", to="2 and 4?")
    expected = ("7", "both questions are those of pair 'a'; drop one of the two pairs")
    [(index, pair_id, name, problem)] = faults(again)
    assert (index, name, pair_id, problem) == ("item 1", "question", *expected)
    flat = [
        {"pair_id": each["pair_id"], "variant": side, **each[side]} for each in again for side in ("corrupted", "clean")
    ]
    assert [(each[1], each[3]) for each in faults(flat)] == [expected]


def test_all_faults_are_reported_at_once(faults):
    broken = changed(PREPARED, 0, "clean", "answer", to=None)
    broken = changed(broken, 0, "corrupted", "question", to=1)
    broken = changed(broken, 1, "corrupted", "answer", to="x\ny")
    found = faults([*broken, 3, {}])
    assert [each[:3] for each in found] == [
        ("item 0", "a", "clean.answer"),
        ("item 0", "a", "corrupted.question"),
        ("item 1", "7", "corrupted.answer"),
        ("item 2", None, None),
        ("item 3", None, "pair_id"),
        ("item 3", None, "clean"),
        ("item 3", None, "corrupted"),
    ]


def test_faults_of_json_lines_name_lines(faults):
    lines = [
        json.dumps(PREPARED[0]),
        "",
        '{"pair_id": 1,',
        json.dumps(changed(PREPARED, 1, "clean", "answer", to="x\ny")[1]),
    ]
    assert [each[:3] for each in faults("\n".join(lines))] == [("line 3", None, None), ("line 4", "7", "clean.answer")]


def test_text_of_the_error(write):
    path = write(changed(PREPARED, 0, "clean", "answer", to=None))
    with pytest.raises(PairError) as caught:
        load_pairs(path)
    assert str(caught.value) == (
        f"{path}: item 0, pair 'a', field 'clean.answer': found null, neither text nor a number; expected text on one "
        "line, or a number"
    )


def test_the_text_is_capped_and_the_faults_are_not(write):
    path = write([None] * 50)
    with pytest.raises(PairFileError) as caught:
        load_pairs(path)
    lines = str(caught.value).splitlines()
    assert len(caught.value.faults) == 50
    assert len(lines) == FAULTS_PRINTED + 2
    assert lines[0] == f"{path}: 50 faults, nothing was loaded:"
    assert lines[1].strip() == "item 0: found null; expected an object"
    assert lines[-1].strip() == "and 30 more"
    assert pickle.loads(pickle.dumps(caught.value)).faults == caught.value.faults


def test_a_key_that_occurs_twice(faults):
    text = json.dumps(PREPARED)
    assert faults(text.replace('"source"', '"source": 1, "source"'))[0][:3] == ("item 0", "a", "source")
    [(_, _, name, problem)] = faults(text.replace('"answer": 5', '"answer": 9, "answer": 5'))
    assert (name, problem) == ("clean.answer", "the key is there more than once; expected it once")
    [(_, _, name, problem)] = faults(text.replace('{"y"', '{"y": 1, "y"'))
    assert (name, problem) == ("clean.tags", "found the key 'y' more than once; expected it once")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"[]", "holds no pair"),
        (b"[{]", "not JSON: .* at line 1, column 3"),
        (b'[\n{"a": 1},\n', "not JSON: .* at line 3, column 1"),
        (b"[] []", "not JSON: Extra data at line 1, column 4"),
        (b"pair_id,question", "not JSON: .* at column 1; expected one whole object on each line"),
        (b"null", "found null; expected an object"),
        (b'["\xff"]', "is not UTF-8, for byte 0xff at offset 2"),
        ('["x"]'.encode("utf-16"), "is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'[{"a":' * 100_000 + b"1" + b"}]" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_list_of_pairs(write, content, problem):
    path = write(content)
    with pytest.raises(PairFileError, match=problem) as caught:
        load_pairs(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(caught.value.faults) == 1


def test_a_field_nested_too_deeply(faults, write):
    def nested(depth):
        return json.loads("[" * depth + "]" * depth)

    assert load_pairs(write(changed(PREPARED, 0, "source", to=nested(MAX_DEPTH))))
    [(_, _, name, problem)] = faults(changed(PREPARED, 0, "source", to=nested(MAX_DEPTH + 2)))
    assert name == "source"
    assert f"deeper than {MAX_DEPTH} levels" in problem


def test_what_is_no_file(tmp_path):
    with pytest.raises(PairError, match="No such file"):
        load_pairs(tmp_path / "absent.json")
    with pytest.raises(PairError, match="is a directory"):
        load_pairs(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PairError, match="is not a regular file"):
        load_pairs(tmp_path / "pipe")


def test_a_file_too_large_is_not_read(tmp_path, write, monkeypatch):
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(items.MAX_BYTES + 1)  # sparse
    with pytest.raises(PairError, match=f"has {items.MAX_BYTES + 1} bytes, and at most {items.MAX_BYTES} are read"):
        load_pairs(path)
    path = write(PREPARED)
    monkeypatch.setattr(items, "MAX_BYTES", path.stat().st_size)
    assert load_pairs(path)


def test_a_file_that_would_fill_the_memory_is_not_decoded(write):
    with pytest.raises(PairFileError, match="opens 6000001 lists and objects, and at most 4000000 are read: split it"):
        load_pairs(write("[" + "{}," * 6_000_000 + "1]"))


def test_a_path_that_cannot_be_one():
    with pytest.raises(PairFileError, match="cannot be read"):
        load_pairs("a\0b")


def test_text_that_names_a_file_stays_text(write, tmp_path):
    (tmp_path / "secret").write_text("5")
    path = str(tmp_path / "secret")
    pair = load_pairs(write(changed(PREPARED, 0, "clean", "question", to=path)))[0]
    assert pair.clean.question == path
    assert load_pairs(write(changed(PREPARED, 0, "clean", "answer", to=path)))[0].clean.answer == path


@pytest.mark.parametrize("document", [PREPARED, FLAT])
def test_python_objects_give_the_pairs_of_a_file(write, document):
    pairs = load_pairs(write(document))
    assert pairs_from(document) == pairs
    assert pairs_from(iter(pairs)) == pairs
    assert pairs_from([MappingProxyType(each) for each in document]) == pairs


def test_numbers_and_containers_of_python_are_taken(write):
    given = changed(PREPARED, 0, "clean", "answer", to=np.int64(5))
    given = changed(given, 0, "source", to=(np.int64(3), 0.5, {"x": None}))
    [first, _] = pairs_from(given)
    assert (first.clean.answer, first.fields["source"]) == ("5", [3, 0.5, {"x": None}])
    assert load_pairs(write(json.dumps(to_prepared([first])))) == [first]


@pytest.mark.parametrize(
    ("keys", "to", "name", "problem"),
    [
        (("extra",), {1, 2}, "extra", "found a value of type set; expected what JSON can hold"),
        (("extra",), {3: "x"}, "extra", "found the key the number 3; expected text"),
        (("extra",), float("nan"), "extra", "found nan"),
        (("extra",), 10**1000, "extra", "found a huge number"),
        (("clean", "answer"), np.float32(0.1), "clean.answer", "a value of type float32, neither text nor a number"),
        (("clean", "answer"), float("nan"), "clean.answer", "found NaN, not a finite number"),
        (("clean", "cot"), float("nan"), "clean.cot", "expected text that is not blank"),
        (("clean",), "x", "clean", "found 'x'; expected an object"),
    ],
)
def test_a_fault_of_an_object_has_its_item(keys, to, name, problem):
    with pytest.raises(PairFileError, match=r"^my pairs: item 1, pair '7', field") as caught:
        pairs_from(changed(PREPARED, 1, *keys, to=to), name="my pairs")
    [fault] = caught.value.faults
    assert (fault.index, fault.field) == ("item 1", name)
    assert problem in fault.problem


def test_pairs_that_were_made_by_hand_are_checked_together():
    side = Side("2 and 3?", "5", None, {})
    twin = [Pair("a", side, Side("2 and 4?", "6", None, {}), {}), Pair("a", Side("?", "5", None, {}), side, {})]
    with pytest.raises(PairFileError) as caught:
        pairs_from([*twin, "no pair"])  # pyright: ignore[reportArgumentType]
    assert [(each.index, each.field) for each in caught.value.faults] == [("item 1", "pair_id"), ("item 2", None)]
    with pytest.raises(PairFileError, match="holds no pair"):
        pairs_from([])


TEXTS = [
    json.dumps(PREPARED).encode(),
    json.dumps(FLAT).encode(),
    "\n".join(map(json.dumps, PREPARED)).encode(),
]
EDITS = st.lists(
    st.tuples(st.integers(0, 700), st.integers(0, 40), st.binary(max_size=4) | st.sampled_from(TEXTS)), max_size=4
)


@settings(max_examples=200)
@given(st.sampled_from(TEXTS), EDITS)
def test_damaged_bytes_give_faults_or_sound_pairs(tmp_path_factory, text, edits):
    for start, length, inserted in edits:
        text = text[:start] + inserted + text[start + length :]
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(text)
    try:
        pairs = load_pairs(path)
    except PairFileError:
        return
    assert pairs
    path.write_text(json.dumps(to_prepared(pairs)))
    assert load_pairs(path) == pairs


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["clean", "7", "a", "2 and 3?", "1,000", "−3", "1e999999999", "a\nb", 10**500, "\ud800"])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
)
PATHS = st.sampled_from(
    [
        (index, *keys)
        for index in (0, 1)
        for keys in [
            ("pair_id",),
            ("extra",),
            ("clean",),
            *((s, k) for s in ("clean", "corrupted") for k in ("question", "answer", "cot", "x")),
        ]
    ]
)


@settings(max_examples=200)
@given(st.lists(st.tuples(PATHS, VALUES), max_size=2))
def test_changed_values_give_faults_or_the_pairs_that_were_written(tmp_path_factory, changes):
    document = PREPARED
    for keys, value in changes:
        if all(isinstance(each["clean"], dict) for each in document):
            document = changed(document, *keys, to=value)
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_text(json.dumps(document))
    try:
        pairs = load_pairs(path)
    except PairFileError:
        return
    for pair, written in zip(pairs, document, strict=True):
        assert pair.pair_id == str(written["pair_id"])
        for side in ("clean", "corrupted"):
            found, expected = getattr(pair, side), written[side]
            assert found.question == expected["question"]
            assert found.cot == expected.get("cot")
            assert found.answer == answer_text(expected["answer"])
            if not isinstance(expected["answer"], str):
                assert found.value == Fraction(repr(expected["answer"]))
            kept = {key: expected[key] for key in expected.keys() - {"question", "answer", "cot"}}
            if isinstance(kept.get("x"), int) and abs(kept["x"]) >= 10**MAX_LENGTH:
                kept["x"] = str(kept["x"])
            assert found.fields == kept
