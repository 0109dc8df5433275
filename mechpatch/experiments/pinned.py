"""What a run was begun under, held to what it goes on under.

`spec.json` keeps, as `machine`, the settings of `patching.settings` that a run was begun under, and every shard those
under which it was computed. Other settings give other last digits, so a run goes on under its own, unless a mixture was
asked for. Memory and the library of the engine's products are obeyed instead: chunks are cut as they were when the run
began, wherever that fits. What an older run did not record is not compared.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from mechpatch.errors import SpecError
from mechpatch.formats import amount
from mechpatch.names import LIBRARIES, MEMORY, PRECISIONS, PRODUCT, TORCH

# What each setting is called, and how a run's own is had again.
NAMES = {
    "device": ("kind of device", "--device {}"),
    "device_name": ("device", "a machine that has it"),
    "threads": ("threads of torch", "OMP_NUM_THREADS={}"),
    **{name: (name, f"pip install {name}=={{}}") for name in LIBRARIES},
    "fp32_precision": ("precision of float32 products", "torch.set_float32_matmul_precision({})"),
    "matrix_library": ("matrix library", "the same build of torch, and of MKL_CBWR what it was"),
    "cpu_capability": ("instructions of the CPU", "ATEN_CPU_CAPABILITY={}, on a CPU that has them"),
    "bf16_reduction": (
        "sums of bfloat16 products in bfloat16",
        "torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = {}",
    ),
    "fp16_reduction": (
        "sums of float16 products in float16",
        "torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = {}",
    ),
    PRODUCT: ("library of the engine's products", "--product {}"),
    "memory": ("memory", "--max-memory"),
    "chunk": ("memory for a chunk of patches", "a machine that has it"),
}
OBEYED = (*MEMORY, PRODUCT)
MIXED = "or give --mixed, which goes on all the same: the parts are recorded, and the report says so"


def recorded(described: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a run was begun under, as far as it recorded them."""
    versions = {name: value for name, value in described["versions"].items() if name in LIBRARIES}
    return {PRODUCT: TORCH} | versions | described["machine"]  # there was no other when it was not recorded


def pin(found: Mapping[str, Any], asked: Mapping[str, Any], mixed: bool) -> dict[str, Any]:
    """The settings that a run has in the end: those that it was begun under, and what it did not record of them.

    Args:
        found: what a run was begun with, as `described.describe_run` describes it.
        asked: the same, of this process.
        mixed: whether it may go on under other settings.

    Raises:
        SpecError: the settings are others, and no mixture was asked for; has a line for each.
    """
    had, now = recorded(found), recorded(asked)
    if not mixed:
        require_same_settings(had, now)
    return {**now, **had}


def require_same_settings(had: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on under other settings than a run was begun under. Raises `SpecError`."""
    if different := [name for name in differing(had, now) if name not in OBEYED]:
        lines = [f"  {NAMES[name][0]}: the run has {had[name]}, here it is {now[name]}" for name in different]
        ways = "; ".join(_way(name, had[name]) for name in different)
        last = f"take those of the run ({ways}), choose another folder, {MIXED}"
        raise SpecError("\n".join(["was begun under other settings, and rounding depends on them:", *lines, last]))


def differing(had: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings that both have, and that differ, in the order of `NAMES`."""
    return [name for name in NAMES if name in had and name in now and had[name] != now[name]]


def mixture(had: Mapping[str, Any], parts: Iterable[tuple[Mapping[str, Any], Iterable[int]]]) -> tuple[str, ...]:
    """What is to be said of the parts of a run that were computed under other settings than it was begun under.

    Args:
        had: the settings that the run was begun under.
        parts: settings and indices of the pairs of each part.
    """
    pairs: dict[str, set[int]] = {}
    for now, indices in parts:
        different = [
            f"{NAMES[name][0]} {_shown(name, now[name])} in place of {_shown(name, had[name])}"
            for name in differing(had, now)
        ]
        if different:
            pairs.setdefault(", ".join(different), set()).update(indices)
    return tuple(
        f"This run is a mixture: numbers of {len(found)} pair{'s' * (len(found) > 1)} were computed with {told}. They "
        "differ by rounding from what the settings that the run was begun under would give."
        for told, found in pairs.items()
    )


def too_large(needed: int, here: int) -> SpecError:
    """What to say where a run's chunks do not fit into the memory of this machine."""
    return SpecError(
        f"memory: the run was begun with chunks of patches that take {amount(needed)}B in all, and this machine has "
        f"{amount(here)}B; smaller chunks round differently. Go on on a machine with as much, choose another folder, "
        f"{MIXED}"
    )


def _way(name: str, value: Any) -> str:
    return NAMES[name][1].format(repr(PRECISIONS.get(value)) if name == "fp32_precision" else value)


def _shown(name: str, value: Any) -> str:
    return f"{amount(value)}B" if name in MEMORY else str(value)
