import logging
import pickle
import random
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mechpatch.storage import activations
from mechpatch.storage.activations import ActivationCache
from mechpatch.storage.keys import digest

ABOUT = {"weights": "0123456789abcdef", "tokens": [1, 2, 3], "hooks": ("blocks.0.hook_resid_post",)}


def tensors() -> dict[str, torch.Tensor]:
    stack = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    return {"clean": stack[0], "strided": stack[0].T, "half": stack[1].bfloat16(), "tokens": torch.arange(3)}


def expected() -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    return {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors().items()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    ActivationCache(tmp_path).save(ABOUT, tensors())
    return tmp_path / f"{digest(ABOUT)}.safetensors"


def load(path: Path) -> dict[str, torch.Tensor] | None:
    return ActivationCache(path.parent).load(ABOUT, expected())


def assert_refused(path: Path, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    """The file is reported by name and reason, counts as absent, and is replaced by the next save."""
    caplog.clear()
    assert load(path) is None
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("mechpatch.storage.activations", logging.WARNING)
    assert str(path) in record.message
    assert reason in record.message
    ActivationCache(path.parent).save(ABOUT, tensors())
    assert load(path) is not None


def test_what_is_saved_is_loaded(saved: Path, caplog: pytest.LogCaptureFixture):
    loaded = load(saved)
    assert loaded is not None
    assert loaded.keys() == tensors().keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors().items())
    assert not caplog.records


def test_what_was_never_saved_is_absent_without_a_word(saved: Path, caplog: pytest.LogCaptureFixture):
    assert ActivationCache(saved.parent).load(ABOUT | {"tokens": [1, 2]}, expected()) is None
    assert ActivationCache(saved.parent / "absent").load(ABOUT, expected()) is None
    assert ActivationCache(saved / "under a file").load(ABOUT, expected()) is None
    assert not caplog.records


def test_every_flipped_bit_is_noticed(saved: Path):
    whole = saved.read_bytes()
    generator = random.Random(0)
    header = 8 + struct.unpack("<Q", whole[:8])[0]
    positions = [*range(8), *generator.sample(range(8, header), 120), *generator.sample(range(header, len(whole)), 100)]
    for position in positions:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << generator.randrange(8)
        saved.write_bytes(damaged)
        assert load(saved) is None, position
    saved.write_bytes(whole)
    assert load(saved) is not None


def test_every_truncation_is_noticed(saved: Path):
    whole = saved.read_bytes()
    for size in [0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1]:
        saved.write_bytes(whole[:size])
        assert load(saved) is None, size
    saved.write_bytes(whole + b"\0")
    assert load(saved) is None


def test_a_damaged_file_is_reported_and_replaced(saved: Path, caplog: pytest.LogCaptureFixture):
    damaged = bytearray(saved.read_bytes())
    damaged[-1] ^= 1
    saved.write_bytes(damaged)
    assert_refused(saved, caplog, "does not match its description and checksum")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"clean": torch.zeros(4, 3)}, "(4, 3)"),
        ({"clean": torch.zeros(3, 4).double()}, "torch.float64"),
        ({"surplus": torch.zeros(1)}, "surplus"),
    ],
)
def test_other_names_shapes_and_dtypes_are_refused(
    saved: Path, caplog: pytest.LogCaptureFixture, change: dict[str, torch.Tensor], reason: str
):
    ActivationCache(saved.parent).save(ABOUT, tensors() | change)
    assert_refused(saved, caplog, reason)


def test_the_file_of_another_description_is_refused(saved: Path, caplog: pytest.LogCaptureFixture):
    ActivationCache(saved.parent).save(ABOUT | {"tokens": [9]}, tensors())
    (saved.parent / f"{digest(ABOUT | {'tokens': [9]})}.safetensors").rename(saved)
    assert_refused(saved, caplog, "description")


def test_a_file_without_a_checksum_is_refused(saved: Path, caplog: pytest.LogCaptureFixture):
    safetensors.torch.save_file({name: tensor.clone().contiguous() for name, tensor in tensors().items()}, saved)
    assert_refused(saved, caplog, "checksum")


class Trap:
    """Unpickling one raises."""

    def __reduce__(self):
        return (pytest.fail, ("the cache must not unpickle",))


@pytest.mark.parametrize(
    "junk",
    [pickle.dumps(Trap()), struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 500_000) + b"{}", b"\0" * 100],
    ids=["pickle", "huge header", "header beyond the end", "zeros"],
)
def test_junk_is_refused(saved: Path, caplog: pytest.LogCaptureFixture, junk: bytes):
    saved.write_bytes(junk)
    assert_refused(saved, caplog, "header")


def test_a_file_far_too_large_is_not_read(
    saved: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    with saved.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: takes no space
    with monkeypatch.context() as patch:
        patch.setattr(activations, "safe_open", lambda *args, **kwargs: pytest.fail("read"))
        assert load(saved) is None
    assert_refused(saved, caplog, f"found {1 << 40} bytes, expected at most")


def test_a_cache_that_cannot_be_written_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "file").touch()
    cache = ActivationCache(tmp_path / "file" / "cache")
    for _ in range(3):
        cache.save(ABOUT, tensors())
        assert cache.load(ABOUT, expected()) is None
    (record,) = caplog.records
    assert "goes on without writing its activation cache" in record.message
    assert str(tmp_path / "file" / "cache") in record.message


def test_a_new_cache_removes_what_a_killed_writer_left(saved: Path):
    (saved.parent / ".writing-0123456789abcdef").write_bytes(b"half")
    ActivationCache(saved.parent)
    assert list(saved.parent.iterdir()) == [saved]
