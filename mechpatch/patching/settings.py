"""Settings of a machine and of torch on which rounding depends, and with it the last digits of every number.

Chunks of patches are among them: what is computed together rounds together.
"""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mechpatch.names import LIBRARIES, MEMORY, PRECISIONS, PRODUCT
from mechpatch.patching.engine import product
from mechpatch.patching.memory import Memory

CPU_INFO = Path("/proc/cpuinfo")


def settings(device: torch.device, memory: Memory | None = None) -> dict[str, Any]:
    """The settings as they are now, JSON values by name.

    Args:
        memory: what patches are cut into chunks by; None leaves both figures out.
    """
    found: dict[str, Any] = {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "threads": torch.get_num_threads(),
        **{name: version(name) for name in LIBRARIES},
        "fp32_precision": _fp32_precision(device),
        "matrix_library": _matrix_library(device),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        PRODUCT: product.current(),
    }
    if device.type == "cuda":
        products = torch.backends.cuda.matmul
        found["bf16_reduction"] = products.allow_bf16_reduced_precision_reduction
        found["fp16_reduction"] = products.allow_fp16_reduced_precision_reduction
    return found if memory is None else found | dict(zip(MEMORY, memory, strict=True))


def _cpu_name() -> str:
    """The CPU as Linux names it; elsewhere its architecture."""
    found = re.search(r"^model name\s*: (.+)$", CPU_INFO.read_text(), re.MULTILINE) if CPU_INFO.is_file() else None
    return found[1] if found else platform.processor() or platform.machine()


def _fp32_precision(device: torch.device) -> str:
    """In what precision this device multiplies float32 matrices: ieee, tf32 or bf16."""
    backend = torch.backends.cuda if device.type == "cuda" else torch.backends.mkldnn
    found = getattr(getattr(backend, "matmul", None), "fp32_precision", None)
    if found is None:  # torch before 2.9 has one setting for all devices
        return {precision: kind for kind, precision in PRECISIONS.items()}[torch.get_float32_matmul_precision()]
    return "ieee" if found == "none" else found  # none: nobody asked for less


def _matrix_library(device: torch.device) -> str:
    """The libraries that multiply matrices, with their versions."""
    if device.type == "cuda":
        return f"CUDA {torch.version.cuda}, {torch.backends.cuda.preferred_blas_library()}"
    built = torch.__config__.show()
    named = {"MKL": r"Math Kernel Library Version (\S+?)[- ]", "oneDNN": r"MKL-DNN v(\S+)"}
    used = {"MKL": torch.backends.mkl.is_available(), "oneDNN": torch.backends.mkldnn.enabled}
    versions = {name: re.search(pattern, built) for name, pattern in named.items() if used[name]}
    found = [f"{name} {match[1]}" for name, match in versions.items() if match]
    if reproducible := os.environ.get("MKL_CBWR"):
        found.append(f"MKL_CBWR={reproducible}")
    return ", ".join(found) or "no MKL, no oneDNN"
