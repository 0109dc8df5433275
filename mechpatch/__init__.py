"""Causal analysis of chain-of-thought: which layer at which thought position carries the answer.

    import mechpatch as mp

    model, pairs = mp.load_model("demo"), mp.load_pairs("demo")
    run = mp.run(model, pairs, "position", nulls=("other_pair",))
    run.cells                       # share of pairs that switch, for every layer and site
    run.plot().savefig("map.png")

Importing this costs nothing: a name is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mechpatch.kinds import Kind as Kind
    from mechpatch.library import Run as Run
    from mechpatch.library import load_pairs as load_pairs
    from mechpatch.library import open_run as open_run
    from mechpatch.library import run as run
    from mechpatch.models import ThoughtModel as ThoughtModel
    from mechpatch.models import load_model as load_model
    from mechpatch.models.wrap import wrap as wrap
    from mechpatch.own import Donor as Donor
    from mechpatch.own import Metric as Metric
    from mechpatch.pairs import Pair as Pair
    from mechpatch.patching.edit import Edit as Edit
    from mechpatch.patching.hooks import capture as capture
    from mechpatch.patching.hooks import chain as chain
    from mechpatch.patching.hooks import edit_position as edit_position
    from mechpatch.patching.hooks import edit_positions as edit_positions
    from mechpatch.patching.hooks import patch_position as patch_position
    from mechpatch.patching.hooks import patch_positions as patch_positions
    from mechpatch.reading import read as read
    from mechpatch.sweeps import sweep as sweep

# Every public name, and where it lives.
_HOMES = {
    "load_model": "mechpatch.models",
    "wrap": "mechpatch.models.wrap",
    "ThoughtModel": "mechpatch.models",
    "load_pairs": "mechpatch.library",
    "Pair": "mechpatch.pairs",
    "run": "mechpatch.library",
    "open_run": "mechpatch.library",
    "Run": "mechpatch.library",
    "sweep": "mechpatch.sweeps",
    "read": "mechpatch.reading",
    "Metric": "mechpatch.own",
    "Donor": "mechpatch.own",
    "Kind": "mechpatch.kinds",
    "Edit": "mechpatch.patching.edit",
    "patch_position": "mechpatch.patching.hooks",
    "patch_positions": "mechpatch.patching.hooks",
    "edit_position": "mechpatch.patching.hooks",
    "edit_positions": "mechpatch.patching.hooks",
    "capture": "mechpatch.patching.hooks",
    "chain": "mechpatch.patching.hooks",
}
__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mechpatch' has no attribute {name!r}; it has {', '.join(_HOMES)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
