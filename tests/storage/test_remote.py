"""A finished run that lies elsewhere is read as one that lies here; nothing but what a run has is fetched."""

import fsspec
import pytest
from commands import mechpatch
from records import make_records
from run_directories import write_run

import mechpatch as mp
from mechpatch.errors import StorageError
from mechpatch.storage.remote import local_run
from mechpatch.views.report import write_report


@pytest.fixture
def run_dir(tmp_path):
    return write_run(tmp_path / "runs" / "first", make_records())


def test_a_run_in_memory_is_read_as_the_directory(run_dir, tmp_path):
    (run_dir / "shards").mkdir()
    (run_dir / "shards" / "a.parquet").touch()
    (run_dir / "evil.py").touch()
    fsspec.filesystem("memory").put(str(run_dir), "/elsewhere/first", recursive=True)
    copy = local_run("memory://elsewhere/first")
    names = {path.name for path in run_dir.iterdir()} - {"shards", "evil.py"}
    assert (copy.name, {path.name for path in copy.iterdir()}) == ("first", names)
    found = mp.open_run("memory://elsewhere/first")
    assert found.records.equals(mp.open_run(run_dir).records)
    pages = [write_report([folder], tmp_path / f"{number}.html") for number, folder in enumerate((copy, run_dir))]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_a_byte_that_changed_on_the_way_is_noticed(run_dir):
    data = bytearray((run_dir / "effects.parquet").read_bytes())
    data[50] ^= 1
    (run_dir / "effects.parquet").write_bytes(data)
    with pytest.raises(StorageError, match=r"effects\.parquet: damaged"):
        mp.open_run(run_dir.as_uri())


@pytest.mark.parametrize(
    ("url", "message"),
    [("memory://nowhere/run", "holds no run"), ("nosuchthing://a/b", "cannot be fetched: ValueError")],
)
def test_what_cannot_be_fetched_is_said(url, message):
    with pytest.raises(StorageError, match=f"{url}: {message}"):
        mp.open_run(url)


def test_commands_take_urls(run_dir, tmp_path):
    found = mechpatch("report", run_dir.as_uri(), "--out", tmp_path / "page.html")
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "page.html").stat().st_size > 100_000
    refused = mechpatch("plot", run_dir.as_uri())
    assert refused.returncode == 1
    assert "say with --out where its figures shall be" in refused.stderr
