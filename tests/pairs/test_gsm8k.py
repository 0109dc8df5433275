"""Pairs from GSM8K's own format, each held to what its question says: a formula of the test's, not of the maker."""

import ast
import json
import operator
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction

import pytest
from typer.testing import CliRunner

from mechpatch.cli import app
from mechpatch.pairs import PairFileError, load_pairs, to_prepared
from mechpatch.pairs.arithmetic import parse
from mechpatch.pairs.gsm8k import make_pairs
from mechpatch.pairs.problems import read_problems
from mechpatch.pairs.wording import takes_an

Formula = Callable[..., list]  # numbers in digits, as the question has them -> the result of each calculation

# Question, reasoning, final answer, what is skipped or (None) made, and the numbers that may change, by value.
SHAPES: dict[str, tuple[str, str, str, str | None, set[int], Formula]] = {
    "plain": (
        "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many?",
        "She sold 48/2 = <<48/2=24>>24 clips in May.\nShe sold 48+24 = <<48+24=72>>72 clips.", "72", None, {48},
        lambda a: [a / 2, a + a / 2],
    ),
    "three numbers": (
        "Tom has 15 bags of 8 apples and eats 6 of them. How many are left?",
        "15*8=<<15*8=120>>120\n120-6=<<120-6=114>>114", "114", None, {15, 8, 6}, lambda a, b, c: [a * b, a * b - c],
    ),
    "brackets": (
        "A room of 13 by 9 metres loses 17 square metres in each of 3 walls. What is left?",
        "It is (13*9)-(17*3)=<<(13*9)-(17*3)=66>>66", "66", None, {13, 9, 17, 3}, lambda a, b, c, d: [a * b - c * d],
    ),
    "money": (
        "A pen costs $14. How much are 16 pens and a $9 ruler?",
        "$14*16=$<<14*16=224>>224\n224+9=$<<224+9=233>>233", "233", None, {14, 16, 9},
        lambda a, b, c: [a * b, a * b + c],
    ),
    "money inside": (
        "A pen costs $14. How much are 16 pens?", "All cost <<$14*16=$224>>224.", "224", None, {14, 16},
        lambda a, b: [a * b],
    ),
    "thousands": (
        "A farm of 1,998 hens sells 899. How many are left?", "<<1,998-899=1,099>>1,099 are left.", "1,099", None,
        {1998, 899}, lambda a, b: [a - b],
    ),
    "a decimal": (
        "A pie is $2.5. How much are 14 pies and 8 cakes of $9?",
        "<<14*2.5=35>>35\n<<8*9=72>>72\n<<35+72=107>>107", "107", None, {14, 8, 9},
        lambda p, a, b, c: [a * p, b * c, a * p + b * c],
    ),
    "a percentage": (
        "A coat of 80 dollars is 25% off, and a hat is 13 dollars. How much are both?",
        "80*25/100=<<80*25/100=20>>20\n80-20=<<80-20=60>>60\n60+13=<<60+13=73>>73", "73", None, {80, 13},
        lambda a, p, b: [a * p / 100, a - a * p / 100, a - a * p / 100 + b],
    ),
    "a percent sign": (
        "Of 600 seats 5% are broken and 17 taken. How many are free?",
        "<<600*5%=30>>30\n<<600-30-17=553>>553", "553", None, {17},
        lambda a, p, b: [a * p / 100, a - a * p / 100 - b],
    ),
    "repeated": (
        "Ann has 13 pens and 13 books, and buys 16 more. How many things?", "<<13+13+16=42>>42", "42", None, {16},
        lambda a, b, c: [a + b + c],
    ),
    "in words": (
        "Ann has six cats, and each eats 6 fish and 14 mice a day. How much do all eat?",
        "<<6+14=20>>20\n<<20*6=120>>120",
        "120", None, {14}, lambda a, b: [a + b, (a + b) * 6],
    ),
    "a week": (
        "Ann runs 7 miles and walks 9 a day. How far in a week?", "<<7+9=16>>16\n<<16*7=112>>112", "112", None, {9},
        lambda a, b: [a + b, (a + b) * 7],
    ),
    "a result as operand": (
        "Bo has 30 red and 19 blue pens, gives 30 away, and buys 38. How many?",
        "<<30+19=49>>49\n<<49-30=19>>19\n<<19+38=57>>57", "57", None, {38, 19},
        lambda a, b, c, d: [a + b, a + b - c, a + b - c + d],
    ),
    "turns fractional": (
        "Bo shares 36 nuts among 12 friends. How many does each get?", "<<36/12=3>>3", "3", None, {12},
        lambda a, b: [a / b],
    ),
    "a result in parts": (
        "Bo cuts 35 feet in 10 parts. How long are 4?", "<<35/10=3.5>>3.5\n<<3.5*4=14>>14", "14",
        "a result is not whole and positive", set(), lambda a, b, c: [],
    ),
    "no annotation": (
        "Bo has 12 and 15. How many?", "12+15=27", "27",
        "there are no <<…>> annotations", set(), lambda a, b: [],
    ),
    "one is missing": (
        "Bo has 12 bags of 15 and 9 more. How many?", "That is 180.\n<<180+9=189>>189", "189",
        "a line with numbers has no <<…>> annotation", set(), lambda a, b, c: [],
    ),
    "hidden equation": (
        "Bo has 12 bags of 15 and 9 more. How many?!", "12*15=180, so <<180+9=189>>189", "189",
        "an equation has no <<…>> annotation", set(), lambda a, b, c: [],
    ),
    "wrong": (
        "Bo has 12 and 15. Sum?", "<<12+15=28>>28", "28",
        "an annotation does not compute", set(), lambda a, b: [],
    ),
    "units inside": (
        "Bo has 12 and 15 m. Sum?", "<<12+15=27 m>>27", "27",
        "an annotation cannot be read", set(), lambda a, b: [],
    ),
    "other answer": (
        "Bo has 12 and 15. Double?", "<<12+15=27>>27", "54", "the final answer is not the last result", set(),
        lambda a, b: [],
    ),
    "from nowhere": (
        "Bo has 12. How many with Al?", "<<12+19=31>>31", "31",
        "an operand comes from nowhere", set(), lambda a: [],
    ),
    "no number": ("Who is first?", "It is Bo.", "Bo", "the final answer is no whole number after ####", set(), list),
    "times and ranges": (
        "From 8:30 on Al, 3rd of class 7b, eats 10-12 nuts of his 45. At least?", "<<45-12=33>>33", "33", None, {45},
        lambda a, b, c, d, e, f, g: [g - f],
    ),
    "a vowel": (
        "An 8 m and an 18 m rod. How long are they?", "<<8+18=26>>26", "26", None, {8}, lambda a, b: [a + b],
    ),
    "two readings": (
        "Bo has 26 red and 13 blue pens, loses 20, and buys 19 and 5 more. How many?",
        "<<26+13=39>>39\n<<39-20=19>>19\n<<19+19=38>>38\n<<38+5=43>>43", "43", None, {5},
        lambda a, b, c, d, e: [a + b, a + b - c, a + b - c + d, a + b - c + d + e],
    ),
    "nothing to change": ("Half of six?", "<<6/2=3>>3", "3", "none of its numbers can be changed", set(), lambda: []),
}  # fmt: skip


def digits(text: str) -> list[Fraction]:
    return [Fraction(each.replace(",", "")) for each in re.findall(r"\d+(?:,\d{3})*(?:\.\d+)?", text)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("gsm8k") / "made.jsonl"
    items = [{"question": each[0], "answer": f"{each[1]}\n#### {each[2]}"} for each in SHAPES.values()]
    path.write_text("\n".join(map(json.dumps, items)))
    return path


SIGNS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}


def independent(text: str) -> Fraction:
    """The value of a calculation by Python's own parser."""

    def value(node) -> Fraction:
        match node:
            case ast.Constant():
                return Fraction(str(node.value))
            case ast.BinOp():
                return SIGNS[type(node.op)](value(node.left), value(node.right))
            case ast.UnaryOp(op=ast.USub()):
                return -value(node.operand)
        raise AssertionError(node)

    plain = re.sub(r"([\d)])%", r"\1*0.01", re.sub(r"[$]|(?<=\d),(?=\d{3})", "", text))
    return value(ast.parse(plain.strip(), mode="eval").body)


def annotations(cot: str) -> list[tuple[str, str]]:
    found = re.findall(r"<<(.+?)=(.+?)>>", cot)
    assert "".join(f"<<{left}={right}>>" for left, right in found) == cot
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_every_pair_is_what_its_question_says(file, seed):
    shapes = list(SHAPES.values())
    made = make_pairs(read_problems(file), seed=seed, per_question=100, name="made")
    changed: dict[int, set[int]] = {}
    for pair in made.pairs:
        at = int(str(pair.fields["item"]))
        question, reasoning, final, _, _, formula = shapes[at]
        assert (pair.clean.question, pair.clean.answer) == (question, final)
        assert pair.clean.cot == "".join(re.findall("<<.+?>>", reasoning))
        before, after = digits(pair.clean.question), digits(pair.corrupted.question)
        [(old, new)] = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert re.sub(r"[\d,]+", "#", question) == re.sub(r"[\d,]+", "#", pair.corrupted.question)
        assert (0 < abs(new - old) <= 5, new - old) == (True, pair.fields["change"])
        changed.setdefault(at, set()).add(int(old))
        for side, numbers in ((pair.clean, before), (pair.corrupted, after)):
            results = formula(*numbers)
            assert side.fields["values"] == results
            assert all(each > 0 and each == int(each) for each in results)
            assert side.value == results[-1]
            steps = annotations(side.cot or "")
            assert [independent(left) for left, _ in steps] == [independent(right) for _, right in steps] == results
        assert pair.clean.value != pair.corrupted.value
        lefts = [[left for left, _ in annotations(side.cot or "")] for side in (pair.clean, pair.corrupted)]
        entry = [a == b for a, b in zip(*lefts, strict=True)].index(False)
        assert (pair.fields["entry_step"], pair.fields["steps_after_entry"]) == (entry, len(lefts[0]) - 1 - entry)
    assert [changed.get(at, set()) for at in range(len(shapes))] == [each[4] for each in shapes]


def test_what_is_left_out_is_counted_by_reason(file):
    made = make_pairs(read_problems(file), name="made")
    assert made.questions == len(SHAPES) >= 20
    assert made.skipped == Counter(each[3] for each in SHAPES.values() if each[3])
    assert len(made.pairs) == made.questions - sum(made.skipped.values())
    assert set(made.unchanged) == {
        "it is a percentage", "it is a decimal", "it occurs twice in the question", "it may be what a word says",
        "an operand could be two numbers", "it is part of a word, a time or a range", "no other value fits its article",
        "a result would not stay whole and positive", "it could be two operands",
    }  # fmt: skip


def test_pairs_are_drawn_by_seed_and_question(file):
    problems = read_problems(file)
    first = make_pairs(problems, seed=3)
    assert first == make_pairs(problems, seed=3)
    assert first.pairs != make_pairs(problems, seed=4).pairs
    last = make_pairs(problems[1:], seed=3).pairs
    assert [pair.corrupted for pair in last] == [pair.corrupted for pair in first.pairs[1:]]
    two = make_pairs(problems, seed=3, per_question=2).pairs
    assert {pair.corrupted.question for pair in first.pairs} <= {pair.corrupted.question for pair in two}
    by_item = Counter(pair.fields["item"] for pair in two)
    assert set(by_item.values()) <= {1, 2}
    twice = [pair for pair in two if pair.fields["item"] == 1]
    assert len({pair.clean.question for pair in twice}) == 1
    numbers = [
        [a == b for a, b in zip(*map(digits, (p.clean.question, p.corrupted.question)), strict=True)] for p in twice
    ]
    assert numbers[0] != numbers[1]  # two numbers of the question before one of them twice


def test_made_pairs_are_a_file_of_pairs(file, tmp_path):
    made = make_pairs(read_problems(file), per_question=3).pairs
    (tmp_path / "pairs.json").write_text(json.dumps(to_prepared(made)))
    assert load_pairs(tmp_path / "pairs.json") == made


def test_the_command_writes_pairs_and_says_what_it_left_out(file, tmp_path):
    def called(*more: str):
        return CliRunner().invoke(app, ["make-pairs", str(file), "--out", str(tmp_path / "pairs.json"), *more])

    found = called("--seed", "3")
    assert found.exit_code == 0
    made = make_pairs(read_problems(file), seed=3, name=file.stem)
    assert load_pairs(tmp_path / "pairs.json") == made.pairs
    assert f"{len(made.pairs)} pairs of {len(made.pairs)} of {len(SHAPES)} questions" in found.stdout
    assert all(
        f"{count}: {reason}" in found.stdout for reason, count in [*made.skipped.items(), *made.unchanged.items()]
    )
    assert str(called("--per-question", "0").exception) == "--per-question is 0, expected 1 to 100000"
    assert str(called("--max-change", "1001").exception) == "--max-change is 1001, expected 1 to 1000"
    (tmp_path / "odd.jsonl").write_text('{"question": "x", "answer": 5}\n{"question": ""}')
    with pytest.raises(PairFileError, match="3 faults"):
        read_problems(tmp_path / "odd.jsonl")


def test_a_question_that_is_there_twice_is_taken_once():
    problem = ("Tom has 15 bags of 8. How many?", "<<15*8=120>>120\n#### 120")
    made = make_pairs([problem, problem])
    assert (len(made.pairs), made.skipped) == (1, {"the question is there before": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [("2+3*4", 14), ("(2+3)*4", 20), ("-2*-3", 6), ("1,000/8", 125), ("50%*30", 15), ("(20+5)%", "1/4"),
     (" .5 * $4 ", 2), ("2*(3+(4-1))/3", 4), ("7-2-1", 4), ("8/4/2", 1), ("5/(3-2)", 5)],
)  # fmt: skip
def test_arithmetic_is_exact(text, value):
    found = parse(text)
    assert found.value([Fraction(each.value or 0) for each in found.operands]) == Fraction(value) == independent(text)


@pytest.mark.parametrize(
    "text",
    ["", "2+", "(2", "2)", "2 3", "2**3", "2//3", "__import__('os')", "2^3", "()", "12,34", "1.2.3", "*2", "%",
     "(" * 500, "1+" * 500 + "1"],
)  # fmt: skip
def test_what_is_no_arithmetic_is_refused(text):
    with pytest.raises(ValueError, match=r"cannot be read|no expression"):
        parse(text)


def test_eight_eleven_and_eighteen_take_an():
    assert [n for n in (1, 8, 10, 11, 18, 28, 80, 81, 88, 110, 118, 800, 1100, 8000, 11000, 18500) if takes_an(n)] == [
        8, 11, 18, 80, 81, 88, 800, 8000, 11000, 18500,
    ]  # fmt: skip
