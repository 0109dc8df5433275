"""Memory of a device: how much a sweep may plan with, and how much a process has used."""

import os
import resource
import sys

import torch

LEAST, MOST_ON_CPU = 2**28, 2**30


def memory_budget(device: torch.device, asked: int | None = None) -> int:
    """Bytes for one chunk of patches: as asked, or a quarter of a GPU; elsewhere a sixteenth of memory, at most 1 GiB.

    Read from what the device has, not from what is free: equal runs on one machine are cut into equal chunks, and so
    give equal bits.
    """
    if asked is not None:
        return asked
    if device.type == "cuda":
        return max(LEAST, torch.cuda.get_device_properties(device).total_memory // 4)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(MOST_ON_CPU, max(LEAST, physical // 16))


def peak_memory(device: torch.device) -> int:
    """Largest resident memory of this process so far, in bytes; of a model on a GPU, what torch allocated there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
