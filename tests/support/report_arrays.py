"""The numbers of a report read back, written apart from what packs them."""

import base64
import json
import re
import zlib
from typing import Any

import numpy as np


def decoded(array: dict, size: int) -> np.ndarray:
    """`size` values, NaN where undefined, as the page's script reads them."""
    if array["kind"] == "constant":
        assert array["size"] == size
        return np.full(size, np.nan if array["value"] is None else array["value"])
    raw = base64.b64decode(array["data"])
    if array["kind"] == "u8":
        found = np.frombuffer(raw, "<u1").astype(float)
        return np.where(found == 255, np.nan, found)
    if array["kind"] == "f32":
        return np.frombuffer(raw, "<f4").astype(float)
    steps = np.frombuffer(raw, "<i2").astype(float)
    return np.where(steps == -32768, np.nan, array["low"] + (steps + 32500) * array["step"])


def payload(page: str) -> dict[str, Any]:
    """What the script of a page is given."""
    found = re.search(r'id="payload">([^<]*)</script>', page)
    assert found
    return json.loads(zlib.decompress(base64.b64decode(found[1])))
