"""Types are checked in the whole package while tests run; shapes where a function takes or gives an array.

jaxtyping binds the arguments of every call anew, which took a fifth of the time of the tests, though most functions
have no array whose shape could be wrong. Those are left to beartype alone, which finds the same wrong types. Importing
this module, before any of the package, makes it so.

Of a list beartype looks at one item, drawn anew in each call. Here it is always the first: a test that gives a wrong
item would otherwise pass on some days.
"""

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype._check.code import codemain


def arrays_alone(plain: Callable[..., Any]) -> Callable[..., Any]:
    """What stands in for `jaxtyping.jaxtyped`, which `plain` is."""

    def jaxtyped(fn: Any = None, *, typechecker: Any) -> Any:
        checked = functools.partial(jaxtyped, typechecker=typechecker)
        if fn is None:
            return checked
        if isinstance(fn, types.FunctionType) and not has_shapes(fn):
            return typechecker(fn)
        if isinstance(fn, staticmethod | classmethod):
            return type(fn)(checked(fn.__func__))
        if isinstance(fn, property) and fn.fget and not fn.fset:
            return property(checked(fn.fget))
        if isinstance(fn, type) and dataclasses.is_dataclass(fn) and not has_shapes(fn.__init__):
            fn.__init__ = typechecker(fn.__init__)
            return fn
        return plain(fn, typechecker=typechecker)

    return jaxtyped


def has_shapes(function: Any) -> bool:
    """Whether an array stands anywhere in the annotations of a function."""
    return any(map(_has_shape, function.__annotations__.values()))


def _has_shape(annotation: object) -> bool:
    if isinstance(annotation, str):
        return True  # it may name one
    if isinstance(annotation, type) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(map(_has_shape, get_args(annotation)))


codemain.getrandbits = lambda bits: 0  # pyright: ignore[reportPrivateImportUsage]
jaxtyping.jaxtyped = arrays_alone(jaxtyping.jaxtyped)  # pyright: ignore[reportAttributeAccessIssue]
