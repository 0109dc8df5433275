"""The unpatched runs of every question: taken once, each alone, kept in the cache, read by all experiments."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from mechpatch.models import ThoughtModel
from mechpatch.patching import collate, reference
from mechpatch.patching.rollout import Outcome
from mechpatch.storage.activations import ActivationCache
from mechpatch.thoughts import Layout

SCHEMA = 1  # raise when what is stored, or how it is computed, changes
KEPT = 64  # runs held in memory


class UnpatchedRuns:
    """Vectors and answer logits of unpatched runs, by question.

    A run is computed in a batch of its own, so what is stored does not depend on its neighbours. The cache key covers
    weights, adapter, tokens, sites, hook, dtype, device type and schema.
    """

    def __init__(self, model: ThoughtModel, layouts: Sequence[tuple[Layout, Layout]], folder: Path | None) -> None:
        self._model, self._layouts = model, layouts
        self._cache = ActivationCache(folder) if folder is not None else None
        self._get = lru_cache(maxsize=KEPT)(self._load_or_run)

    def get(self, index: int, side: int) -> Outcome:
        """The run of question `side` (0 clean, 1 corrupted) of pair `index`; batch axis of size 1."""
        return self._get(index, side)

    def vectors(self, indices: Sequence[int], side: int) -> Float[Tensor, "pair 2 layer site d_model"]:
        """`resid_post` at every site, for several pairs."""
        return torch.cat([self.get(index, side).resid for index in indices])

    def _load_or_run(self, index: int, side: int) -> Outcome:
        hooked, layout = self._model.hooked, self._layouts[index][side]
        batch = collate([layout], self._model.device)
        about = {
            "model": self._model.fingerprint,
            "layout": asdict(layout),
            "hook": "hook_resid_post",
            "dtype": str(hooked.cfg.dtype),
            "device": self._model.device.type,
            "schema": SCHEMA,
        }
        if self._cache is not None:
            shapes = {
                "resid": ((1, 2, hooked.cfg.n_layers, len(batch.sites), hooked.cfg.d_model), hooked.cfg.dtype),
                "logits": ((1, *batch.reads.shape[1:], hooked.cfg.d_vocab_out), hooked.cfg.dtype),
            }
            if stored := self._cache.load(about, shapes):
                return Outcome(*(stored[name].to(self._model.device) for name in ("logits", "resid")))
        outcome = reference.baseline(hooked, self._model.head, batch)
        if self._cache is not None:
            self._cache.save(about, {"logits": outcome.logits, "resid": outcome.resid})
        return outcome
