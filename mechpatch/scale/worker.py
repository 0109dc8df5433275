"""What runs in a worker: load the model that an order names, refuse to be another one, run batches."""

import logging
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any

import torch

from mechpatch.errors import CheckpointError
from mechpatch.experiments.running.batches import Todo
from mechpatch.experiments.running.where import Ran, Ready
from mechpatch.models import ThoughtModel
from mechpatch.models.copies import copy_of
from mechpatch.models.load import load_source
from mechpatch.names import PRODUCT, TORCH
from mechpatch.patching.engine.product import use
from mechpatch.patching.settings import settings
from mechpatch.scale.order import Order

log = logging.getLogger(__name__)


class Worker:
    """Runs batches of one order, for which it keeps what they share: the model above all."""

    def __init__(self, path: Sequence[str]) -> None:
        """Look for modules where the driver does, too: what is the user's own may lie beside a script."""
        sys.path += [each for each in path if each not in sys.path]

    def ready(self, order: Order) -> tuple[str, dict[str, Any]]:
        """Load the model; where this is, and the settings on which rounding depends.

        Raises:
            CheckpointError: the files here make another model.
        """
        torch.set_num_threads(order.machine["threads"])
        use(order.machine.get(PRODUCT, TORCH))
        experiment = order.experiment(load_for(order))
        torch.set_float32_matmul_precision(order.precision)
        if "bf16_reduction" in order.machine:
            torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = order.machine["bf16_reduction"]
            torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = order.machine["fp16_reduction"]
        self._ready = Ready.of(experiment, order.cache, lambda cells: None)
        return here(), settings(experiment.model.device)

    def run(self, todo: Todo) -> Sequence[Ran]:
        """All parts of one batch."""
        return [*self._ready.run(0, todo)]


def here() -> str:
    """This process, in words."""
    return f"process {os.getpid()} on {platform.node()}"


def load_for(order: Order) -> ThoughtModel:
    """The model of an order: from the merged copy, or if that is damaged from its files.

    Raises:
        CheckpointError: it is another one.
    """
    copy = None if order.cache is None else copy_of(order.cache, order.fingerprint)
    how: dict[str, Any] = {"dtype": order.dtype, "device": order.device, "n_ctx": order.n_ctx}
    if copy is not None:
        try:
            loaded = load_source(order.source, **how, copy=copy)
        except CheckpointError as error:
            log.warning("%s cannot be used: %s", copy, error)
        else:
            if loaded.fingerprint == order.fingerprint:
                return loaded
        copy.unlink(missing_ok=True)
    loaded = load_source(order.source, **how)
    if loaded.fingerprint != order.fingerprint:
        raise CheckpointError(
            f"{here()}: the files of {order.source.base} make the model {loaded.fingerprint}, and the run is of "
            f"{order.fingerprint}: they differ there, or have changed since the run was started. Give every machine "
            "the same files under the same paths"
        )
    return loaded
