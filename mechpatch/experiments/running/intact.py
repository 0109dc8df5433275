"""A run is of the model that was loaded: weights that changed in memory, and standing hooks, are refused at its start.

Engines read the weights anew, plain hooks meet what stands on the model and the fast engine does not: either way the
numbers would be kept under the fingerprint of another model.
"""

import logging
import time

from mechpatch.errors import CheckpointError
from mechpatch.models import ThoughtModel
from mechpatch.models.memory import listed, refuse_standing_hooks, weight_digests

log = logging.getLogger(__name__)


def require_intact(model: ThoughtModel) -> None:
    """Refuse a model that is no longer what was loaded; takes as long as hashing its weights. Raises `CheckpointError`.

    A `ThoughtModel` that was made by hand, without `weights`, may have changed unseen.
    """
    refuse_standing_hooks(model.hooked)
    if model.weights is None:
        return
    started = time.monotonic()
    now = weight_digests(model.hooked, model.head)
    if changed := [name for name in {**model.weights, **now} if model.weights.get(name) != now.get(name)]:
        raise CheckpointError(
            f"{listed(changed)} changed in memory since the model {model.fingerprint} was loaded, so this is another "
            "model. Load it anew; to run a changed model, save it and give it as --model"
        )
    log.info("the weights are those that were loaded (%.1f s)", time.monotonic() - started)
