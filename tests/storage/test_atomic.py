import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import mechpatch
from mechpatch.errors import StorageError
from mechpatch.storage.atomic import (
    LOCK,
    TEMPORARY,
    lock,
    remove_stale,
    replacing,
    write_bytes,
    write_json,
    write_text,
)

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(mechpatch.__file__ or "").parents[1])}


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    """A child that runs `code` with `folder` in sys.argv[1] and has said that it is under way."""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


def fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make the disk refuse at the last moment; permission bits and mounts do not bind a test that runs as root."""

    def fsync(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)


def test_what_is_written_is_read_back_and_nothing_else_is_left(tmp_path: Path):
    write_bytes(tmp_path / "bytes", b"\0\xff")
    write_text(tmp_path / "text", "old")
    write_text(tmp_path / "text", "é\n")
    write_json(tmp_path / "json", {"b": (1,), "a": None})
    assert (tmp_path / "bytes").read_bytes() == b"\0\xff"
    assert (tmp_path / "text").read_text("utf-8") == "é\n"
    assert json.loads((tmp_path / "json").read_text()) == {"a": None, "b": [1]}
    assert {path.name for path in tmp_path.iterdir()} == {"bytes", "text", "json"}


def test_nan_is_refused_and_leaves_the_old_file(tmp_path: Path):
    write_json(tmp_path / "x", 1)
    with pytest.raises(ValueError, match="nan"):
        write_json(tmp_path / "x", float("nan"))
    assert (tmp_path / "x").read_text() == "1\n"


def test_a_file_has_the_permissions_of_any_new_file(tmp_path: Path):
    write_text(tmp_path / "ours", "")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


@pytest.mark.parametrize("exception", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_alone(tmp_path: Path, exception: type[BaseException]):
    write_text(tmp_path / "x", "old")

    def write_half() -> None:
        with replacing(tmp_path / "x") as temporary:
            temporary.write_text("half")
            raise exception

    with pytest.raises(exception):
        write_half()
    assert (tmp_path / "x").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "a folder that can be written"),
        (errno.EACCES, "a folder that can be written"),
        (errno.EIO, "check the folder and its disk"),
    ],
)
def test_a_failing_disk_is_explained_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
):
    path = tmp_path / "x"
    write_text(path, "old")
    with monkeypatch.context() as patch:
        fail(patch, number)
        with pytest.raises(StorageError) as caught:
            write_text(path, "new")
    assert str(caught.value).startswith(f"{path}: cannot be written: {os.strerror(number)}; ")
    assert remedy in str(caught.value)
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["x"]


def test_a_write_cut_short_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "x"
    write_text(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(StorageError, match="File too large; raise the limit"):
            write_bytes(path, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert [left.name for left in tmp_path.iterdir()] == ["x"]


def test_a_folder_that_is_a_file_is_explained(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/x: cannot be written: Not a directory; choose another folder"):
        write_text(tmp_path / "file" / "x", "")


@pytest.mark.parametrize("name", ["", ".", "/"])
def test_a_path_that_names_no_file_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StorageError, match=r"cannot be written: Is a directory; give the name of a file"):
        write_text(Path(name), "")


def test_a_folder_whose_name_is_too_long(tmp_path: Path):
    remove_stale(tmp_path / ("x" * 5000))
    with pytest.raises(StorageError, match=r"File name too long; choose a shorter name"):
        write_text(tmp_path / ("x" * 5000), "")


def test_a_killed_writer_leaves_whole_files_only(tmp_path: Path):
    code = """
import sys
from pathlib import Path
from mechpatch.storage.atomic import write_bytes
path = Path(sys.argv[1]) / "x"
print("ready", flush=True)
for n in range(10**9):
    write_bytes(path, bytes([n % 256]) * 300_000)
"""
    write_bytes(tmp_path / "x", bytes(300_000))
    left_behind = attempt = 0
    while attempt < 8 or (not left_behind and attempt < 100):
        child = start(code, tmp_path)
        deadline = time.monotonic() + 0.05 + 0.013 * (attempt % 8)
        attempt += 1
        while time.monotonic() < deadline:
            content = (tmp_path / "x").read_bytes()
            assert content == content[:1] * 300_000
        kill(child)
        content = (tmp_path / "x").read_bytes()
        assert content == content[:1] * 300_000
        left_behind += len(list(tmp_path.glob(f"{TEMPORARY}*")))
        remove_stale(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert left_behind  # or the kills never hit a write


def test_a_file_being_written_is_not_stale(tmp_path: Path):
    code = """
import sys, time
from pathlib import Path
from mechpatch.storage.atomic import replacing
with replacing(Path(sys.argv[1]) / "x"):
    print("ready", flush=True)
    time.sleep(60)
"""
    child = start(code, tmp_path)
    remove_stale(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    kill(child)
    remove_stale(tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_files_are_not_stale(tmp_path: Path):
    (tmp_path / "x.tmp").touch()
    remove_stale(tmp_path)
    remove_stale(tmp_path / "absent")
    assert [path.name for path in tmp_path.iterdir()] == ["x.tmp"]


def test_a_lock_keeps_others_out_until_its_holder_is_killed(tmp_path: Path):
    code = """
import sys, time
from pathlib import Path
from mechpatch.storage.atomic import lock
with lock(Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""
    child = start(code, tmp_path)
    with pytest.raises(StorageError) as caught, lock(tmp_path):
        pass
    assert f"{tmp_path}: in use by process {child.pid} on " in str(caught.value)
    kill(child)
    with lock(tmp_path):
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_a_lock_is_let_go_at_the_end_of_its_block(tmp_path: Path):
    for _ in range(2):
        with lock(tmp_path), pytest.raises(StorageError, match="in use by"), lock(tmp_path):
            pass


def test_a_lock_that_cannot_be_written_is_explained(tmp_path: Path):
    with (
        pytest.raises(StorageError, match=r"absent/run.lock: cannot be written: No such file"),
        lock(tmp_path / "absent"),
    ):
        pass
