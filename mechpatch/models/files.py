"""Reading files that others wrote: every fault is one `CheckpointError`, and no tensor is copied that need not be.

Tensors of a file that has the wanted dtype already are private maps of it: their pages are read when they are used,
and writing to them (as merging does) leaves the file alone.
"""

import json
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from mechpatch.errors import CheckpointError

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_SHOWN = 20  # faults that one message lists
# The largest JSON file that is read, in bytes: LLaMA-3's tokenizer.json has 17 MB, every other file far less.
MAX_JSON = 128 * 2**20
SHARD_NAME = re.compile(r"[\w-][\w.-]*\.(?:safetensors|bin)")


@contextmanager
def refusing(source: object, fault: str) -> Iterator[None]:
    """Turn whatever a library raises on a bad file into a `CheckpointError`: source, fault, cause."""
    try:
        yield
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:  # damaged files make parsers raise nearly anything
        cause = " ".join(str(error).split())
        raise CheckpointError(f"{source}: {fault}: {type(error).__name__}: {cause[:500]}") from error


def bounded(*paths: Path) -> None:
    """Raise a `CheckpointError` for a text file that is too large to be one of a model: it is not read to find out."""
    for path in paths:
        if path.is_file() and (size := path.stat().st_size) > MAX_JSON:
            raise CheckpointError(f"{path}: found {size} bytes, expected at most {MAX_JSON}; it is no file of a model")


def exists(path: Path, fault: str) -> bool:
    """Whether there is such a file or directory; a `CheckpointError` for what cannot be a path at all."""
    with refusing(str(path)[:100], fault):
        return path.exists()


def read_json(path: Path) -> dict[str, object]:
    """The object in a JSON file."""
    bounded(path)
    with refusing(path, "not a JSON object"):
        value = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(value, dict):
            raise TypeError(f"found {type(value).__name__}")
    return value


def read_tensors(path: Path, dtype: torch.dtype, skip: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a plain state dict (.bin, .pt), floating ones as `dtype`.

    Nothing in a pickle is run: one that holds more than tensors is refused, and so is what would grow when it is read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        with refusing(path, "cannot be read as safetensors"), safe_open(path, "pt") as file:
            names = set(file.keys()) - set(skip)
            found = {name: file.get_tensor(name) for name in sorted(names)}
            return {name: _as_dtype(path, name, tensor, dtype) for name, tensor in found.items()}
    with refusing(path, "cannot be read as a plain state dict (save it as safetensors where you trust it)"):
        size = path.stat().st_size
        if zipped := zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if sum(member.file_size for member in archive.infolist()) > size:
                    raise ValueError("it is compressed, which no state dict is")
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
            raise TypeError("it holds something other than named tensors")
        if large := [name for name, value in state.items() if value.nbytes > size]:
            raise ValueError(f"{large[0]} is larger than the file")
        return {
            name: value.to(dtype) if value.is_floating_point() else value
            for name, value in state.items()
            if name not in skip
        }


def _as_dtype(path: Path, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.dtype == dtype or not tensor.is_floating_point():
        return tensor
    with safe_open(path, "pt") as file:  # a map of its own, so that the pages read here are given back at once
        return file.get_tensor(name).to(dtype)


def read_weights(folder: Path, dtype: torch.dtype, skip: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of a model directory but those to `skip`, in one file or in shards with an index."""
    file = first_existing(folder, WEIGHTS)
    if file.suffix != ".json":
        return read_tensors(file, dtype, skip)
    with refusing(file, "not an index of shards"):
        index = read_json(file)["weight_map"]
        assert isinstance(index, dict), "weight_map is no object"
        shards = sorted(set(map(str, index.values())))
        if elsewhere := [name for name in shards if not SHARD_NAME.fullmatch(name)]:
            raise ValueError(f"{elsewhere[0]!r} is not the name of a file beside it")
    found: dict[str, Tensor] = {}
    for shard in shards:
        tensors = read_tensors(folder / shard, dtype, skip)
        if twice := sorted(found.keys() & tensors.keys()):
            raise CheckpointError(f"{folder / shard}: tensors of another shard are in it again: {', '.join(twice[:8])}")
        found |= tensors
    return found


def first_existing(folder: Path, names: Iterable[str]) -> Path:
    """The first of `names` in `folder`; a `CheckpointError` that lists them if there is none."""
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder}: none of {', '.join(names)} is there")


def account(source: object, found: Mapping[str, Tensor], expected: Mapping[str, Tensor], advice: str) -> None:
    """Raise a `CheckpointError` that names every missing, unexpected, mis-shaped or quantised tensor of `source`."""
    faults = [f"missing: {name} {_shape(expected[name])}" for name in sorted(expected.keys() - found.keys())]
    faults += [f"unexpected: {name} {_shape(found[name])}" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(found.keys() & expected.keys()):
        if found[name].shape != expected[name].shape:
            faults.append(f"wrong shape: {name} is {_shape(found[name])}, expected {_shape(expected[name])}")
        elif not found[name].is_floating_point():
            faults.append(f"quantised: {name} is {found[name].dtype}, expected floating point")
    if faults:
        more = f"\n  … and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        listed = "\n  ".join(faults[:_SHOWN])
        raise CheckpointError(f"{source}: {len(faults)} tensors do not fit:\n  {listed}{more}\n{advice}")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
