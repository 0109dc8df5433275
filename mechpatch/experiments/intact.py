"""A run is of the model that was loaded: weights that changed in memory, and standing hooks, are refused at its start.

Engines read the weights anew, plain hooks meet what stands on the model and the fast engine does not: either way the
numbers would be kept under the fingerprint of another model.
"""

import logging
import time

from mechpatch.errors import CheckpointError
from mechpatch.models import ThoughtModel
from mechpatch.models.memory import standing_hooks, weight_digests

log = logging.getLogger(__name__)

SHOWN = 3


def require_intact(model: ThoughtModel) -> None:
    """Refuse a model that is no longer what was loaded; takes as long as hashing its weights. Raises `CheckpointError`.

    A `ThoughtModel` that was made by hand, without `weights`, may have changed unseen.
    """
    if left := standing_hooks(model.hooked):
        raise CheckpointError(
            f"hooks were left on {_listed(left)}: they would change every plain run. Remove them "
            "(model.hooked.reset_hooks(including_permanent=True), or the handle of a hook of torch), and use "
            "run_with_hooks instead of add_hook"
        )
    if model.weights is None:
        return
    started = time.monotonic()
    now = weight_digests(model.hooked, model.head)
    if changed := [name for name in {**model.weights, **now} if model.weights.get(name) != now.get(name)]:
        raise CheckpointError(
            f"{_listed(changed)} changed in memory since the model {model.fingerprint} was loaded, so this is another "
            "model. Load it anew; to run a changed model, save it and give it as --model"
        )
    log.info("the weights are those that were loaded (%.1f s)", time.monotonic() - started)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
