"""Whether a model is still what was loaded: its weights as they lie in memory, and hooks that somebody left on it."""

from collections.abc import Iterator

from torch import Tensor, nn
from transformer_lens import HookedTransformer

from mechpatch.errors import CheckpointError
from mechpatch.storage.tensor_keys import memory_digests

SHOWN = 3  # names in a message


def weight_digests(hooked: HookedTransformer, head: nn.Module | None) -> dict[str, str]:
    """Fingerprint of every weight by name; at 1B it takes as long as reading 5 GB from memory and hashing them."""

    def weights() -> Iterator[tuple[str, Tensor]]:
        yield from hooked.named_parameters()
        if head is not None:
            yield from ((f"head.{name}", weight) for name, weight in head.named_parameters())

    return memory_digests(weights())


def standing_hooks(hooked: HookedTransformer) -> list[str]:
    """Modules and hook points on which somebody left a hook, transformer-lens' or torch's own."""
    return [
        name or "the model itself"
        for name, module in hooked.named_modules()
        if module._forward_hooks or module._forward_pre_hooks or getattr(module, "fwd_hooks", None)
    ]


def refuse_standing_hooks(hooked: HookedTransformer) -> None:
    """Raise a `CheckpointError` that names the hooks that somebody left on a model."""
    if left := standing_hooks(hooked):
        raise CheckpointError(
            f"hooks were left on {listed(left)}: they would change every plain run. Remove them "
            "(model.hooked.reset_hooks(including_permanent=True), or the handle of a hook of torch), and use "
            "run_with_hooks instead of add_hook"
        )


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
