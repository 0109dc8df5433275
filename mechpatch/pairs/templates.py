"""Pairs from templates with slots, for tasks such as names and choices.

A file is one JSON object, or a list of them:

    {"name": "ball", "question": "{a} gives the ball to {b}. Who has it?", "answer": "{b}",
     "slots": {"a": ["Mary", "John"], "b": ["Mary", "John"], "n": {"from": 3, "to": 20}},
     "distinct": [["a", "b"]], "change": ["b"], "cot": "<<{n}*2={n*2}>>"}

`{b}` is the value of a slot and `{n*2}` an expression of slots with whole values. An answer may also be a table:
`{"of": "{a}", "is": {"Mary": "red", "John": "blue"}}`. Slots of one list in `distinct` never have the same value; one
slot of `change` (left out: of all) differs between the two sides. `distinct`, `change` and `cot` may be left out.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mechpatch.errors import PairError
from mechpatch.pairs.arithmetic import parse
from mechpatch.pairs.faults import Reading
from mechpatch.pairs.items import read_text
from mechpatch.pairs.load import pairs_from
from mechpatch.pairs.schema import Pair

TRIES = 200  # draws in a row that give no new pair, after which a template has no more to give
KEYS = {"name", "question", "answer", "slots", "distinct", "change", "cot"}
Values = dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Template:
    """One template of a file."""

    name: str
    question: str
    answer: str | Mapping[str, object]
    slots: Mapping[str, list[str | int]]
    distinct: list[list[str]]
    change: list[str]
    cot: str | None


def read_templates(path: Path) -> list[Template]:
    """The templates of a file. Raises `PairError` that names the file, the template and the field."""
    try:
        found = json.loads(read_text(path, Reading(str(path)), "a JSON template or a list of them"))
    except (ValueError, RecursionError) as error:
        raise PairError(f"{path}: cannot be read as JSON ({error}); expected a template or a list of them") from error
    found = found if isinstance(found, list) else [found]
    templates = []
    for index, each in enumerate(found):
        try:
            templates.append(_template(each, index))
        except (ValueError, TypeError) as error:
            raise PairError(f"{path}: template {index}: {error}") from None
    return templates


def _template(found: object, index: int) -> Template:
    if not isinstance(found, dict) or not {"question", "answer", "slots"} <= found.keys() <= KEYS:
        raise ValueError(f"expected an object with question, answer and slots, and maybe {', '.join(sorted(KEYS))}")
    answer, slots = found["answer"], found["slots"]
    table = isinstance(answer, dict) and isinstance(answer.get("of"), str) and isinstance(answer.get("is"), dict)
    texts = (found["question"], found.get("name", ""), found.get("cot") or "")
    if not all(isinstance(each, str) for each in texts) or not (isinstance(answer, str) or table):
        raise ValueError('name, question and cot must be text, answer text or {"of": …, "is": {…}}')
    if not isinstance(slots, dict) or not slots:
        raise ValueError("slots must be an object with the values of each slot")
    values = {name: _values(name, given) for name, given in slots.items()}
    distinct, change = found.get("distinct", []), found.get("change", [*values])
    for names in [*distinct, change]:
        if not isinstance(names, list) or not all(name in values for name in names):
            raise ValueError(f"distinct and change must be lists of {', '.join(values)}; found {names!r:.60}")
    template = Template(
        found.get("name", f"template{index}"), found["question"], answer, values, distinct, change, found.get("cot")
    )
    first: Values = {name: each[0] for name, each in values.items()}
    for text in (template.question, template.cot or "", answer if isinstance(answer, str) else answer["of"]):
        try:
            filled(text, first)
        except ArithmeticError:  # these values alone do not fit
            continue
    return template


def _values(name: str, given: object) -> list[str | int]:
    if isinstance(given, dict) and given.keys() == {"from", "to"}:
        first, last = given["from"], given["to"]
        if isinstance(first, int) and isinstance(last, int) and 1 < last - first + 1 <= 10**6:
            return [*range(first, last + 1)]
    elif isinstance(given, list) and len({*map(str, given)}) == len(given) > 1:
        if any(isinstance(each, bool) or not isinstance(each, str | int) for each in given):
            raise ValueError(f"slot {name!r}: expected texts and whole numbers")
        return given
    raise ValueError(
        f'slot {name!r}: expected two or more different texts or whole numbers, or {{"from": 3, "to": 20}}'
    )


def filled(text: str, values: Values) -> str:
    """`text` with its slots filled. Raises ArithmeticError for an expression that is not whole."""

    def value(match: re.Match[str]) -> str:
        if match[1] in values:
            return str(values[match[1]])
        expression = parse(match[1])
        operands = []
        for each in expression.operands:
            named = values.get(match[1][each.start : each.end])
            if each.value is None and not isinstance(named, int):
                raise ValueError(f"{match[0]!r}: expected a slot, or + - * / ( ) % of slots with whole values")
            operands.append(Fraction(named) if isinstance(named, int) and each.value is None else each.value)
        result = expression.value(operands)
        if result.denominator != 1:
            raise ArithmeticError("not whole")
        return str(int(result))

    return re.sub(r"\{([^{}]*)\}", value, text)


def fill_templates(templates: list[Template], *, count: int, seed: int = 0) -> tuple[list[Pair], Counter[str]]:
    """`count` different pairs of each template where there are so many, and how many draws were left out and why."""
    pairs, skipped = [], Counter()
    for index, template in enumerate(templates):
        rng, seen = random.Random(f"{seed}: {index}: {template.question}"), set()
        missed = 0
        while len(seen) < count and missed < TRIES:
            missed += 1
            clean: Values = {name: rng.choice(values) for name, values in template.slots.items()}
            slot = rng.choice(template.change)
            corrupted = clean | {slot: rng.choice(template.slots[slot])}
            try:
                sides = [_side(template, values) for values in (clean, corrupted)]
            except ArithmeticError:
                skipped["an expression is not whole"] += 1
                continue
            questions = frozenset(side["question"] for side in sides)
            if any(len({values[name] for name in names}) < len(names)
                   for values in (clean, corrupted) for names in template.distinct):  # fmt: skip
                skipped["two slots have the same value"] += 1
            elif sides[0]["answer"] == sides[1]["answer"] or len(questions) < 2:
                skipped["both sides are the same"] += 1
            elif questions in seen:
                skipped["drawn before"] += 1
            else:
                name = f"{template.name}-{len(seen)}"
                pairs.append({"pair_id": name, "template": template.name, "slot": slot} | dict(
                    zip(("clean", "corrupted"), sides, strict=True)))  # fmt: skip
                seen.add(questions)
                missed = 0
    return (pairs_from(pairs, "templates") if pairs else []), skipped


def _side(template: Template, values: Values) -> dict[str, str]:
    answer = template.answer
    if isinstance(answer, Mapping):
        key, table = filled(str(answer["of"]), values), answer["is"]
        if not isinstance(table, Mapping) or key not in table:
            raise PairError(f"template {template.name!r}: the table of answers has no {key!r}")
        answer = str(table[key])
    side = {"question": filled(template.question, values), "answer": filled(str(answer), values)}
    return side if template.cot is None else side | {"cot": filled(template.cot, values)}
