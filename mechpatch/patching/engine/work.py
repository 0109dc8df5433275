"""How much there is to compute, counted before anything is: rows of blocks (token-layers) and operations.

Counted are the matrix products, two operations for each multiplication and addition; what is left out (norms, rotary
embedding, softmax) is under one percent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.patching.batch import Batch
from mechpatch.patching.engine.base import BaseRun
from mechpatch.patching.engine.block import Block
from mechpatch.patching.engine.decoder import Decoder
from mechpatch.patching.engine.tree import repeated
from mechpatch.patching.engine.waves import Runs, Wave, base_runs, patched_runs, wave_of
from mechpatch.patching.patch import Patch
from mechpatch.points import point_of


@dataclass(frozen=True, slots=True)
class Work:
    """What some forward passes compute.

    Attributes:
        token_layers: tokens times the blocks that each goes through.
        flops: floating-point operations of blocks, unembedding and latent head.
        read: how many weights the products read, however few rows they have; of patches as if all ran at once.
    """

    token_layers: int = 0
    flops: int = 0
    read: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.token_layers + other.token_layers, self.flops + other.flops, self.read + other.read)

    def __mul__(self, times: int) -> "Work":
        return Work(self.token_layers * times, self.flops * times, self.read * times)

    def effort(self, rows: float) -> float:
        """What the time is proportional to, in operations.

        Args:
            rows: how many rows of a product take as long as its weights take to be read.
        """
        return self.flops + 2 * rows * self.read


def base_work(base: BaseRun) -> Work:
    """Work of the unpatched run of a batch; `base` need not have been run."""
    tree, runs = base.tree, base_runs(base.tree)
    first, *later = tree.stages
    depth = len(base.model.blocks)
    waves = [wave_of(tree, runs, first, 0, depth, repeated(tree))]
    waves += [wave_of(tree, runs, stage, 0, depth) for stage in later]
    return _of_waves(base, runs, waves)


def sweep_work(
    base: BaseRun,
    patches: Sequence[Patch],
    hook: str = "resid_post",
    say: int = 0,
    handed: Mapping[int, int] | None = None,
) -> Work:
    """Work of the patches of a batch, with a donor that is nowhere the run's own.

    Args:
        say: tokens that each run says.
        handed: see `sweep`.
    """
    if not patches:
        return Work()
    tree, decoder, point = base.tree, base.model, point_of(hook)
    shape = point.n_layers(len(decoder.blocks)), tree.sites.shape[1], max(1, point.n_parts(decoder.sizes))
    runs = patched_runs(tree, patches, torch.zeros(len(tree.tokens), *shape, dtype=torch.bool), point, handed)
    waves = [wave_of(tree, runs, each, tree.first, len(decoder.blocks), point=point) for each in tree.stages[1:]]
    return _of_waves(base, runs, waves) + said_work(base, runs.pair, say)


def said_work(base: BaseRun, pairs: Sequence[int] | Int[Tensor, " run"], count: int) -> Work:
    """Work of going on for so many tokens in a run of each of these pairs; less is done where a run ends before."""
    if not count:
        return Work()
    tree, decoder, fed = base.tree, base.model, torch.arange(1, count)
    pair = torch.as_tensor(pairs)
    read = (count - 1) * sum(map(_linear, decoder.blocks)) // 2 + count * _unembedding(decoder) // 2
    keys = tree.positions[pair, tree.reads[pair, 0, 0]][:, None] + 1 + fed
    flops = len(pair) * count * _unembedding(decoder)
    for block in decoder.blocks:
        seen = keys.clamp(max=decoder.window) if block.local else keys
        flops += keys.numel() * _linear(block) + int(seen.sum()) * _attention(block)
    return Work(keys.numel() * len(decoder.blocks), flops, read if len(pair) else 0)


def plain_work(model: HookedTransformer, batch: Batch) -> Work:
    """Work of one forward pass with plain hooks: both continuations of each question, padding included.

    Counted from the parameters, so that it holds for every model that plain hooks can run.
    """
    cfg, trunk, length = model.cfg, batch.tail_start, batch.tail_start + batch.tails.shape[2]
    shared = trunk if batch.n_latents else 0  # one row up to the last thought, two from there on
    rows, keys = batch.size * (2 * length - shared), 0
    for block in model.blocks:
        window = cfg.window_size if block.attn.attn_type == "local" else None
        keys += batch.size * (2 * _below(length, window) - _below(shared, window))
    matrices = [each for name, each in model.blocks.named_parameters() if name.rpartition(".")[2].lstrip("_")[0] == "W"]
    weights, words = sum(each.numel() for each in matrices), model.unembed.W_U.numel()
    flops = rows * 2 * weights + keys * 4 * cfg.n_heads * cfg.d_head
    passes = batch.n_latents + 2 if batch.n_latents else 1  # the question, each thought, and what follows them
    return Work(cfg.n_layers * rows, flops + batch.reads.numel() * 2 * words, passes * weights + words)


def _of_waves(base: BaseRun, runs: Runs, waves: Iterable[Wave]) -> Work:
    decoder, token_layers, flops, read = base.model, 0, 0, 0
    wave = None
    for wave in waves:
        keys = wave.positions + 1
        for block, count in zip(decoder.blocks, wave.counts, strict=True):
            # The last block makes keys and values of all rows, and the rest of those that are of use.
            rows = wave.useful if block is decoder.blocks[-1] else torch.arange(count)
            seen = keys[rows].clamp(max=decoder.window) if block.local else keys[rows]
            token_layers += count
            flops += count * _keys_and_values(block) + len(rows) * (_linear(block) - _keys_and_values(block))
            flops += int(seen.sum()) * _attention(block)
            read += _linear(block) // 2 if count else 0
        if wave.stage.stop in base.tree.fed and base.head is not None:
            flops += len(wave.last) * _head(base)
            read += _head(base) // 2
    if wave is not None:
        row = wave.row[runs.number[:, :, None, None], base.tree.reads]
        flops += len(row[row >= 0].unique()) * _unembedding(decoder)
        read += _unembedding(decoder) // 2
    return Work(token_layers, flops, read)


def _linear(block: Block) -> int:
    """Floating-point operations of one token in one block."""
    matrices = (block.q, block.k, block.v, block.o, block.gate, block.up, block.down)
    return 2 * sum(each.weight.numel() for each in matrices if each is not None)


def _keys_and_values(block: Block) -> int:
    return 2 * (block.k.weight.numel() + block.v.weight.numel())


def _attention(block: Block) -> int:
    """Floating-point operations of one token and one key that it sees: scores and mixture."""
    return 4 * len(block.q.weight)


def _unembedding(decoder: Decoder) -> int:
    return 2 * decoder.unembed.weight.numel()


def _head(base: BaseRun) -> int:
    parameters = getattr(base.head, "parameters", tuple)()
    return 2 * sum(each.numel() for each in parameters if each.ndim == 2)


def _below(length: int, window: int | None) -> int:
    """Keys that the first `length` tokens see, themselves included."""
    hidden = 0 if window is None else max(0, length - window)
    return length * (length + 1) // 2 - hidden * (hidden + 1) // 2
