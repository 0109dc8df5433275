"""The demo model's world: seeded word problems of two or three steps, and pairs that differ in one number.

A `Problem` is a start and a list of events; question, chain of thought and answer are read off it, so they cannot
disagree. Problems whose shape and numbers hash into a tenth of the space are held out: names and wording do not leak.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mechpatch.pairs.spread import Allowed, evenly_spread

NAMES = ("Tom", "Ann", "Ben", "Eva", "Sam", "Mia", "Leo", "Zoe", "Max", "Ida")
ITEMS = ("apples", "coins", "books", "stamps", "shells", "cards", "pens", "beads")
HOLDERS = ("bags", "boxes", "packs", "jars")
MAX_INTERMEDIATE = 99
MAX_ANSWER = 199
OPERATORS = {"add": "+", "sub": "-", "add_groups": "+", "sub_groups": "-", "times": "*"}
ANSWER_PREFIX = "The answer is:"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happens: `kind` is start, groups, add, sub, add_groups, sub_groups or times.

    `numbers` are (value,) or, for the three kinds with groups, (groups, size of each).
    """

    kind: str
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of reasoning, `left operator right = result`, and the (event, number) slots that first enter there."""

    left: int
    operator: str
    right: int
    result: int
    slots: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return f"<<{self.left}{self.operator}{self.right}={self.result}>>"


@dataclass(frozen=True, slots=True)
class Problem:
    """A word problem: the first event is `start` or `groups`; names and wording do not change the answer."""

    events: tuple[Event, ...]
    name: str
    friend: str
    item: str
    holder: str

    def steps(self) -> list[Step]:
        """The steps of reasoning, in order; the last result is the answer."""
        steps: list[Step] = []
        pending: list[tuple[int, int]] = []  # slots read so far that no step has used
        total = 0
        for index, event in enumerate(self.events):
            slots = [(index, number) for number in range(len(event.numbers))]
            if event.kind == "start":
                total = event.numbers[0]
                pending = slots
                continue
            amount = event.numbers[-1]
            if len(event.numbers) == 2:
                amount = event.numbers[0] * event.numbers[1]
                steps.append(Step(event.numbers[0], "*", event.numbers[1], amount, tuple(slots)))
                slots = []
                if event.kind == "groups":
                    total = amount
                    continue
            operator = OPERATORS[event.kind]
            result = {"+": total + amount, "-": total - amount, "*": total * amount}[operator]
            steps.append(Step(total, operator, amount, result, tuple(pending + slots)))
            total, pending = result, []
        return steps

    def results(self) -> list[str]:
        """The result of each step; the last one is the answer."""
        return [str(step.result) for step in self.steps()]

    def valid(self) -> bool:
        """Two or three steps, intermediates 0 to 99, answer 0 to 199."""
        results = [step.result for step in self.steps()]
        return (
            2 <= len(results) <= 3
            and all(0 <= each <= MAX_INTERMEDIATE for each in results[:-1])
            and 0 <= results[-1] <= MAX_ANSWER
        )

    def question(self) -> str:
        """The word problem in English."""
        sentences = []
        for event in self.events:
            numbers = event.numbers
            some = f"{numbers[0]} {self.holder} of {numbers[-1]}"
            sentences.append(
                {
                    "start": f"{self.name} has {numbers[0]} {self.item}.",
                    "groups": f"{self.name} has {some} {self.item}.",
                    "add": f"{self.name} finds {numbers[0]} more.",
                    "sub": f"{self.name} loses {numbers[0]}.",
                    "add_groups": f"{self.name} buys {some}.",
                    "sub_groups": f"{self.name} sells {some}.",
                    "times": f"{self.friend} has {numbers[0]} times as many.",
                }[event.kind]
            )
        owner = self.friend if self.events[-1].kind == "times" else self.name
        return " ".join([*sentences, f"How many {self.item} does {owner} have?"])

    def cot(self) -> str:
        """The explicit chain of thought, one `<<a+b=c>>` per step."""
        return "".join(map(str, self.steps()))

    def answer(self) -> int:
        """The number asked for."""
        return self.steps()[-1].result

    def held_out(self) -> bool:
        """Whether this problem's shape and numbers belong to the tenth that training never sees."""
        text = ";".join(f"{event.kind}:{event.numbers}" for event in self.events)
        return hashlib.sha256(text.encode()).digest()[0] < 26


def _event(rng: random.Random, kind: str) -> Event:
    match kind:
        case "start":
            return Event(kind, (rng.randint(3, 70),))
        case "add" | "sub":
            return Event(kind, (rng.randint(2, 30),))
        case "times":
            return Event(kind, (rng.randint(2, 4),))
        case _:
            return Event(kind, (rng.randint(2, 9), rng.randint(2, 9)))


def random_problem(rng: random.Random) -> Problem:
    """One valid problem: three steps twice as often as two."""
    wanted = rng.choice((2, 3, 3))
    while True:
        events = [_event(rng, rng.choice(("start", "groups")))]
        left = wanted - (events[0].kind == "groups")
        while left > 0:
            kinds = ["add", "sub"] + (["add_groups", "sub_groups"] if left > 1 else ["times"])
            event = _event(rng, rng.choice(kinds))
            left -= len(event.numbers)
            events.append(event)
        name, friend = rng.sample(NAMES, 2)
        problem = Problem(tuple(events), name, friend, rng.choice(ITEMS), rng.choice(HOLDERS))
        if problem.valid() and len(problem.steps()) == wanted:
            return problem


def problems(seed: int, held_out: bool) -> Iterator[Problem]:
    """An endless seeded stream of problems, either all held out or none."""
    rng = random.Random(seed)
    while True:
        problem = random_problem(rng)
        if problem.held_out() == held_out:
            yield problem


def corrupt(problem: Problem, rng: random.Random) -> tuple[Problem, int] | None:
    """Change one number by one. Returns the new problem and the 0-based step in which that number enters.

    None where the change leaves the world (see `Problem.valid`) or keeps the first two digits of the answer.
    """
    entries = {slot: index for index, step in enumerate(problem.steps()) for slot in step.slots}
    (event, number), entry = rng.choice(sorted(entries.items()))
    numbers = list(problem.events[event].numbers)
    numbers[number] += rng.choice((-1, 1))
    if numbers[number] < 2:
        return None
    events = list(problem.events)
    events[event] = replace(events[event], numbers=tuple(numbers))
    changed = replace(problem, events=tuple(events))
    # The demo tokenizer cuts digits in twos, and the first answer token is what the latents carry.
    if not changed.valid() or str(changed.answer())[:2] == str(problem.answer())[:2]:
        return None
    return changed, entry


def demo_pairs(count: int, seed: int) -> list[dict]:
    """Pairs of this world, see `evenly_spread`."""

    def change(clean: Problem, rng: random.Random, allowed: Allowed[Problem]) -> tuple[Problem, int] | None:
        found = corrupt(clean, rng)
        return found if found is not None and allowed(*found) else None

    return evenly_spread(count, seed, "demo", problems(seed, held_out=True), change, _side)


def _side(problem: Problem) -> dict:
    return {
        "question": problem.question(),
        "answer": problem.answer(),
        "reasoning_steps": len(problem.steps()),
        "cot": problem.cot(),
    }
