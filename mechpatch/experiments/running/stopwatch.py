"""Where the time of a run goes."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

Item = TypeVar("Item")

SECTIONS = ("unpatched", "patched", "checks", "records")


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Seconds by section: unpatched runs, patched runs, checks with plain hooks, metrics and records.

    On a GPU the sections blur, because a section's work may end in the next; their sum is right.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SECTIONS, 0.0))

    def lap(self) -> dict[str, float]:
        """Seconds since the last lap, or since the start; the watch begins anew."""
        taken = dict(self.seconds)
        self.seconds.update(dict.fromkeys(SECTIONS, 0.0))
        return taken

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what was measured elsewhere."""
        for section, taken in seconds.items():
            self.seconds[section] += taken

    @contextmanager
    def measure(self, section: str) -> Iterator[None]:
        """Add the time that the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[section] += time.perf_counter() - started

    def each(self, section: str, items: Iterable[Item]) -> Iterator[Item]:
        """The items; add the time that making them takes."""
        iterator = iter(items)
        while True:
            started = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds[section] += time.perf_counter() - started
            yield item
