"""A function in a forked child that dies, or whose disk fails, at a chosen one of its operations on files.

The parent has loaded the model already, so a child costs what its work costs. An *operation* is whatever changes the
files under some folders: opening one for writing, writing a temporary file (half of it is written first), syncing,
renaming, removing, making a folder.
"""

import json
import math
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from mechpatch.errors import MechpatchError

DONE, TYPED, UNTYPED = 0, 3, 4  # exit codes of a child
PATIENCE = 300.0  # seconds after which a child hangs


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended: an exit code or minus a signal, and what it printed."""

    code: int
    said: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of a file: what was done, and to which file, named from the folder that is watched."""

    kind: str
    path: str
    source: str = ""  # of a renaming


def in_child(job: Callable[[], object], scratch: Path, kill_after: float | None = None) -> Ended:
    """Run `job` in a fork of this process, killed with SIGKILL after `kill_after` seconds if that is given.

    Raises:
        TimeoutError: it hangs.
    """
    said = scratch / "said.txt"
    if (child := fork()) == 0:
        become(job, said)
    end = math.inf if kill_after is None else time.monotonic() + kill_after
    code = wait_for(child, [said], until=lambda: time.monotonic() > end)
    code = kill(child) if code is None else code
    return Ended(code, said.read_text(errors="replace") if said.exists() else "")


def fork() -> int:
    """Fork this process: the number of the child, or 0 in the child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns where other threads live
        return os.fork()


def wait_for(child: int, said: Sequence[Path], until: Callable[[], bool] = lambda: False) -> int | None:
    """Wait for the end of a child: its exit code or minus its signal; None if it lives and `until` is true.

    Raises:
        TimeoutError: neither comes; the child, which is killed, had written this into the files `said`.
    """
    deadline = time.monotonic() + PATIENCE
    while not until():
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            kill(child)
            raise TimeoutError(f"a child hangs: {[each.read_text(errors='replace') for each in said]}")
        time.sleep(0.002)
    return None


def kill(child: int) -> int:
    """Kill a child with SIGKILL: its exit code or minus its signal."""
    os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become(job: Callable[[], object], said: Path) -> NoReturn:
    """Be the child: run `job` with its words in a file, and end without any clean-up of the parent's."""
    code = UNTYPED
    try:
        descriptor = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        job()
        code = DONE
    except MechpatchError as error:
        code = TYPED
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def watched(job: Callable[[], object], folders: Sequence[Path], act: Callable[[int, Operation], None]) -> None:
    """Run `job` and call `act` with the number and description of each operation, before it is done.

    For a child alone: an audit hook stays for the life of a process.
    """
    roots = [str(folder) for folder in folders]
    count = 0

    def named(path: object) -> str | None:
        text = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
        root = next((root for root in roots if str(text).startswith(root)), None)
        return root and Path(root).name + str(text)[len(root) :]

    def seen(kind: str, path: object, source: object = None) -> None:
        nonlocal count
        if (name := named(path)) is not None:
            count += 1
            act(count, Operation(kind, name, named(source) or ""))

    def audit(event: str, args: tuple) -> None:
        if event == "open" and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            seen("open", args[0])
        elif event == "os.rename":
            seen("rename", args[1], args[0])
        elif event in ("os.remove", "os.mkdir"):
            seen(event.removeprefix("os."), args[0])

    def write_bytes(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            half = len(data) // 2
            file.write(data[:half])
            file.flush()
            seen("write", path)
            return half + file.write(data[half:])

    def fsync(descriptor: int) -> None:
        seen("fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
        sync(descriptor)

    sync = os.fsync
    os.fsync = fsync
    Path.write_bytes = write_bytes  # pyright: ignore[reportAttributeAccessIssue]
    sys.addaudithook(audit)
    job()


def operations(job: Callable[[], object], folders: Sequence[Path], scratch: Path) -> list[Operation]:
    """Every operation of `job`, which is run whole in a child; a temporary file goes by the name that it gets."""
    listed = scratch / "operations.jsonl"
    out = os.open(listed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def note(number: int, operation: Operation) -> None:
        os.write(out, json.dumps([operation.kind, operation.path, operation.source]).encode() + b"\n")

    ended = in_child(lambda: watched(job, folders, note), scratch)
    os.close(out)
    if ended.code != DONE:
        raise AssertionError(f"the run that is to be disturbed fails by itself: {ended}")
    found = [Operation(*json.loads(line)) for line in listed.read_text().splitlines()]
    targets = {each.source: each.path for each in found if each.kind == "rename"}
    return [Operation(each.kind, targets.get(each.path, each.path)) for each in found]


def killed_at(number: int, job: Callable[[], object], folders: Sequence[Path], scratch: Path) -> Ended:
    """Run `job` in a child that is killed with SIGKILL at its operation `number` (from 1)."""

    def act(count: int, _: Operation) -> None:
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return in_child(lambda: watched(job, folders, act), scratch)


def refused_at(
    number: int, error: int, lasting: bool, job: Callable[[], object], folders: Sequence[Path], scratch: Path
) -> Ended:
    """Run `job` in a child whose operation `number` fails with the errno `error`; and all later ones, if `lasting`.

    What makes room, removing a file, is never refused.
    """

    def act(count: int, operation: Operation) -> None:
        if operation.kind != "remove" and (count == number or (lasting and count > number)):
            raise OSError(error, os.strerror(error), operation.path)

    return in_child(lambda: watched(job, folders, act), scratch)
