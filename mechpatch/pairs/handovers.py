"""The world of `demo-names`: twelve people stand in a circle and hand a ball on; answers are names.

A `Problem` is who has the ball first and how far it goes each time; question, results and answer are read off it. The
circle is the same in all problems, so that only the model knows it. Problems that hash into a tenth of the space are
held out.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mechpatch.pairs.spread import Allowed, evenly_spread

# Pieces of the names in the order of the circle, as the tokenizer cuts them: the last one tells who it is, the first
# one does not always.
PIECES = (
    ("Tom",),
    ("An", "na"),
    ("Is", "a", "bella"),
    ("Eva",),
    ("Mar", "tin"),
    ("Al", "ex", "is"),
    ("Leo",),
    ("An", "drew"),
    ("Is", "a", "dora"),
    ("Max",),
    ("Mar", "tha"),
    ("Al", "ex", "ander"),
)
NAMES = tuple("".join(pieces) for pieces in PIECES)
FURTHEST = 7


@dataclass(frozen=True, slots=True)
class Problem:
    """Who has the ball first, and how many people it goes on with each hand-over."""

    first: str
    moves: tuple[int, ...]

    def results(self) -> list[str]:
        """Who has the ball after each hand-over; the last one is the answer."""
        place, found = NAMES.index(self.first), []
        for move in self.moves:
            place = (place + move) % len(NAMES)
            found.append(NAMES[place])
        return found

    def question(self) -> str:
        """The problem in English."""
        told = [f"It goes {move} on." for move in self.moves]
        return " ".join([f"{self.first} has the ball.", *told, "Who has it now?"])

    def answer(self) -> str:
        """Who has the ball at the end."""
        return self.results()[-1]

    def held_out(self) -> bool:
        """Whether this problem belongs to the tenth that training never sees."""
        return hashlib.sha256(f"{self.first}:{self.moves}".encode()).digest()[0] < 26


def random_problem(rng: random.Random) -> Problem:
    """One problem of two or three hand-overs: three twice as often as two."""
    moves = [rng.randint(1, FURTHEST) for _ in range(rng.choice((2, 3, 3)))]
    return Problem(rng.choice(NAMES), tuple(moves))


def problems(seed: int, held_out: bool) -> Iterator[Problem]:
    """An endless seeded stream of problems, either all held out or none."""
    rng = random.Random(seed)
    while True:
        problem = random_problem(rng)
        if problem.held_out() == held_out:
            yield problem


def changes(problem: Problem) -> list[tuple[Problem, int]]:
    """Every change of one number, or of who has the ball first, each with the 0-based step in which it enters."""
    found = [(replace(problem, first=name), 0) for name in NAMES if name != problem.first]
    for step, move in enumerate(problem.moves):
        for far in range(1, FURTHEST + 1):
            if far != move:
                moves = [*problem.moves]
                moves[step] = far
                found.append((replace(problem, moves=tuple(moves)), step))
    return found


def handover_pairs(count: int, seed: int) -> list[dict]:
    """Pairs of this world, see `evenly_spread`."""

    def change(clean: Problem, rng: random.Random, allowed: Allowed[Problem]) -> tuple[Problem, int] | None:
        able = [found for found in changes(clean) if allowed(*found)]
        return rng.choice(able) if able else None

    return evenly_spread(count, seed, "names", problems(seed, held_out=True), change, _side)


def _side(problem: Problem) -> dict:
    return {
        "question": problem.question(),
        "answer": problem.answer(),
        "reasoning_steps": len(problem.moves),
        "values": problem.results(),
    }
