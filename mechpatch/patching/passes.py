"""The passes in which one question is run: what a hook that is called in them may know.

A thought is made from what the model computed before it, so a question with K fed-back thoughts is run K + 1 times:
after pass i thoughts 0 to i are right, and all of the last pass is. A hook is called in every pass.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from mechpatch.thoughts.layout import THOUGHTS
from mechpatch.thoughts.sites import thought_sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One of these passes.

    Attributes:
        sites: position of each named site; empty for a text that has none.
        fed: positions of the thoughts that are fed back.
        last: whether the activations are those of the run; before, thoughts that follow are not known yet.
    """

    sites: Mapping[str, int]
    fed: range
    last: bool


_CURRENT: ContextVar[Pass | None] = ContextVar("mechpatch pass", default=None)


@contextmanager
def in_pass(each: Pass) -> Iterator[None]:
    """Let hooks know that they are called in `each`."""
    token = _CURRENT.set(each)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def is_last_pass() -> bool:
    """Whether what a hook is given now is real: a hook that only reads asks this before it keeps anything.

    True in every run of transformer-lens' own, which has one pass.
    """
    current = _CURRENT.get()
    return current is None or current.last


def fed_positions() -> range:
    """Positions of the thoughts that are fed back in the question that is being run; empty where there are none."""
    current = _CURRENT.get()
    return range(0) if current is None else current.fed


def site_positions(name: str) -> list[int]:
    """Positions that the name of a site stands for in the question that is being run; `thoughts` stands for several.

    Raises:
        ValueError: no question is being run, or it has no such site.
    """
    current = _CURRENT.get()
    if current is None:
        raise ValueError(
            f"site {name!r} has a position only where mechpatch lays a question out: call run_with_hooks of a "
            "ThoughtModel with a pair or a layout, or give the position itself"
        )
    names = thought_sites([*current.sites]) if name == THOUGHTS else (name,)
    if not current.sites or not set(names) <= current.sites.keys():
        known = f"expected {THOUGHTS} or one of {', '.join(current.sites)}" if current.sites else "a text has none"
        raise ValueError(f"no site {name!r} here; {known}, or a position")
    return [current.sites[each] for each in names]
