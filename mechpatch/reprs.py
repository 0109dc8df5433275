"""How values show themselves: one line, shapes in the place of contents.

A dataclass takes it with `__repr__ = short_repr` in its body.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

SHOWN = 40  # characters of a text, and of a short list


def short_repr(self: Any) -> str:
    """`Recording(cache=float32[4×2×2×28×32], …)`: every field, none at length."""
    return (
        f"{type(self).__name__}({', '.join(f'{each.name}={short(getattr(self, each.name))}' for each in fields(self))})"
    )


def short(value: Any) -> str:
    """A value in some forty characters: shape of an array, number of items of a long list."""
    kind = type(value)
    if is_dataclass(kind):
        return repr(value) if kind.__module__.startswith("mechpatch") else kind.__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')}[{'×'.join(map(str, value.shape))}]"
    if hasattr(value, "num_rows"):
        return f"{value.num_rows} rows"
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN else f"{value[:SHOWN]}…")
    if isinstance(value, tuple | list | set | frozenset | Mapping):
        plain = not isinstance(value, Mapping) and all(isinstance(each, str | int | float | None) for each in value)
        text = repr(value) if plain else ""
        return text if plain and len(text) <= SHOWN else f"{len(value)} items"
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    return kind.__name__ if len(text := str(value)) > SHOWN or "\n" in text else text
