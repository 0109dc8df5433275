"""Faults are of files and processes."""

from collections.abc import Iterator

import pytest
from drawing import figure_files, save_once
from unchecked import unchecked_shapes

__all__ = ["unchecked_shapes"]


@pytest.fixture(autouse=True, scope="module")
def figures_in_one_format() -> Iterator[None]:
    """A run's figures are files of it, which kills and full disks meet; three of each would be no more to meet."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(figure_files, "save", save_once)
        yield
