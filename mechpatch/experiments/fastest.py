"""The library of matrix products for a run: as asked for, or the faster one on this machine, which is measured once."""

import json
from contextlib import suppress
from pathlib import Path

import torch

from mechpatch.errors import SpecError, StorageError
from mechpatch.models import ThoughtModel
from mechpatch.names import TORCH, not_known
from mechpatch.patching.engine.decoder import read_decoder
from mechpatch.patching.engine.product import PRODUCTS, available, faster, measured, takes
from mechpatch.patching.settings import settings
from mechpatch.storage.atomic import write_json

AUTO = "auto"
FILE = "products.json"


def library_for(model: ThoughtModel, engine: str, asked: str, cache: Path | None) -> str:
    """Name of the library, see `engine.product`.

    Args:
        asked: it, or "auto".
        cache: folder in which measurements are kept, by machine, version of torch, threads and shape; None for none.

    Raises:
        SpecError: there is no such library.
    """
    if asked not in (AUTO, *PRODUCTS):
        raise SpecError(not_known("--product", [asked], [AUTO, *PRODUCTS]))
    if asked != AUTO:
        return asked
    if engine != "fast" or model.device.type != "cpu" or model.hooked.cfg.dtype != torch.float32 or not available():
        return TORCH
    weight = read_decoder(model.hooked).blocks[0].up.weight
    if not takes(weight):
        return TORCH
    machine = settings(model.device)
    key = ", ".join(map(str, (machine["device_name"], machine["torch"], machine["threads"], [*weight.shape])))
    path = None if cache is None else cache / FILE
    known: dict[str, dict[str, float]] = {}
    with suppress(OSError, ValueError):  # nothing is lost with it: it is measured anew
        known = {} if path is None else dict(json.loads(path.read_text(encoding="utf-8")))
    try:
        return faster(known[key])
    except (LookupError, TypeError):
        known[key] = measured(weight)
    if path is not None:
        with suppress(StorageError, OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, known)
    return faster(known[key])
