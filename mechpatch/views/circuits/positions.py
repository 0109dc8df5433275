"""Which positions of a question are shown, and arrays over them.

The middle of a long question is left out; one token stands for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mechpatch.views.circuits.texts import shown

TOKENS_SHOWN = 160  # of a question
LEFT_OUT = -1
Numbers = Float[np.ndarray, "..."]


def kept_positions(run: Mapping[str, Any], length: int) -> list[int]:
    """Positions that are shown, of the first `length`; `LEFT_OUT` stands for the middle of a long question."""
    start = min(run["positions"])
    half = TOKENS_SHOWN // 2
    if start <= TOKENS_SHOWN:
        return list(range(length))
    return [*range(half), LEFT_OUT, *range(start - half, length)]


def token_texts(run: Mapping[str, Any], kept: Sequence[int], sites: Sequence[str]) -> list[str]:
    """Tokens of the positions that are shown; a thought that is a token of a text has its name beside it."""
    names = {place: f"[{site}]" for site, place in zip(sites, run["positions"], strict=True) if site.startswith("t")}
    texts = []
    for place in kept:
        text, name = (" … ", "") if place == LEFT_OUT else (run["tokens"][place], names.get(place, ""))
        texts.append(shown(text) + ("" if text.strip() == name else name))
    return texts


def values_at(values: Numbers, kept: Sequence[int]) -> Numbers:
    """Values of the positions that are shown along the first axis, and 0 for what is left out."""
    return np.where((np.array(kept) == LEFT_OUT).reshape(-1, *[1] * (values.ndim - 1)), 0.0, values[list(kept)])


def summed(weights: Float[np.ndarray, "layer head key"], kept: Sequence[int]) -> Float[np.ndarray, "layer head shown"]:
    """Weights of the positions that are shown; what is left out is summed."""
    left_out = 1 - np.isin(np.arange(weights.shape[-1]), kept)
    rest = (weights * left_out).sum(-1)
    return np.stack([rest if place == LEFT_OUT else weights[..., place] for place in kept], axis=-1)


def with_label(values: Float[np.ndarray, "token ..."]) -> Numbers:
    """With a row of zeros before the first token, for the label of a run."""
    return np.concatenate([np.zeros_like(values[:1]), values])


def rounded(values: Numbers, decimals: int = 3) -> list[Any]:
    """As nested lists, and short, because numbers are most of a page; no negative zero."""
    return (np.round(values, decimals) + 0.0).tolist()
