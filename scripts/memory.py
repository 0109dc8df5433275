"""Memory of this process, as Linux counts it."""

import re
from pathlib import Path

KIB = 1024


def status(name: str) -> int:
    """A memory figure of this process in bytes: VmRSS (resident), VmHWM (its peak), RssAnon (without mapped files)."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, f"/proc/self/status has no {name}"
    return int(found[1]) * KIB


def reset_peak() -> int:
    """Set VmHWM back to what is resident now, in bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return status("VmHWM")
