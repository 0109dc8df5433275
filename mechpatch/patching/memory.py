"""Memory of a device: how much there is, how much a sweep may plan with, and how much a process has used.

What may be used is read from what the device has, not from what is free: equal runs on one machine are cut into equal
chunks, and so give equal bits.
"""

import os
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mechpatch.names import MEMORY

STATUS = Path("/proc/self/status")
LEAST, MOST_ON_CPU = 2**28, 2**30


class Memory(NamedTuple):
    """What patches are cut into chunks by, in bytes.

    Attributes:
        bound: that a run may take in all.
        chunk: for one chunk of patches, whatever the bound: a larger one would not be faster.
    """

    bound: int
    chunk: int

    @classmethod
    def of(cls, device: torch.device, asked: int | None = None) -> "Memory":
        """What this machine gives, or of it what was asked for."""
        return cls(memory_bound(device, asked), memory_budget(device))

    @classmethod
    def recorded(cls, machine: Mapping[str, Any]) -> "Memory | None":
        """What a run was begun with, of its `settings`; None where it did not record that."""
        return cls(*(machine[name] for name in MEMORY)) if {*MEMORY} <= machine.keys() else None


def memory_bound(device: torch.device, asked: int | None = None) -> int:
    """Bytes that a run may take in all: as asked, or all that the device has."""
    if asked is not None:
        return asked
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def memory_budget(device: torch.device) -> int:
    """Bytes for one chunk of patches: a quarter of a GPU; elsewhere a sixteenth of memory, at most 1 GiB."""
    memory = memory_bound(device)
    return max(LEAST, memory // 4) if device.type == "cuda" else min(MOST_ON_CPU, max(LEAST, memory // 16))


def peak_memory(device: torch.device) -> int:
    """Largest resident memory of this process so far, in bytes; of a model on a GPU, what torch allocated there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux hands the largest size of a parent down to `ru_maxrss` of what it starts; VmHWM is of this process alone.
    if STATUS.is_file() and (found := re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())):
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
