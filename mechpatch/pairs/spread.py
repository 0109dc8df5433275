"""Pairs of the shipped worlds: held-out problems and a change of each, spread evenly over when the change enters."""

import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar, runtime_checkable

from mechpatch.errors import PairError


@runtime_checkable
class Problem(Protocol):
    """What a world's problem can say of itself."""

    def question(self) -> str: ...
    def results(self) -> list[str]: ...
    def held_out(self) -> bool: ...


PATIENCE = 10_000  # draws in a row that may give no pair
P = TypeVar("P", bound=Problem)
# Whether a changed problem, whose change enters in that 0-based step, may be taken.
Allowed = Callable[[P, int], bool]


def evenly_spread(
    count: int,
    seed: int,
    name: str,
    stream: Iterator[P],
    change: Callable[[P, random.Random, Allowed[P]], tuple[P, int] | None],
    side: Callable[[P], dict[str, Any]],
) -> list[dict]:
    """`count` held-out pairs in the prepared format, spread evenly over the values of `steps_after_entry`.

    Each has `entry_step` (0-based) and `steps_after_entry` (0: the last one); no question stands in two pairs, and
    equal seeds give equal pairs. A draw that cannot be used is drawn again.

    Args:
        name: begins the pairs' ids.
        stream: held-out problems.
        change: a change of a problem that is allowed, with the step in which it enters; None where it finds none.
        side: what a pair's file says of a problem.

    Raises:
        PairError: `PATIENCE` draws in a row gave no pair, so the world has too few problems.
    """
    rng = random.Random(seed)
    wanted = {after: count // 3 + (after < count % 3) for after in range(3)}
    pairs: list[dict] = []
    seen: set[str] = set()
    unused = 0
    while len(pairs) < count:
        if unused == PATIENCE:
            raise PairError(
                f"{name}: found {len(pairs)} pairs and none in the next {PATIENCE:,} draws, expected {count}; ask for "
                "fewer pairs"
            )
        unused += 1
        clean = next(stream)
        steps, asked = len(clean.results()), clean.question()

        def allowed(changed: P, entry: int, steps: int = steps, asked: str = asked) -> bool:
            fresh = seen.isdisjoint({asked, changed.question()})
            return fresh and changed.held_out() and wanted[steps - 1 - entry] > 0

        found = change(clean, rng, allowed)
        if found is None:
            continue
        corrupted, entry = found
        unused = 0
        wanted[steps - 1 - entry] -= 1
        seen.update({asked, corrupted.question()})
        pairs.append(
            {
                "pair_id": f"{name}-{len(pairs):03d}",
                "entry_step": entry,
                "steps_after_entry": steps - 1 - entry,
                "clean": side(clean),
                "corrupted": side(corrupted),
            }
        )
    return pairs
