"""The bar of long work moves where somebody sees it, also when minutes pass between two counts."""

from io import StringIO

import pytest
from rich.console import Console

from mechpatch import progress


@pytest.mark.parametrize(("seen", "shown"), [(True, True), (False, False)])
def test_a_slow_run_has_a_rate_and_a_time_left_on_a_terminal_alone(monkeypatch, seen, shown):
    clock, file = [0.0], StringIO()
    terminal = Console(file=file, force_terminal=seen, width=100, get_time=lambda: clock[0])
    monkeypatch.setattr(progress, "Console", lambda **_: terminal)
    with progress.progress("patched runs", 144) as tick:
        for _ in range(2):
            clock[0] += 60
            tick(36)
    said = file.getvalue()
    assert all((told in said) == shown for told in ("patched runs", "72/144", "0.6 runs/s", "0:02:00"))
    assert bool(said) == shown
