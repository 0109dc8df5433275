"""Time that a call takes, and how much of the machine something else took meanwhile."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import torch

CLOCKS = ("seconds", "cpu")  # of the wall; of this process on all cores, which other processes disturb less
Found = TypeVar("Found")


def timed(call: Callable[[], Found]) -> tuple[Found, dict[str, float]]:
    """What it gives, and its `seconds`, `cpu` seconds of this process, share of all cores `others` took (Linux)."""
    _wait()
    before, started, used = _busy(), time.perf_counter(), time.process_time()
    with torch.no_grad():
        found = call()
    _wait()
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    others = max(0.0, _busy() - before - cpu) / (seconds * (os.cpu_count() or 1)) if before else 0.0
    return found, {"seconds": seconds, "cpu": cpu, "others": round(others, 3)}


def _wait() -> None:
    """Until a GPU has done what it was asked."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _busy() -> float:
    """CPU seconds since the start of the machine in which it was not idle, or was taken from it; 0 if not known."""
    with suppress(OSError):
        user, nice, system, _, _, irq, softirq, steal, *_ = map(
            int, Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]
        )
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return 0.0
