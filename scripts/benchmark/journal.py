"""Measurements in a JSON file, written after each one, so that a run that was stopped goes on where it was."""

import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from mechpatch.storage.atomic import write_bytes

GROUP = ("shape", "dtype", "kind", "thoughts", "question", "prefix")
KEY = (*GROUP, "what", "axis", "value", "round")
Record = dict[str, Any]


class Journal:
    """Records of what was measured; those of one `KEY` are one measurement.

    Every record says which process took it: a round that was interrupted is finished by another one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []
        self.process = 1
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            self.records = stored["measurements"]
            self.process = stored["processes"] + 1

    def has(self, **key: object) -> bool:
        """Whether there is a record with these fields."""
        return next(self.find(**key), None) is not None

    def find(self, **key: object) -> Iterator[Record]:
        """Records with these fields, oldest first."""
        return (each for each in self.records if all(each.get(name) == value for name, value in key.items()))

    def add(self, **record: object) -> None:
        """Append a record, in place of one with the same key, and write the file."""
        same = {name: record.get(name) for name in KEY}
        old = list(self.find(**same))
        self.records = [each for each in self.records if each not in old]
        self.records.append({**record, "process": self.process})
        about = {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "cpu": torch.backends.cpu.get_cpu_capability(),
        }
        content = {"about": about, "processes": self.process, "measurements": self.records}
        write_bytes(self.path, json.dumps(content, indent=1).encode())
