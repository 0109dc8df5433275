"""`mechpatch` in a fork of the test process, where all is imported already: a command costs what it does."""

import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import torch
from drawing import figure_files, save_once
from faults.forks import fork, kill, wait_for
from jaxtyping import config

from mechpatch import cli, console, views, workflow

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "COLUMNS": "200", "CUDA_VISIBLE_DEVICES": ""}
IMPORTED = (console, views, workflow)  # for the forks


def mechpatch(
    *arguments: object,
    env: Mapping[str, str] | None = None,
    every_format: bool = False,
    largest_file: int | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command as a shell would: its exit code, and what it printed.

    Args:
        every_format: draw figures as a user's are, not as SVG alone.
        largest_file: bytes past which every write to a file fails, as on a full disk.
    """
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch, name) for name in ("stdout", "stderr")]
        child = _started(arguments, files, ENVIRONMENT | dict(env or {}), every_format, largest_file)
        code = wait_for(child, files)
        assert code is not None
        return subprocess.CompletedProcess(["mechpatch"], code, *(file.read_text() for file in files))


def killed(*arguments: object, once: Callable[[], bool]) -> None:
    """Run a command and kill it with SIGKILL as soon as `once` is true; raise if it ends before."""
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch, name) for name in ("stdout", "stderr")]
        child = _started(arguments, files, ENVIRONMENT)
        if wait_for(child, files, until=once) is not None:
            raise AssertionError(f"it ended by itself: {[file.read_text() for file in files]}")
        kill(child)


def _started(
    arguments: Sequence[object],
    files: Sequence[Path],
    env: Mapping[str, str],
    every_format: bool = False,
    largest_file: int | None = None,
) -> int:
    """Fork a child that is the command, and return its number."""
    if (child := fork()) == 0:
        if not every_format:
            figure_files.save = save_once
        if largest_file is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
        _become(["mechpatch", *map(str, arguments)], files, env)
    return child


def _become(command: Sequence[str], files: Sequence[Path], env: Mapping[str, str]) -> NoReturn:
    code = 70
    try:
        for number, file in enumerate(files, start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        sys.argv = [*command]
        os.environ.update(env)
        logging.getLogger().handlers.clear()  # those of pytest
        warnings.resetwarnings()
        warnings.simplefilter("ignore", DeprecationWarning)
        config.update("jaxtyping_disable", True)
        torch.cuda.is_available = lambda: False  # a GPU that the parent has begun to use is closed to its forks
        torch.set_num_threads(1)  # makes its pool of threads anew: loading in several threads would race for that
        cli.main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
