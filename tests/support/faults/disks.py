"""Disks that are full or closed, at every place a run writes: injected into each operation, and real small disks.

The answer must be a typed error that names path, reason and remedy (for the cache a warning: it only saves time),
with nothing half written, and the same command must go on once there is room.
"""

import errno
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from faults.forks import DONE, TYPED, Ended, in_child, refused_at
from faults.runs import half_written, left_by, small_run
from faults.unhurt import unhurt

from mechpatch.models import ThoughtModel
from mechpatch.storage.atomic import TEMPORARY

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One disturbed run: what was done to it, how it ended, and what is wrong ("" for nothing)."""

    place: str
    code: int
    fault: str


def refuse_each(model: ThoughtModel, scratch: Path, count: int, seed: int) -> Iterator[Refusal]:
    """Fresh runs in which one operation on a file fails (and every later one, for half of them), then resumed."""
    rng, whole = random.Random(seed), unhurt(model)
    able = [number for number, each in enumerate(whole.operations, start=1) if each.kind != "remove"]
    for turn, number in enumerate(rng.sample(able, min(count, len(able)))):
        error, lasting = ERRORS[turn % len(ERRORS)], rng.random() < 0.5
        folder = scratch / f"refused-{turn}"
        folder.mkdir(parents=True)
        ended = refused_at(number, error, lasting, lambda folder=folder: small_run(model, folder), [folder], scratch)
        operation = whole.operations[number - 1]
        name = operation.path.removeprefix("whole/")
        place = f"{operation.kind} {name}: {errno.errorcode[error]}{' from then on' if lasting else ''}"
        yield _judged(model, folder, place, ended, whole.left)


def small_disks(model: ThoughtModel, scratch: Path, count: int, seed: int) -> Iterator[Refusal]:
    """Runs on real file systems that hold too little, which are then made larger. Needs the right to mount."""
    rng, whole = random.Random(seed), unhurt(model)
    needed = sum(path.stat().st_size for path in whole.folder.rglob("*") if path.is_file())
    for turn in range(count):
        folder, size = scratch / f"disk-{turn}", rng.randint(8, needed // 1024) // 4 * 4
        folder.mkdir(parents=True)
        with mounted(folder, f"size={size}k"):
            ended = in_child(lambda folder=folder: small_run(model, folder), scratch)
            if ended.code == DONE and "cache: cannot be written" not in ended.said:
                yield Refusal(f"disk of {size} kB", DONE, "" if left_by(folder) == whole.left else "differs")
                continue
            remount(folder, "size=64m")
            yield _judged(model, folder, f"disk of {size} kB", ended, whole.left)


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory at `folder`. Raises `PermissionError` where it cannot be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", options, "mechpatch-test", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        raise PermissionError(f"{folder}: no right to mount")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mounted file system."""
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def _judged(model: ThoughtModel, folder: Path, place: str, ended: Ended, expected: dict) -> Refusal:
    fault = judge(folder, ended)
    if not fault:
        small_run(model, folder)
        fault = "" if left_by(folder) == expected else "resumed, it differs"
    return Refusal(place, ended.code, fault)


def judge(folder: Path, ended: Ended) -> str:
    """What is wrong with how a run ended on a bad disk, before it is resumed."""
    if ended.code not in (DONE, TYPED) or "Traceback" in ended.said:
        return f"ended with {ended.code}: {ended.said}"
    if ended.code == TYPED:
        last = ended.said.strip().splitlines()[-1]
        if not (last.startswith("StorageError: ") and str(folder) in last and ": cannot be " in last and "; " in last):
            return f"does not name path, reason and remedy: {last}"
    if broken := half_written(folder):
        return f"half written: {broken}"
    left = [path for path in (folder / "run").rglob(f"{TEMPORARY}*")]
    return f"left over: {left}" if left else ""
