"""SIGKILL at seeded moments of a run, and what the same command makes of it afterwards."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.forks import DONE, Operation, in_child, killed_at
from faults.runs import half_written, left_by, small_run
from faults.unhurt import unhurt

from mechpatch.models import ThoughtModel

SIGKILLED = -9


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill: where it fell, whether it did, and what is wrong afterwards ("" for nothing)."""

    moment: str
    killed: bool
    fault: str


def moments(found: Sequence[Operation], count: int, rng: random.Random) -> list[int]:
    """Numbers of `count` operations, one of each kind of file first: in the middle of a write where there is one."""
    chosen: dict[str, int] = {}
    for number in rng.sample(range(1, len(found) + 1), len(found)):
        operation = found[number - 1]
        name = re.sub(r"[0-9a-f]{16}|\d{6}", "", operation.path)
        if operation.kind == "write":
            chosen.setdefault(name, number)
    first = rng.sample(sorted(chosen.values()), len(chosen))
    rest = [number for number in range(1, len(found) + 1) if number not in chosen.values()]
    return (first + rng.sample(rest, len(rest)))[:count]


def kill_each(model: ThoughtModel, scratch: Path, count: int, seed: int) -> Iterator[Kill]:
    """Fresh runs, each killed once and resumed: `count` at an operation on a file, a quarter as many by the clock."""
    rng, whole = random.Random(seed), unhurt(model)
    for turn, number in enumerate(moments(whole.operations, count, rng)):
        folder = scratch / f"killed-{turn}"
        folder.mkdir(parents=True)
        ended = killed_at(number, lambda folder=folder: small_run(model, folder), [folder], scratch)
        operation = whole.operations[number - 1]
        name = operation.path.removeprefix("whole/")
        yield _resumed(model, folder, f"{operation.kind} {name}", ended.code, whole.left)
    for turn in range(count // 4):
        folder, seconds = scratch / f"timed-{turn}", rng.uniform(0.02, 0.9)
        folder.mkdir(parents=True)
        ended = in_child(lambda folder=folder: small_run(model, folder), scratch, kill_after=seconds)
        yield _resumed(model, folder, f"after {seconds:.2f} s", ended.code, whole.left)


def kill_again_and_again(model: ThoughtModel, scratch: Path, count: int, seed: int) -> tuple[Kill, int]:
    """One run that is killed and resumed `count` times before it may end; and how many of the kills fell."""
    rng, folder = random.Random(seed), scratch / "hurt"
    folder.mkdir(parents=True)
    fell = 0
    for _ in range(count):
        ended = killed_at(rng.randint(3, 22), lambda: small_run(model, folder), [folder], scratch)
        fell += ended.code == SIGKILLED
    return _resumed(model, folder, f"{count} times in turn", SIGKILLED, unhurt(model).left), fell


def _resumed(model: ThoughtModel, folder: Path, moment: str, code: int, expected: dict) -> Kill:
    """Resume in this process and say what differs."""
    if code not in (SIGKILLED, DONE):
        return Kill(moment, False, f"the run to be killed ended with {code}")
    if broken := half_written(folder):
        return Kill(moment, True, f"half written: {broken}")
    small_run(model, folder)
    left = left_by(folder)
    differing = [name for name in expected.keys() | left.keys() if expected.get(name) != left.get(name)]
    return Kill(moment, code == SIGKILLED, f"differs: {differing}" if differing else "")
