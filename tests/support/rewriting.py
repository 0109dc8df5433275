"""Faults to be planted: a line of the code replaced by what somebody might have written, or a model that was tampered.

Each asserts that it changed something, so that a test cannot pass because the code has moved on.
"""

import inspect
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest


def rewrite(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, old: str, new: str) -> Any:
    """Replace `old` by `new` in the source of a function of `module`, for one test; the new function."""
    original = inspect.unwrap(getattr(module, name))
    source = textwrap.dedent(inspect.getsource(original))
    assert source.count(old) == 1, f"{name} does not hold {old!r} once: the fault must be planted otherwise"
    names: dict[str, Any] = {}
    exec(compile(source.replace(old, new), f"<{name} with a fault>", "exec"), vars(module), names)
    monkeypatch.setattr(module, name, names[name])
    return names[name]


def wrap(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a function of `module` by `wrapper(original, *arguments)`, for one test."""
    original = getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given, **named: wrapper(original, *given, **named))
