import hashlib
import inspect
import logging
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import mechpatch
from mechpatch.errors import SpecError, StorageError
from mechpatch.storage.folders import require_run_or_empty
from mechpatch.storage.keys import digest, file_digest
from mechpatch.storage.results import (
    FORMAT,
    SUMMARY,
    RunDirectory,
    Shard,
    log_to,
    open_run,
    read_effects,
    read_spec,
)
from mechpatch.storage.sealed import write_sealed

SPEC = {"experiment": "layerwise", "layers": (0, 1), "model": {"weights": "ab", "dtype": "float32"}, "command": "x"}
ODD_IDS = ["../../x", "a/b", "", "y" * 300, "\0 é\n"]


def rows(pair: str, value: float = 0.5) -> pa.Table:
    return pa.table({"pair": [pair] * 3, "layer": pa.array([0, 1, 2], pa.int16()), "recovery": [value, None, -value]})


def fill(folder: Path, pairs: list[str]) -> Path:
    with open_run(folder, SPEC) as run:
        shards = [run.write_shard({"batch": index}, rows(pair)) for index, pair in enumerate(pairs)]
        run.finish(pa.concat_tables([run.read_shard(each) for each in shards]))
    return folder


def held(run: RunDirectory) -> set[int]:
    return {shard.about["batch"] for shard in run.shards()}


def shard(folder: Path, index: int) -> Path:
    (path,) = (folder / "shards").glob(f"{digest({'batch': index})}-*")
    return path


def pq_bytes(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


def flips(path: Path, count: int) -> list[bytes]:
    """`path` with one bit changed, at `count` places spread over the file, its first and last eight bytes included."""
    whole = path.read_bytes()
    generator = random.Random(0)
    edges = [*range(8), *range(len(whole) - 8, len(whole))]
    damaged = []
    for position in [*edges, *generator.sample(range(8, len(whole) - 8), count - len(edges))]:
        copy = bytearray(whole)
        copy[position] ^= 1 << generator.randrange(8)
        damaged.append(bytes(copy))
    return damaged


def test_a_run_gives_back_its_rows(tmp_path: Path):
    with open_run(tmp_path / "new" / "run", SPEC) as run:
        for index in (2, 0, 1):
            run.write_shard({"batch": index, "cells": [("t0", index)]}, rows(f"p{index}", index))
        found = sorted(run.shards(), key=lambda shard: -shard.about["batch"])
        assert [shard.about for shard in found] == [{"batch": i, "cells": [["t0", i]]} for i in (2, 1, 0)]
        path = run.finish(pa.concat_tables([run.read_shard(shard) for shard in found]))
    assert path == tmp_path / "new" / "run" / "effects.parquet"
    found = read_effects(path.parent)
    assert found == pa.concat_tables([rows("p2", 2), rows("p1", 1), rows("p0", 0)])
    assert found["recovery"].null_count == 3
    assert read_spec(path.parent)["layers"] == [0, 1]


def test_no_text_of_a_pair_is_in_a_file_name(tmp_path: Path):
    fill(tmp_path / "run", ODD_IDS)
    assert read_effects(tmp_path / "run")["pair"].to_pylist()[::3] == ODD_IDS
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    names = [path.name for path in (tmp_path / "run" / "shards").iterdir()]
    assert len(names) == 5
    assert all(re.fullmatch(r"[0-9a-f]{16}-[0-9a-f]{16}\.parquet", name) for name in names)


def test_equal_rows_give_equal_bytes(tmp_path: Path):
    first = fill(tmp_path / "a", ["p", "q"])
    with open_run(tmp_path / "b", SPEC) as run:
        run.write_shard({"batch": 0}, rows("other"))
        halves = pa.concat_tables([rows("p").slice(0, 1), rows("p").slice(1)])
        run.write_shard({"batch": 0}, halves.replace_schema_metadata({"made": "later"}))
        assert shard(tmp_path / "b", 0).read_bytes() == shard(first, 0).read_bytes()
        second = run.finish(pa.concat_tables([halves, rows("q")]))
    assert second.read_bytes() == (first / "effects.parquet").read_bytes()
    with open_run(tmp_path / "b", SPEC) as run:
        assert run.finish(pa.concat_tables([rows("q"), rows("p")])).read_bytes() != second.read_bytes


def test_a_summary_does_not_outlive_its_records(tmp_path: Path):
    folder = fill(tmp_path, ["p"])
    with open_run(folder, SPEC) as run:
        write_sealed(folder / SUMMARY, {"pairs": 1})
        run.finish(rows("p"))
        assert (folder / SUMMARY).exists()
        run.finish(rows("q"))
    assert not (folder / "summary.json").exists()


def test_the_dictionaries_of_chunks_do_not_change_the_bytes(tmp_path: Path):
    halves = [pa.table({"metric": pa.array(names).dictionary_encode()}) for names in (["kl", "l2"], ["l2", "recovery"])]
    with open_run(tmp_path, SPEC) as run:
        run.write_shard({"batch": 0}, pa.concat_tables(halves))
        chunked = shard(tmp_path, 0).name
        run.write_shard({"batch": 0}, pa.concat_tables(halves).combine_chunks())
        assert shard(tmp_path, 0).name == chunked


def test_the_checksum_is_one_that_sha256sum_reads(tmp_path: Path):
    folder = fill(tmp_path, ["p"])
    assert (folder / "effects.sha256").read_text() == f"{file_digest(folder / 'effects.parquet')}  effects.parquet\n"


def test_pages_carry_their_own_checksums(tmp_path: Path):
    path = fill(tmp_path, ["p"]) / "effects.parquet"
    damaged = bytearray(path.read_bytes())
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(0).column(2)
        damaged[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(damaged)
    with pq.ParquetFile(path, page_checksum_verification=True) as file, pytest.raises(OSError, match="CRC"):
        file.read()


def test_every_flipped_bit_of_a_shard_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = fill(tmp_path, ["p", "q"])
    path = shard(folder, 1)
    whole = path.read_bytes()
    with open_run(folder, SPEC) as run:
        for damaged in [*flips(path, 200), b"", whole[:-1], whole + b"\0"]:
            path.write_bytes(damaged)
            caplog.clear()
            assert held(run) == {0}
            assert f"{path} is damaged" in caplog.text
        with pytest.raises(StorageError, match=r"damaged: .*; run the same command again"):
            run.read_shard(Shard(path, {}))
        run.write_shard({"batch": 1}, rows("q"))
        assert held(run) == {0, 1}


def test_a_file_that_is_no_shard_is_not_taken_for_one(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    for name, content in (("table", pq_bytes(rows("p"))), ("text", b"no table")):
        path = tmp_path / "shards" / f"{'0' * 16}-{hashlib.sha256(content).hexdigest()[:16]}.parquet"
        with open_run(tmp_path, SPEC) as run:
            path.write_bytes(content)
            assert run.shards() == [], name
        assert f"{path} is damaged (it is no shard)" in caplog.text


def test_every_flipped_bit_of_the_effects_and_their_checksum_is_noticed(tmp_path: Path):
    folder = fill(tmp_path, ["p", "q"])
    for path, count in ((folder / "effects.parquet", 200), (folder / "effects.sha256", 60)):
        whole = path.read_bytes()
        for damaged in [*flips(path, count), whole[:-1]]:
            path.write_bytes(damaged)
            with pytest.raises(StorageError, match=r"effects.parquet: damaged; run the same command again"):
                read_effects(folder)
        path.write_bytes(whole)
    assert read_effects(folder).num_rows == 6


@pytest.mark.parametrize("name", ["effects.parquet", "effects.sha256"])
def test_an_unfinished_run_has_no_effects(tmp_path: Path, name: str):
    folder = fill(tmp_path, ["p"])
    (folder / name).unlink()
    with pytest.raises(StorageError, match=rf"{name}: cannot be read: No such file.*; run the same command again"):
        read_effects(folder)


def test_the_same_spec_goes_on_whatever_the_provenance(tmp_path: Path):
    fill(tmp_path, ["p"])
    (tmp_path / "shards" / ".writing-0123456789abcdef").touch()
    with open_run(tmp_path, SPEC | {"command": "y", "created": "now", "environment": {"torch": "2"}}) as run:
        assert held(run) == {0}
        assert len(list((tmp_path / "shards").iterdir())) == 1  # what a killed writer left is gone
    assert read_spec(tmp_path)["command"] == "x"


def test_a_run_that_cannot_grow_is_refused(tmp_path: Path):
    fill(tmp_path, ["p"])
    with pytest.raises(SpecError) as caught, open_run(tmp_path, SPEC | {"layers": (0, 2), "seed": 3}):
        pass
    assert str(caught.value).startswith(f"{tmp_path}: holds a run that was asked for differently (layers, seed); ")


def test_what_a_run_has_grown_into_is_written_when_it_is_finished(tmp_path: Path):
    told = []

    def join(found: dict, asked: dict, finished: bool) -> dict:
        told.append((found["layers"], asked["layers"], finished))
        return {**asked, "layers": sorted({*found["layers"], *asked["layers"]})}

    for layers in ((0, 1), (1, 5), (3, 4)):
        with open_run(tmp_path, SPEC | {"layers": layers}, join) as run:
            if layers != (1, 5):  # that one is killed
                run.finish(rows("p"))
    assert read_spec(tmp_path)["layers"] == [0, 1, 3, 4]
    assert told == [([0, 1], [1, 5], True), ([0, 1], [3, 4], True)]


@pytest.mark.parametrize("other", [{}, {"format": 1}, {"format": FORMAT + 1}])
def test_a_run_of_another_format_is_refused_in_a_sentence(tmp_path: Path, other: dict):
    write_sealed(tmp_path / "spec.json", other)
    with pytest.raises(StorageError) as caught, open_run(tmp_path, SPEC):
        pass
    assert f"has format {other.get('format', 1)}, and this version of mechpatch reads format {FORMAT}: run" in str(
        caught.value
    )


@pytest.mark.parametrize("content", ["", "{", "[]", "\udcff", "{}", '{"a": NaN}', "[" * 10**5, '{"a":' * 10**5])
def test_a_damaged_spec_is_refused(tmp_path: Path, content: str):
    (tmp_path / "spec.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(StorageError, match=r"spec.json: damaged: .*; choose another folder"), open_run(tmp_path, SPEC):
        pass


def test_a_folder_of_other_things_is_refused_and_left_alone(tmp_path: Path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StorageError, match="not empty, and not a run"), open_run(tmp_path, SPEC):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_left_before_its_spec_was_written_is_used(tmp_path: Path):
    (tmp_path / "run.lock").touch()
    (tmp_path / ".writing-0123456789abcdef").touch()
    with open_run(tmp_path, SPEC):
        assert {path.name for path in tmp_path.iterdir()} == {"run.lock", "spec.json", "shards"}


def test_a_run_in_use_is_refused(tmp_path: Path):
    with (
        open_run(tmp_path, SPEC),
        pytest.raises(StorageError, match=f"in use by process {os.getpid()}"),
        open_run(tmp_path, SPEC),
    ):
        pass


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path, name: str):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"cannot be written: .*; choose another"), open_run(tmp_path / name, SPEC):
        pass


def test_a_folder_that_may_not_be_written_is_refused_before_anything_is_made(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    for folder in (tmp_path, tmp_path / "new" / "run"):
        with pytest.raises(StorageError, match=rf"{folder}: cannot be written: Permission denied"):
            require_run_or_empty(folder)
    require_run_or_empty(tmp_path.parent / "new")


def test_a_folder_that_is_no_run_cannot_be_read(tmp_path: Path):
    with pytest.raises(StorageError, match=r"spec.json: cannot be read: No such file"):
        read_spec(tmp_path)


def compute(folder: Path) -> None:
    with open_run(folder, {"pairs": 40}) as run:
        for index in sorted(set(range(40)) - {shard.about["batch"] for shard in run.shards()}):
            run.write_shard({"batch": index}, pa.table({"pair": [str(index)] * 5000, "value": range(5000)}))
        shards = sorted(run.shards(), key=lambda shard: shard.about["batch"])
        run.finish(pa.concat_tables([run.read_shard(shard) for shard in shards]))


def test_a_killed_run_resumes_to_the_same_bytes(tmp_path: Path):
    code = f"""
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from mechpatch.storage.results import open_run
def die_in_the_middle(event, args):
    if event == "os.rename" and len(list(Path(sys.argv[1], "shards").glob("[0-9a-f]*"))) == 15:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die_in_the_middle)
{inspect.getsource(compute)}
compute(Path(sys.argv[1]))
"""
    child = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "killed"],
        env=os.environ | {"PYTHONPATH": str(Path(mechpatch.__file__ or "").parents[1])},
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    for path in tmp_path.glob("killed/shards/[0-9a-f]*"):
        assert file_digest(path)[:16] in path.name
    assert len(held(RunDirectory(tmp_path / "killed", {}))) == 15
    assert list(tmp_path.glob("killed/shards/.writing-*"))
    for folder in (tmp_path / "killed", tmp_path / "uninterrupted"):
        compute(folder)
        assert not list(folder.rglob(".writing-*"))
    assert len({file_digest(path) for path in tmp_path.glob("*/effects.parquet")}) == 1
    assert read_effects(tmp_path / "killed").num_rows == 40 * 5000


def test_the_log_is_appended_for_the_length_of_the_block(tmp_path: Path):
    logger = logging.getLogger("mechpatch.somewhere")
    before = logging.getLogger("mechpatch").handlers, logging.getLogger("mechpatch").level
    for word in ("first", "second é"):
        with log_to(tmp_path):
            logger.info(word)
            logger.debug("too fine")
        logger.warning("outside")
    assert (logging.getLogger("mechpatch").handlers, logging.getLogger("mechpatch").level) == before
    lines = (tmp_path / "run.log").read_text("utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == [
        "INFO mechpatch.somewhere: first",
        "INFO mechpatch.somewhere: second é",
    ]


def test_a_log_that_cannot_be_written_is_explained(tmp_path: Path):
    with pytest.raises(StorageError, match=r"run.log: cannot be written"), log_to(tmp_path / "absent"):
        pass
