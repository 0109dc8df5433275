"""Arrays as short text for a page: little-endian bytes in base64, decoded by `decode` in static/data.js.

constant   one value for all, null for undefined
u8         whole numbers from 0 to 254, 255 for undefined
i16        steps of (largest − smallest) / 65,000, −32,768 for undefined: values of single pairs, for looking
f32        as they are, NaN for undefined: means and intervals
"""

import base64
from typing import Any

import numpy as np
from jaxtyping import Shaped

Array = Shaped[np.ndarray, "*cell"]
STEPS, UNDEFINED, MISSING = 65_000, -32_768, 255


def constant(values: Array) -> dict[str, Any] | None:
    """The one value that all have; None where they differ."""
    flat = values.reshape(-1).astype(np.float64)
    if not flat.size or np.isnan(flat).all():
        return {"kind": "constant", "value": None, "size": flat.size}
    if np.isnan(flat).any() or np.ptp(flat) > 0:
        return None
    return {"kind": "constant", "value": float(flat[0]), "size": flat.size}


def exact(values: Array) -> dict[str, Any]:
    """As single-precision floats."""
    return constant(values) or {"kind": "f32", "data": _text(values.astype("<f4"))}


def compact(values: Array) -> dict[str, Any]:
    """In two bytes each, or in one where all are small whole numbers; infinite counts as undefined."""
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if same := constant(values):
        return same
    defined = ~np.isnan(values)
    if np.isin(values[defined], np.arange(MISSING)).all():
        return {"kind": "u8", "data": _text(np.where(defined, values, MISSING).astype("<u1"))}
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    step = (high - low) / STEPS
    if not step:  # a spread under the smallest float
        return exact(values)
    steps = np.where(defined, np.rint((np.where(defined, values, low) - low) / step) - STEPS // 2, UNDEFINED)
    return {"kind": "i16", "low": low, "step": step, "data": _text(steps.astype("<i2"))}


def _text(array: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
