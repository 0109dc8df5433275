"""Memory: what a process has used."""

import pytest
import torch

from mechpatch.patching.memory import peak_memory


def test_the_peak_is_that_of_the_device_of_the_run(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 + device.index)
    assert peak_memory(torch.device("cuda:1")) == 8
    assert peak_memory(torch.device("cpu")) > 1e8  # torch alone is larger
