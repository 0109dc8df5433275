"""Fixtures that several folders share; loading is dear, so they live as long as the test run."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shapes  # noqa: F401  # before the package
import torch
from chromium import chromium
from hypothesis import HealthCheck, settings

from mechpatch.data import pair_path
from mechpatch.models import ThoughtModel, load_model
from mechpatch.pairs import Pair, load_pairs

# Files whose tests take more than a few seconds of a processor together; `scripts/test.sh --fast` leaves them out.
SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").split())

# The models of the tests are so small that threads cost more than they give; subprocesses inherit the variable.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# The same examples each time, however slow the machine is, and none remembered from another time.
unhurried = settings(derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("suite", unhurried)
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and what needs a browser."""
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).with_suffix("").as_posix() in SLOW:
            item.add_marker("slow")
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def demo_model() -> ThoughtModel:
    """The shipped model, float32 on the CPU."""
    return load_model("demo", device="cpu")


@pytest.fixture(scope="session")
def shipped_pairs() -> list[Pair]:
    """The shipped pairs."""
    return load_pairs(pair_path("demo"))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium, one for all tests: its driver cannot be started twice. Skips where there is none."""
    with chromium() as found:
        yield found
