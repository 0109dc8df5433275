"""Fixtures that several folders share; loading is dear, so they live as long as the test run."""

import pytest

from mechpatch.data import pair_path
from mechpatch.models import ThoughtModel, load_model
from mechpatch.pairs import Pair, load_pairs


@pytest.fixture(scope="session")
def demo_model() -> ThoughtModel:
    """The shipped model, float32 on the CPU."""
    return load_model("demo", device="cpu")


@pytest.fixture(scope="session")
def shipped_pairs() -> list[Pair]:
    """The shipped pairs."""
    return load_pairs(pair_path("demo"))
