"""Watching the engine at work."""

from typing import Any

import pytest
from torch import Tensor

from mechpatch.patching.engine import runs as engine
from mechpatch.patching.engine.block import Block


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each block was given, in the order of the calls."""
    seen: list[int] = []
    real = engine.run_block

    def counting(block: Block, h: Tensor, *rest: Any) -> None:
        seen.append(len(h))
        real(block, h, *rest)

    monkeypatch.setattr(engine, "run_block", counting)
    return seen
