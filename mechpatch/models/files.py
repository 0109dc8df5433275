"""Reading files that others wrote: every fault is one `CheckpointError`, and no tensor is copied that need not be.

Tensors of a file that has the wanted dtype already are private maps of it: their pages are read when they are used,
and writing to them (as merging does) leaves the file alone.
"""

import json
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from mechpatch.errors import CheckpointError
from mechpatch.reprs import short_repr

_SHOWN = 20  # faults that one message lists
# The largest JSON file that is read, in bytes: LLaMA-3's tokenizer.json has 17 MB, every other file far less.
MAX_JSON = 128 * 2**20
SHARD_NAME = re.compile(r"[\w-][\w.-]*\.(?:safetensors|bin)")
NUMBERED = re.compile(r"(.+-)00001(-of-(\d{5})\.(?:safetensors|bin))")
NUMBERED_NAMES = ("model-00001-of-*.safetensors", "pytorch_model-00001-of-*.bin")
# As safetensors writes them; others are none that a model of this package can have.
KINDS = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


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


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """Weights as they lie in files, looked at but not read.

    Attributes:
        path: what messages name: the file, or the index of its shards.
        files: that hold the weights.
        headers: name, shape and dtype of every tensor; they are on the device `meta` and have no values.
        on_trial: reading gives headers again, to try a load without a weight.
    """

    path: Path
    files: tuple[Path, ...]
    headers: dict[str, Tensor]
    on_trial: bool = False

    __repr__ = short_repr

    def read(self, dtype: torch.dtype, skip: Collection[str] = ()) -> dict[str, Tensor]:
        """All tensors but those to skip, floating ones as `dtype`."""
        if self.on_trial:
            return {name: _cast(each, dtype) for name, each in self.headers.items() if name not in skip}
        found: dict[str, Tensor] = {}
        for file in self.files:
            found |= read_tensors(file, dtype, skip)
        return found


def open_weights(path: Path, names: Sequence[str], wanted: str) -> Stored:
    """Find the weights in a directory, in one file or in shards, and read their headers.

    Args:
        path: a directory, a file, or an index of shards.
        names: names and patterns of files in a directory; the first that is there counts.
        wanted: what was expected, for the message.
    """
    if not exists(path, "not a path"):
        raise CheckpointError(f"{path}: no such file or directory; expected {wanted}")
    file = _weight_file(path, names) if path.is_dir() else path
    files = _shards(file)
    headers: dict[str, Tensor] = {}
    for each in files:
        found = _headers(each)
        if twice := sorted(headers.keys() & found.keys()):
            raise CheckpointError(f"{each}: tensors of another shard are in it again: {', '.join(twice[:8])}")
        headers |= found
    return Stored(file, files, headers)


def _weight_file(folder: Path, names: Sequence[str]) -> Path:
    for name in (*names, *NUMBERED_NAMES):
        found = sorted(each for each in folder.glob(name) if each.is_file())
        if len(found) > 1:
            listed = ", ".join(each.name for each in found[:8])
            raise CheckpointError(f"{folder}: {len(found)} files are {name} ({listed}); name the one that is meant")
        if found:
            return found[0]
    raise CheckpointError(f"{folder}: none of {', '.join(names)} is there")


def _shards(file: Path) -> tuple[Path, ...]:
    """The files that an index names, or that a first shard counts; else the file itself."""
    if match := NUMBERED.fullmatch(file.name):
        return tuple(file.with_name(f"{match[1]}{number:05}{match[2]}") for number in range(1, int(match[3]) + 1))
    if file.suffix != ".json":
        return (file,)
    with refusing(file, "not an index of shards"):
        index = read_json(file)["weight_map"]
        assert isinstance(index, dict), "weight_map is no object"
        shards = sorted(set(map(str, index.values())))
        if elsewhere := [name for name in shards if not SHARD_NAME.fullmatch(name)]:
            raise ValueError(f"{elsewhere[0]!r} is not the name of a file beside it")
    return tuple(file.with_name(name) for name in shards)


def _headers(path: Path) -> dict[str, Tensor]:
    """Names, shapes and dtypes of the tensors in a file."""
    if path.suffix != ".safetensors":
        return {name: value.to("meta") for name, value in _state_dict(path).items()}
    with _safetensors(path) as file:
        slices = {name: file.get_slice(name) for name in sorted(file.keys())}
        return {
            name: torch.empty(each.get_shape(), dtype=KINDS[each.get_dtype()], device="meta")
            for name, each in slices.items()
        }


def read_tensors(path: Path, dtype: torch.dtype, skip: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a plain state dict (.bin, .pt), floating ones as `dtype`."""
    if path.suffix == ".safetensors":
        with _safetensors(path) as file:
            names = set(file.keys()) - set(skip)
            found = {name: file.get_tensor(name) for name in sorted(names)}
            return {name: _as_dtype(path, name, tensor, dtype) for name, tensor in found.items()}
    return {name: _cast(value, dtype) for name, value in _state_dict(path).items() if name not in skip}


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    with refusing(path, "cannot be read as safetensors"), safe_open(path, "pt") as file:
        yield file


def _state_dict(path: Path) -> dict[str, Tensor]:
    """A plain state dict; where it can be, its tensors are maps of the file, and not read yet.

    Nothing in a pickle is run: one that holds more than tensors is refused, and so is what would grow when it is read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
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
        return state


def _as_dtype(path: Path, name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.dtype == dtype or not tensor.is_floating_point():
        return tensor
    with safe_open(path, "pt") as file:  # a map of its own, so that the pages read here are given back at once
        return file.get_tensor(name).to(dtype)


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
        if found.keys() - expected.keys():
            advice += ". Unexpected ones that you know to be of no use are left out with --ignore-keys PREFIX"
        raise CheckpointError(f"{source}: {len(faults)} tensors do not fit:\n  {listed}{more}\n{advice}")


def _shape(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "scalar"
