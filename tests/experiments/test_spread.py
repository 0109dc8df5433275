"""What a run takes on several workers, against a simulation of workers that take one batch after the other."""

import heapq

import pytest

from mechpatch import console
from mechpatch.errors import SpecError
from mechpatch.experiments.cost import Plan
from mechpatch.experiments.counted import Counts
from mechpatch.experiments.spread import parse_workers, seconds_at, spread
from mechpatch.patching.engine.work import Work


def simulated(batches: int, seconds: float, workers: int) -> float:
    """Hours until the last of equal batches ends."""
    free = [0.0] * workers
    for _ in range(batches):
        heapq.heappush(free, heapq.heappop(free) + seconds / batches)
    return max(free) / 3600


@pytest.mark.parametrize(("batches", "workers"), [(468, 1), (468, 8), (468, 64), (3, 64), (64, 64), (65, 64)])
def test_the_last_batch_ends_when_a_simulation_says(batches, workers):
    (found,) = spread(batches, 7200.0, [workers], price=2.5)
    assert found.hours == pytest.approx(simulated(batches, 7200.0, workers))
    used = min(workers, batches)
    assert found.cost == pytest.approx(used * found.hours * 2.5)
    assert found.busy == pytest.approx(2.0 / (used * found.hours))


def test_a_rate_is_operations_a_second():
    assert seconds_at(6e15, 2.0) == 3000.0


@pytest.mark.parametrize("text", ["", "1,,2", "0", "-1", "many", "1.5"])
def test_what_is_no_number_of_workers_is_refused(text):
    with pytest.raises(SpecError, match="is no number of workers; expected for example 1,8,64"):
        parse_workers(text)
    assert parse_workers("1, 8,64,8") == (1, 8, 64)


def test_it_is_said_that_nothing_was_measured(capsys):
    work = Work(flops=10**15)
    counts = Counts(plain_runs=0, plain=work, unpatched=work, patched=work, checks=work, records=0)
    numbers = dict.fromkeys(("weights", "peak_memory", "memory_bound", "storage", "calibrated_on", "timed"), 1)
    plan = Plan(pairs=9, batches=9, cells=1, counts=counts, answered=1, seconds=36000.0, **numbers)
    console.show_spread(spread(9, 36000.0, (1, 8), 2.0), plan, 30.0)
    one, eight, rests = (line.strip() for line in capsys.readouterr().out.splitlines())
    assert one == "1 worker  10 h, cost 20"
    assert eight == "8 workers  2.22 h, busy 56% of it, cost 35.6"  # the ninth batch keeps seven workers waiting
    assert rests.startswith("computed, not measured: 9 batches, 3 PFLOP, each worker 30 TFLOP/s, as stated;")
    console.show_spread(spread(9, 36000.0, (1,)), plan, None)
    assert "each worker as long as here" in capsys.readouterr().out
