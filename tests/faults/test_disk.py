"""A disk that is full, closed or broken is a typed error, nothing half written, and no loss."""

import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager

from faults.disks import judge, mounted, refuse_each, remount, small_disks
from faults.forks import DONE, TYPED, in_child
from faults.runs import left_by, small_run
from faults.unhurt import unhurt

from mechpatch.storage.atomic import lock


def test_an_operation_that_fails_anywhere(demo_model, tmp_path):
    found = list(refuse_each(demo_model, tmp_path, count=8, seed=0))
    assert [each for each in found if each.fault] == []
    assert TYPED in {each.code for each in found} <= {DONE, TYPED}  # a cache that fails is no error


def test_a_full_disk(demo_model, tmp_path):
    """On a real small disk where there is the right to mount one; otherwise under a limit on the size of files."""
    try:
        found = list(small_disks(demo_model, tmp_path, count=3, seed=0))
    except PermissionError:
        return limited(demo_model, tmp_path / "limited")
    assert [each for each in found if each.fault] == []
    assert TYPED in {each.code for each in found}
    return None


def limited(model, folder):
    folder.mkdir()

    def job():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
        small_run(model, folder)

    ended = in_child(job, folder)
    assert ended.code == TYPED
    assert not judge(folder, ended)
    small_run(model, folder)
    assert left_by(folder)


def test_a_message_without_a_path_would_be_noticed(tmp_path):
    (tmp_path / "run").mkdir()
    ended = in_child(lambda: None, tmp_path)
    assert judge(tmp_path, ended) == ""
    assert "ended with 4" in judge(tmp_path, in_child(lambda: 1 / 0, tmp_path))


@contextmanager
def closed(folder):
    """A folder nobody can write, root included: a read-only mount, or a file in its place."""
    folder.mkdir(parents=True)
    try:
        with mounted(folder, "size=1m"):
            remount(folder, "ro")
            yield
    except PermissionError:
        folder.rmdir()
        folder.write_text("in the way")
        yield


def test_a_closed_cache_is_one_warning_and_changes_nothing(demo_model, tmp_path, caplog):
    with closed(tmp_path / "closed" / "cache"):
        small_run(demo_model, tmp_path / "closed")
    assert left_by(tmp_path / "closed") == unhurt(demo_model).left
    warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == 1
    assert f"{tmp_path / 'closed' / 'cache'}" in warned[0]
    assert ": cannot be written: " in warned[0]


def test_a_closed_run_directory_is_refused(demo_model, tmp_path):
    with closed(tmp_path / "run"):
        ended = in_child(lambda: small_run(demo_model, tmp_path), tmp_path)
    assert ended.code == TYPED, ended
    assert f"{tmp_path / 'run'}" in ended.said
    assert "cannot be written" in ended.said


def test_a_full_disk_under_the_log_alone(tmp_path):
    """The log is not the result: it says once that it cannot be written, and in one line."""
    code = (
        "import logging, sys; from pathlib import Path; from mechpatch.storage.results import log_to\n"
        "with log_to(Path(sys.argv[1])):\n"
        "    for word in 'ab': logging.getLogger('mechpatch').info(word)\n"
    )
    (tmp_path / "run.log").symlink_to("/dev/full")
    command = [sys.executable, "-c", code, tmp_path]
    found = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert found.returncode == 0
    assert "Traceback" not in found.stderr
    assert found.stderr.count("run.log: cannot be written: No space left on device; the run goes on without it") == 1


def test_a_full_disk_under_the_lock(tmp_path):
    def job():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        with lock(tmp_path / "run"):
            pass

    (tmp_path / "run").mkdir()
    ended = in_child(job, tmp_path)
    assert ended.code == TYPED, ended
    with lock(tmp_path / "run"):
        pass
