"""Faults are of files and processes: shapes are not checked meanwhile, which takes half of the time."""

from collections.abc import Iterator

import pytest
from jaxtyping import config


@pytest.fixture(autouse=True, scope="package")
def unchecked_shapes() -> Iterator[None]:
    """Other folders check the shapes of everything that is run here."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)
