"""Fixtures that several folders share; loading is dear, so they live as long as the test run."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from chromium import chromium

from mechpatch.data import pair_path
from mechpatch.models import ThoughtModel, load_model
from mechpatch.pairs import Pair, load_pairs

# Files whose tests take more than five seconds of a processor together; `scripts/test.sh --fast` leaves them out.
SLOW = """
    test_bench test_cli test_cli_families test_cli_inspect test_engine_faults test_laws test_library
    test_planted test_readme test_security
    experiments/test_answering experiments/test_footprint experiments/test_growth experiments/test_inspection
    experiments/test_numerics experiments/test_plan experiments/test_run experiments/test_seed
    faults/test_damage faults/test_disk faults/test_fuzz faults/test_kill faults/test_processes
    models/test_adapter models/test_architectures models/test_codi models/test_families models/test_load
    pairs/test_demo pairs/test_templates patching/test_engine patching/test_hooks patching/test_reference
    stats/test_demo_run stats/test_directions stats/test_summary storage/test_sealed
    verify/test_architectures verify/test_faults verify/test_verify_command
    views/report/test_browser views/test_circuits views/test_ending views/test_figures views/test_reading
""".split()

# The models of the tests are so small that threads cost more than they give; subprocesses inherit the variable.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


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
