"""Where the cache lies, that it keeps to its limit, and that nothing in use is deleted."""

import fcntl
import json
import logging
import os
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mechpatch import cli
from mechpatch.errors import StorageError
from mechpatch.storage import cache_folder
from mechpatch.storage.activations import ActivationCache
from mechpatch.storage.cache_folder import LIMIT_VARIABLE, default_folder, entries, make_room, remove, size_limit

TENSORS = {"x": torch.arange(250, dtype=torch.float32)}  # about 1.3 kB in a file
EXPECTED = {"x": ((250,), torch.float32)}


def fill(folder: Path, count: int) -> list[str]:
    """Names of `count` files of a cache of their own, the first used longest ago."""
    cache = ActivationCache(folder)
    names: list[str] = []
    for index in range(count):
        cache.save({"pair": index}, TENSORS)
        (new,) = {entry.path.name for entry in entries(folder)} - {*names}
        os.utime(folder / new, (index, index))
        names.append(new)
    return names


def present(folder: Path) -> set[str]:
    return {entry.path.name for entry in entries(folder)}


def test_it_lies_in_the_project_or_in_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    project, real = tmp_path / "project", cache_folder._is_checkout
    # A folder for temporary files may itself lie in a checkout.
    monkeypatch.setattr(cache_folder, "_is_checkout", lambda folder: folder.is_relative_to(tmp_path) and real(folder))
    (project / "cache").mkdir(parents=True)
    (project / "runs").mkdir()
    (project / "pyproject.toml").write_text('[project]\nname = "mechpatch"\n')
    assert default_folder(project) == default_folder(project / "runs") == project / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert default_folder(tmp_path) == tmp_path / "home" / "mechpatch"
    for other in ('[project]\nname = "other"\n', "name", "[project]\nname = 3\n"):  # a cache of somebody else
        (project / "pyproject.toml").write_text(other)
        assert default_folder(project) == tmp_path / "home" / "mechpatch"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which the standard says to ignore
    assert default_folder(tmp_path) in (Path.home() / ".cache/mechpatch", Path.home() / "Library/Caches/mechpatch")


def test_the_limit_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    assert size_limit() == 5_000_000_000
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    assert size_limit() == 500_000_000
    for wrong in ("much", "-1", "inf", "nan", ""):
        monkeypatch.setenv(LIMIT_VARIABLE, wrong)
        with pytest.raises(StorageError, match="expected a number of GB, for example 5"):
            size_limit()


def test_files_used_longest_ago_go_first_and_those_in_use_stay(tmp_path: Path):
    names = fill(tmp_path, 5)
    (tmp_path / "README.md").write_text("x" * 10_000)
    size = entries(tmp_path)[0].size
    with (tmp_path / names[0]).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as a reader does
        assert make_room(tmp_path, size, 4 * size, kept={names[1]}) == 3 * size
        assert present(tmp_path) == {names[0], names[1], names[4]}
        assert not remove(tmp_path / names[0])
    assert make_room(tmp_path, size, 0) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_run_makes_room_among_files_of_others_and_keeps_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    names = fill(tmp_path, 4)
    size = entries(tmp_path)[0].size
    monkeypatch.setenv(LIMIT_VARIABLE, str(4.5 * size / 1e9))
    cache = ActivationCache(tmp_path)
    assert cache.load({"pair": 0}, EXPECTED) is not None  # used now, so that another one goes
    cache.save({"pair": "new"}, TENSORS)
    assert present(tmp_path) & {*names} == {names[0], *names[2:]}
    for index in range(2):
        cache.save({"pair": f"new {index}"}, TENSORS)
    assert present(tmp_path) & {*names} == {names[0]}
    assert not caplog.records
    for index in range(2, 4):  # all that is there is this run's
        cache.save({"pair": f"new {index}"}, TENSORS)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{tmp_path}: full" in record.message
    assert LIMIT_VARIABLE in record.message
    assert sum(entry.size for entry in entries(tmp_path)) <= 4.5 * size
    assert all(cache.load({"pair": pair}, EXPECTED) is not None for pair in (0, "new", "new 0", "new 1"))


def test_the_command_shows_and_clears_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    fill(tmp_path, 3)
    (tmp_path / "README.md").write_text("mine")

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, ["cache", "--cache", str(tmp_path), *arguments])
        assert result.exit_code == 0, result
        return result.output

    size = sum(entry.size for entry in entries(tmp_path))
    assert json.loads(said("--json")) == {
        "folder": str(tmp_path), "files": 3, "bytes": size, "limit_bytes": 5_000_000_000,
    }  # fmt: skip
    assert f"{tmp_path}: 3 files, 0.0 MB\nlimit 5 GB" in said()
    assert "deleted 3 files" in said("--clear")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
