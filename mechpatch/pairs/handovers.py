"""The world of `demo-names`: who has the ball after some hand-overs, told in no order; answers are names.

A `Problem` is a set of hand-overs and who has the ball first; question, results and answer are read off it. Problems
whose hand-overs hash into a tenth of the space are held out, in whatever order they are told.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

# Pieces of the names, as the tokenizer cuts them: the last one tells who it is, the first one does not always.
PIECES = (
    ("Tom",),
    ("Eva",),
    ("Leo",),
    ("Max",),
    ("An", "na"),
    ("An", "drew"),
    ("Mar", "tha"),
    ("Mar", "tin"),
    ("Al", "ex", "is"),
    ("Al", "ex", "ander"),
    ("Is", "a", "bella"),
    ("Is", "a", "dora"),
)
NAMES = tuple("".join(pieces) for pieces in PIECES)
PEOPLE = 9
# Where the first two of three chains of hand-overs may end, so that each has two people or more.
CUTS = [(a, b) for a in range(1, PEOPLE) for b in range(a + 2, PEOPLE - 2)]


@dataclass(frozen=True, slots=True)
class Problem:
    """Hand-overs as (giver, receiver), in the order in which they are told; nobody gives twice."""

    handovers: tuple[tuple[str, str], ...]
    first: str

    def results(self) -> list[str]:
        """Who has the ball after each hand-over of it; the last one is the answer."""
        receivers, chain = dict(self.handovers), [self.first]
        while chain[-1] in receivers and len(chain) <= len(receivers):
            chain.append(receivers[chain[-1]])
        return chain[1:]

    def valid(self) -> bool:
        """The ball is handed over twice or three times, and comes back to nobody."""
        chain = [self.first, *self.results()]
        return 3 <= len(chain) <= 4 and len({*chain}) == len(chain) and chain[-1] not in dict(self.handovers)

    def question(self) -> str:
        """The problem in English."""
        told = [f"{receiver} gets it from {giver}." for giver, receiver in self.handovers]
        return " ".join([*told, f"{self.first} has the ball first. Who has it last?"])

    def answer(self) -> str:
        """Who has the ball at the end."""
        return self.results()[-1]

    def held_out(self) -> bool:
        """Whether these hand-overs belong to the tenth that training never sees."""
        text = ";".join(f"{giver}>{receiver}" for giver, receiver in sorted(self.handovers))
        return hashlib.sha256(text.encode()).digest()[0] < 26


def random_problem(rng: random.Random) -> Problem:
    """One valid problem, of two or three steps alike; some hand-overs have nothing to do with the ball."""
    wanted = rng.choice((2, 3))
    while True:
        people = rng.sample(NAMES, PEOPLE)
        ends = {PEOPLE - 1, *rng.choice(CUTS)}
        handovers = [(people[i], people[i + 1]) for i in range(PEOPLE) if i not in ends]
        if rng.random() < 0.5:  # somebody may receive it from two, as after a changed name
            changed = rng.randrange(len(handovers))
            handovers[changed] = (handovers[changed][0], rng.choice(people))
        first = rng.choice(handovers)[0]
        rng.shuffle(handovers)
        problem = Problem(tuple(handovers), first)
        if problem.valid() and len(problem.results()) == wanted:
            return problem


def problems(seed: int, held_out: bool) -> Iterator[Problem]:
    """An endless seeded stream of problems, either all held out or none."""
    rng = random.Random(seed)
    while True:
        problem = random_problem(rng)
        if problem.held_out() == held_out:
            yield problem


def changes(problem: Problem) -> list[tuple[Problem, int]]:
    """Every change of one name, who has the ball first or who receives it once, that gives another answer.

    The number of steps stays. Each comes with the 0-based step in which the name enters.
    """
    chain = [problem.first, *problem.results()]
    people = sorted({name for handover in problem.handovers for name in handover})
    found = []
    for entry in range(len(chain)):
        for other in people:
            changed = replace(problem, first=other) if entry == 0 else _received(problem, chain[entry - 1], other)
            if changed.valid() and len(changed.results()) == len(chain) - 1 and changed.answer() != problem.answer():
                found.append((changed, max(0, entry - 1)))
    return found


def _received(problem: Problem, giver: str, receiver: str) -> Problem:
    return replace(problem, handovers=tuple((a, receiver if a == giver else b) for a, b in problem.handovers))


def handover_pairs(count: int, seed: int) -> list[dict]:
    """`count` held-out pairs in the prepared format, spread evenly over the values of `steps_after_entry`.

    Each has `entry_step` (0-based) and `steps_after_entry` (0: the last one); equal seeds give equal pairs.
    """
    rng = random.Random(seed)
    stream = problems(seed, held_out=True)
    wanted = {after: count // 3 + (after < count % 3) for after in range(3)}
    pairs, seen = [], set()
    while len(pairs) < count:
        clean = next(stream)
        steps = len(clean.results())
        able = [
            (changed, entry)
            for changed, entry in changes(clean)
            if wanted[steps - 1 - entry] and changed.held_out() and changed.question() not in seen
        ]
        if not able or clean.question() in seen:
            continue
        corrupted, entry = rng.choice(able)
        after = steps - 1 - entry
        wanted[after] -= 1
        seen |= {clean.question(), corrupted.question()}
        pairs.append(
            {
                "pair_id": f"names-{len(pairs):03d}",
                "entry_step": entry,
                "steps_after_entry": after,
                "clean": _side(clean),
                "corrupted": _side(corrupted),
            }
        )
    return pairs


def _side(problem: Problem) -> dict:
    return {
        "question": problem.question(),
        "answer": problem.answer(),
        "reasoning_steps": len(problem.results()),
        "values": problem.results(),
    }
