"""Where whole commands and runs are tried, shapes are not checked: other folders do, and it takes much of the time."""

from collections.abc import Iterator

import pytest
from jaxtyping import config


@pytest.fixture(autouse=True, scope="module")
def unchecked_shapes() -> Iterator[None]:
    """For the tests of a folder whose `conftest.py` imports it; module by module, so that no other folder feels it."""
    before = config.jaxtyping_disable
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", before)
