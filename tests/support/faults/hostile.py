"""Files that would do harm if they were trusted, and ways to see whether they did."""

import io
import os
import pickle
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch


class Payload:
    """An object whose unpickling makes a file."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple:
        return (os.mkdir, (str(self._marker),))


def plain_pickle(path: Path, marker: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": Payload(marker)}))


def torch_zip(path: Path, marker: Path) -> None:
    torch.save({"weight": torch.ones(2), "extra": Payload(marker)}, path)


def torch_legacy(path: Path, marker: Path) -> None:
    torch.save({"weight": torch.ones(2), "extra": Payload(marker)}, path, _use_new_zipfile_serialization=False)


def hidden_in_a_zip(path: Path, marker: Path) -> None:
    """A sound state dict, in whose archive other members are pickles that run: what TorchScript would read."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.ones(2)}, buffer)
    with zipfile.ZipFile(buffer, "a") as archive:
        root = archive.namelist()[0].split("/")[0]
        for name in ("constants.pkl", "code/__torch__.py", "extra.pkl"):
            archive.writestr(f"{root}/{name}", pickle.dumps(Payload(marker)))
    path.write_bytes(buffer.getvalue())


def tar_archive(path: Path, marker: Path) -> None:
    """The format of torch before 2018."""
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            data = pickle.dumps(Payload(marker))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def protocol_zero(path: Path, marker: Path) -> None:
    """Text opcodes, and a payload before the magic number of torch."""
    path.write_bytes(f"cos\nmkdir\n(V{marker}\ntR.".encode())


def zip_bomb(path: Path, marker: Path) -> None:
    """A state dict that is small in the file and large in memory."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"weight": b"\0" * 2**26}))
        archive.writestr("archive/version", "3\n")


def stretched(path: Path, marker: Path) -> None:
    """One number that claims to be a terabyte."""
    torch.save({"weight": torch.ones(1).expand(2**19, 2**19)}, path)


PICKLES = (plain_pickle, torch_zip, torch_legacy, hidden_in_a_zip, tar_archive, protocol_zero)
BOMBS = (zip_bomb, stretched)


def sparse(path: Path, size: int = 10 * 2**30, start: bytes = b"[") -> None:
    """A file of `size` bytes that takes no space."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(size)


def opened_by(job: Callable[[], object], watched: Path) -> list[str]:
    """Paths under `watched` that `job` opens or lists, links resolved; for a child alone."""
    seen: list[str] = []

    def audit(event: str, args: tuple) -> None:
        if event in ("open", "os.listdir", "os.scandir", "import") and args and isinstance(args[0], str | os.PathLike):
            path = os.path.realpath(args[0])
            if path.startswith(str(watched)):
                seen.append(path)

    sys.addaudithook(audit)
    job()
    return seen
