"""Two processes on one directory: the second is refused and changes nothing; the dead hold no lock. And clocks."""

import os
import signal
import time

import pytest
from faults.forks import DONE, TYPED, Operation, become, fork, in_child, killed_at, wait_for, watched
from faults.runs import left_by, small_run
from faults.unhurt import unhurt

from mechpatch.errors import StorageError
from mechpatch.storage.atomic import LOCK, lock


def test_the_second_process_is_refused_and_the_first_ends_whole(demo_model, tmp_path):
    """The first is stopped in the middle, with some shards written, while the second tries."""
    shared, said = tmp_path / "shared", tmp_path / "said-by-the-first.txt"
    shared.mkdir()

    def stop(_: int, operation: Operation) -> None:
        shards = [*shared.glob("run/shards/[0-9a-f]*.parquet")]
        if operation.kind == "rename" and "/shards/" in operation.path and len(shards) == 1:  # the second is written
            os.kill(os.getpid(), signal.SIGSTOP)

    if (first := fork()) == 0:
        become(lambda: watched(lambda: small_run(demo_model, shared), [shared], stop), said)
    try:
        assert wait_for(first, [said], until=lambda: bool(os.waitid(os.P_PID, first, os.WSTOPPED | os.WNOHANG))) is None
        ended = in_child(lambda: small_run(demo_model, shared), tmp_path)
    finally:
        os.kill(first, signal.SIGCONT)
    assert (wait_for(first, [said]), said.read_text()) == (DONE, "")
    assert ended.code == TYPED, ended
    assert f"{shared / 'run'}: in use by process {first} on " in ended.said
    assert left_by(shared) == unhurt(demo_model).left


def test_many_started_at_once_and_one_runs(demo_model, tmp_path):
    (tmp_path / "shared").mkdir()
    children = []
    for number in range(4):
        (tmp_path / str(number)).mkdir()
        if (child := fork()) == 0:
            ended = in_child(lambda: small_run(demo_model, tmp_path / "shared", pairs=2), tmp_path / str(number))
            os._exit(ended.code)
        children.append(child)
    codes = [wait_for(child, []) for child in children]
    assert set(codes) == {DONE, TYPED}, codes
    (tmp_path / "alone").mkdir()
    small_run(demo_model, tmp_path / "alone", pairs=2)
    assert left_by(tmp_path / "shared") == left_by(tmp_path / "alone")


def test_the_lock_of_the_dead_does_not_block(demo_model, tmp_path):
    (tmp_path / "run").mkdir()
    small_run(demo_model, tmp_path, pairs=2)
    ended = in_child(lambda: os.kill(os.getpid(), signal.SIGKILL), tmp_path)
    assert ended.code == -signal.SIGKILL
    (tmp_path / "run" / LOCK).write_text("process 1 on a machine that burnt down")
    small_run(demo_model, tmp_path, pairs=2)
    assert str(os.getpid()) in (tmp_path / "run" / LOCK).read_text()


@pytest.mark.parametrize("step", [-3600.0, 86400.0])
def test_clocks_do_not_matter(demo_model, tmp_path, monkeypatch, step):
    """The clock jumps at every look, an hour back or a day on; only provenance, the log and nothing else shows it."""
    (tmp_path / "steady").mkdir()
    small_run(demo_model, tmp_path / "steady", pairs=2)
    now = [time.time()]

    def jump() -> float:
        now[0] += step
        return now[0]

    monkeypatch.setattr(time, "time", jump)
    monkeypatch.setattr(time, "time_ns", lambda: int(jump() * 1e9))
    (tmp_path / "jumping").mkdir()
    jumping = [tmp_path / "jumping"]
    ended = killed_at(20, lambda: small_run(demo_model, jumping[0], pairs=2), jumping, tmp_path)
    assert ended.code == -signal.SIGKILL
    for path in (tmp_path / "jumping").rglob("*"):
        os.utime(path, (now[0] - 10**9, now[0] - 10**9))  # times of files are never asked for
    finished = small_run(demo_model, tmp_path / "jumping", pairs=2)
    assert left_by(tmp_path / "jumping") == left_by(tmp_path / "steady")
    assert 0 <= finished.summary.run.seconds < 60


def test_a_lock_that_is_held_is_felt_across_a_fork(tmp_path):
    """The test of two processes rests on locks that a child of the holder does not share."""

    def try_it() -> None:
        with lock(tmp_path):
            pass

    with lock(tmp_path):
        assert in_child(try_it, tmp_path).code == TYPED
    assert in_child(try_it, tmp_path).code == DONE
    with lock(tmp_path), pytest.raises(StorageError):
        try_it()
