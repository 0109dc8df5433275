"""Bytes of a file changed at seeded places in every part of it: each must be noticed, or be no change of what is read.

Damages: one flipped bit, a run of zeros, noise, a cut, a doubled tail. A checkpoint carries no checksum: a flipped bit
in a weight is a weight, and what notices it is the model's fingerprint, which is part of what a run was asked for.
"""

import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from checkpoints import codi_state, tiny_llama, write_base, write_peft, write_state
from faults.runs import small_run

from mechpatch.errors import CheckpointError, StorageError
from mechpatch.models import ThoughtModel, load_model
from mechpatch.stats import read_summary
from mechpatch.storage.activations import ActivationCache
from mechpatch.storage.results import RunDirectory, read_effects, read_spec
from mechpatch.storage.sealed import read_sealed

NOTICED, SAME = "noticed", "read as before"
NAMED = re.compile(r"/[^:]+: ")


@dataclass(frozen=True, slots=True)
class Target:
    """A file, and what reading it says: `NOTICED`, or the content."""

    path: Path
    read: Callable[[], Any]


@dataclass(slots=True)
class Damaged:
    """What was tried on one file: counts, and descriptions of what was read otherwise in silence."""

    counts: Counter[str] = field(default_factory=Counter)
    unseen: list[str] = field(default_factory=list)


def damages(whole: bytes, count: int, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """`count` damages, one in each of as many equal parts of the file."""
    for part in range(count):
        low, high = part * len(whole) // count, max(part * len(whole) // count + 1, (part + 1) * len(whole) // count)
        at = rng.randrange(low, min(high, len(whole)))
        length = rng.randint(1, 64)
        kind = rng.choice(["flip", "flip", "flip", "zeros", "noise", "cut", "double"])
        data = bytearray(whole)
        if kind == "flip":
            data[at] ^= 1 << rng.randrange(8)
        elif kind == "cut":
            del data[at:]
        elif kind == "double":
            data += data[at:]
        else:
            piece = whole[at : at + length]
            data[at : at + length] = bytes(len(piece)) if kind == "zeros" else rng.randbytes(len(piece))
        if bytes(data) != whole:
            yield f"{kind} at {at} of {len(whole)}", bytes(data)


def damage(target: Target, count: int, seed: int) -> Damaged:
    """Damage a file `count` times, read it each time, and put it back."""
    whole, expected = target.path.read_bytes(), target.read()
    assert expected != NOTICED, f"{target.path} is not sound to begin with"
    found = Damaged()
    for description, data in damages(whole, count, random.Random(f"{seed} {target.path.name[:8]}")):
        target.path.unlink()  # a new file: what was mapped of the old one stays as it was
        target.path.write_bytes(data)
        read = target.read()
        verdict = NOTICED if isinstance(read, str) and read == NOTICED else SAME if read == expected else "unseen"
        found.counts[verdict] += 1
        if verdict == "unseen":
            found.unseen.append(description)
    target.path.unlink()
    target.path.write_bytes(whole)
    return found


def or_noticed(read: Callable[[], Any]) -> Callable[[], Any]:
    """`read`, with a typed error that names a file as `NOTICED`."""

    def attempt() -> Any:
        try:
            return read()
        except (StorageError, CheckpointError) as error:
            return NOTICED if NAMED.match(str(error)) else f"refused without a name: {error}"

    return attempt


def of_a_run(model: ThoughtModel, folder: Path) -> dict[str, Target]:
    """The files of a finished run."""
    folder.mkdir(parents=True)
    small_run(model, folder)
    run = folder / "run"
    shard = min((run / "shards").iterdir())

    def whole_shards() -> Any:
        found = {each.path: each.about for each in RunDirectory(run, {}).shards()}
        return found.get(shard, NOTICED)

    def effects() -> Any:
        return read_effects(run).to_pylist()

    return {
        "a shard": Target(shard, whole_shards),
        "effects.parquet": Target(run / "effects.parquet", or_noticed(effects)),
        "effects.sha256": Target(run / "effects.sha256", or_noticed(effects)),
        "spec.json": Target(run / "spec.json", or_noticed(lambda: read_spec(run))),
        "summary.json": Target(run / "summary.json", or_noticed(lambda: read_summary(run))),
        "pairs.json": Target(run / "pairs.json", or_noticed(lambda: read_sealed(run / "pairs.json", "again"))),
    }


def of_a_cache(folder: Path) -> dict[str, Target]:
    """A file of the activation cache."""
    about = {"model": "m", "tokens": [1, 2, 3]}
    tensors = {"resid": torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0)), "logits": torch.ones(4, 16)}
    cache = ActivationCache(folder)
    cache.save(about, tensors)
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}

    def load() -> Any:
        found = cache.load(about, expected)
        return NOTICED if found is None else {name: tensor.tolist() for name, tensor in found.items()}

    return {"the activation cache": Target(next(folder.iterdir()), load)}


def of_checkpoints(folder: Path) -> dict[str, Target]:
    """Weights of base, adapter and CODI: refused, or another fingerprint, or the very same weights."""
    base = write_base(folder / "base", tiny_llama())
    adapter = write_peft(folder / "adapter", tiny_llama())
    pickled = shutil.copytree(adapter, folder / "pickled")
    state = codi_state(tiny_llama())
    codi = write_state(folder / "codi" / "model.safetensors", state)
    binary = write_state(folder / "codi.bin", state)
    (pickled / "adapter_model.safetensors").unlink()
    write_state(pickled / "adapter_model.bin", _read(adapter / "adapter_model.safetensors"))

    def loader(path: Path, **kind: Any) -> Target:
        sound = load_model(base, device="cpu", **kind)
        expected = [sound.fingerprint, _weights(sound)]

        def load() -> Any:
            found = load_model(base, device="cpu", **kind)
            if found.fingerprint != expected[0]:
                return NOTICED  # a run that was begun with the sound file refuses to go on with this one
            return _weights(found) == expected[1]

        return Target(path, or_noticed(load))

    return {
        "base, safetensors": loader(base / "model.safetensors"),
        "PEFT adapter, safetensors": loader(adapter / "adapter_model.safetensors", adapter=adapter),
        "PEFT adapter, .bin": loader(pickled / "adapter_model.bin", adapter=pickled),
        "CODI, safetensors": loader(codi, codi=codi),
        "CODI, .bin": loader(binary, codi=binary),
        "tokenizer.json": loader(base / "tokenizer.json"),
    }


def _read(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def _weights(model: ThoughtModel) -> list[bytes]:
    """Every number that the model computes with."""
    tensors = [*model.hooked.parameters(), *(model.head.parameters() if model.head else ())]
    return [tensor.detach().contiguous().numpy().tobytes() for tensor in tensors]
