"""Words that several parts share: what greedy decoding gives, what a person types for each field of a spec, and what to
say of an unknown word.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

# What greedy decoding gives: one of the two answers, neither, or the answer that is expected of a write.
OUTCOMES = ("clean", "corrupted", "other", "expected")
RENAMED = {"noise": "gaussian"}  # what once had another name
DTYPE_NAMES = ("float32", "float64", "bfloat16")
# Settings on which rounding depends, see `patching.settings`: libraries; what patches are cut into chunks by; what
# float32 products are computed in, and what `torch.set_float32_matmul_precision` calls it.
LIBRARIES = ("torch", "transformers", "transformer-lens")
MEMORY = ("memory", "chunk")
# Libraries of the engine's matrix products, see `patching.engine.product`.
PRODUCT, TORCH, ONEDNN = "product", "torch", "onednn"
PRECISIONS = {"ieee": "highest", "tf32": "high", "bf16": "medium"}
# What each field of `Spec` is called on the command line; messages use these words.
OPTIONS = {
    "experiments": "experiments",
    "hooks": "--hooks",
    "layers": "--layers",
    "sites": "--sites",
    "subsets": "--sets",
    "window": "--window",
    "screen": "--screen",
    "directions": "--direction",
    "nulls": "--nulls",
    "thoughts": "--thoughts",
    "n_thoughts": "--latents",
    "prefix": "--answer-prefix",
    "separator": "--separator",
    "placeholder": "--placeholder-token",
    "distances": "--distances",
    "min_gap": "--min-gap",
    "batch_size": "--batch-size",
    "seed": "--seed",
    "engine": "--engine",
    "expected": "--expected",
    "say": "--say",
    "checks": "--check",
    "memory": "--max-memory",
    "own": "what is your own (Python)",
}


def as_typed(field: str, value: Any) -> str:
    """The value of a field of `Spec` as the command line takes it: `other-pair,self`, `t0+t2`, `0,3`, `512`.

    A value from JSON, with lists in the place of tuples, is taken too.

    Returns:
        `(not given)` for None and for an empty list.
    """
    if value is None or value in ((), []):
        return "(not given)"
    if field == "memory":  # the command line takes MB
        return f"{value / 2**20:g}"
    if field == "hooks":  # transformer-lens' names have no hyphens
        return ",".join(value) if isinstance(value, tuple | list) else str(value)
    if field == "own":
        return ", ".join(f"{what} {name} (version {version})" for what, name, version in value)
    if field in ("prefix", "separator"):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return value.replace("_", "-")
    if isinstance(value, tuple | list):
        items = ["+".join(each) if isinstance(each, tuple | list) else as_typed(field, each) for each in value]
        return (" " if field == "experiments" else ",").join(items)
    return str(value)


def not_known(name: str, found: Iterable[str], known: Sequence[str], renamed: Mapping[str, str] = RENAMED) -> str:
    """What to say of words that `name` (an option) does not have: the nearest one that it has, and all of them.

    Args:
        renamed: what is known now of words that have another name elsewhere.
    """
    found = [str(each) for each in found]
    now = [renamed.get(each, each) for each in found]
    near = dict.fromkeys(match for each in now for match in get_close_matches(each.lower(), known, n=1))
    meant = f"; did you mean {' and '.join(near)}?" if near else ";"
    return f"{name}: {', '.join(repr(each[:60]) for each in found)} is not known{meant} expected {', '.join(known)}"
