"""What a run takes on several workers: computed from what is counted and from a rate, measured nowhere.

A worker runs one batch after the other, so the last ones end together only where workers divide batches; until then
all are paid for. Starting workers and loading the model come on top.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mechpatch.errors import SpecError


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A run on so many workers.

    Attributes:
        hours: until the last batch ends.
        busy: share of the workers' time in which they run batches, above 0 to 1.
        cost: workers × hours × price of one for an hour, in the price's currency; None without a price.
    """

    workers: int
    hours: float
    busy: float
    cost: float | None

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


def spread(batches: int, seconds: float, workers: Sequence[int], price: float | None = None) -> tuple[Spread, ...]:
    """A run of so many batches, which take one worker `seconds` in all, on each of some numbers of workers.

    Args:
        price: of one worker for an hour.
    """
    found = []
    for each in workers:
        used = min(each, batches)  # a worker without a batch is not started
        rounds = -(-batches // used)
        hours = seconds / 3600 * rounds / batches
        cost = None if price is None else used * hours * price
        found.append(Spread(workers=each, hours=hours, busy=batches / (rounds * used), cost=cost))
    return tuple(found)


def seconds_at(flops: float, teraflops: float) -> float:
    """Seconds of one worker for so many operations at a rate in TFLOP/s."""
    return flops / (teraflops * 1e12)


def parse_workers(text: str) -> tuple[int, ...]:
    """Numbers of workers from "1,8,64". Raises `SpecError`."""
    items = [item.strip() for item in text.split(",")]
    if wrong := [item for item in items if not item.isdecimal() or not 0 < int(item) < 10**6]:
        raise SpecError(f"--workers {text!r}: {wrong[0]!r} is no number of workers; expected for example 1,8,64")
    return tuple(dict.fromkeys(map(int, items)))
