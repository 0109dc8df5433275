"""How many patches are run together: as many as fit into some bytes, counted from shapes."""

from math import prod

from mechpatch.patching.engine.base import BaseRun
from mechpatch.points import POINTS


def chunking(memory: int, rows: int, logits: int) -> tuple[int, int]:
    """How many patches fit into one chunk of `memory` bytes, and for how many of them logits are made together.

    Args:
        rows, logits: bytes of one patch, see `bytes_of_rows` and `bytes_of_logits`.
    """
    at_once = max(1, memory // 4 // logits)
    return max(1, (memory - at_once * logits) // rows), at_once


def bytes_of_logits(base: BaseRun) -> int:
    """Bytes of one patch's logits, all pairs, and of what they are made from."""
    return 2 * base.logits.nbytes


def bytes_of_rows(base: BaseRun, hook: str = "resid_post", say: int = 0) -> int:
    """What one patch of all pairs takes in the blocks, at most, if it says so many tokens."""
    model, (pairs, slots), late = base.model, base.tree.tokens.shape, base.stream.shape[2]
    block, d_model, sites = model.blocks[0], model.embed.shape[1], base.tree.sites.shape[1]
    d_mlp, vector = len(block.up.weight), prod(model.shape(POINTS[hook]))
    row = max(8 * d_model + 3 * slots * model.sizes.heads, 4 * d_model + 2 * d_mlp)  # in attention, in the MLP
    cache = (late + max(0, say - 1)) * 2 * len(model.blocks) * model.sizes.kv_heads * model.sizes.d_head
    written = vector if hook == "resid_post" else 4 * vector  # beside the rows stand those to be written, and a choice
    rows = max(map(len, base.tree.stages[1:])) * row + sites * written
    return pairs * (rows + cache) * base.stream.element_size()
