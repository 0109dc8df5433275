"""The log of a run: a file beside its records, which the run does without where it cannot be written."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mechpatch.storage.atomic import writing

LOG = "run.log"

logger = logging.getLogger(__name__)


class LogFile(logging.FileHandler):
    """Appends to a file; the first failure is one warning, and nothing is written after it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Give the file up. Called where a line could not be written."""
        package = logging.getLogger("mechpatch")
        if self in package.handlers:
            package.removeHandler(self)
            error = sys.exception()
            reason = getattr(error, "strerror", None) or error
            logger.warning("%s: cannot be written: %s; the run goes on without it", self.baseFilename, reason)

    def close(self) -> None:
        """Close the file; what could not be written is lost, as was said."""
        with suppress(OSError):
            super().close()


@contextmanager
def log_to(folder: Path) -> Iterator[None]:
    """Append what the package logs, from level INFO, to `run.log` in `folder`. Raises `StorageError`."""
    package = logging.getLogger("mechpatch")
    level = package.level
    with writing(folder / LOG):
        handler = LogFile(folder / LOG, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.setLevel(level)
        package.removeHandler(handler)
        handler.close()
