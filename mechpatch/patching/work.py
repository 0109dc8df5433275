"""How much there is to compute, counted before anything is: rows of blocks (token-layers) and operations.

Counted are the matrix products, two operations for each multiplication and addition; what is left out (norms, rotary
embedding, softmax) is under one percent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens import HookedTransformer

from mechpatch.patching.batch import Batch
from mechpatch.patching.engine import BaseRun
from mechpatch.patching.llama import Llama
from mechpatch.patching.patch import Patch
from mechpatch.patching.waves import Runs, Wave, base_runs, patched_runs, repeated, wave_of

CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Work:
    """What some forward passes compute.

    Attributes:
        token_layers: tokens times the blocks that each goes through.
        flops: of blocks, unembedding and latent head.
    """

    token_layers: int = 0
    flops: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.token_layers + other.token_layers, self.flops + other.flops)

    def __mul__(self, times: int) -> "Work":
        return Work(self.token_layers * times, self.flops * times)


def base_work(base: BaseRun) -> Work:
    """Of the unpatched run of a batch; `base` need not have been run."""
    tree, runs = base.tree, base_runs(base.tree)
    first, *later = tree.stages
    waves = [_wave(base, runs, first, 0, repeated(tree)), *(_wave(base, runs, stage, 0) for stage in later)]
    return _of_waves(base, runs, waves)


def sweep_work(base: BaseRun, patches: Sequence[Patch]) -> Work:
    """Of the patches of a batch, with a donor that is nowhere the run's own."""
    if not patches:
        return Work()
    tree, depth = base.tree, len(base.model.blocks)
    same = torch.zeros(len(tree.tokens), depth, tree.sites.shape[1], dtype=torch.bool)
    runs = patched_runs(tree, patches, same)
    return _of_waves(base, runs, [_wave(base, runs, stage, tree.first) for stage in tree.stages[1:]])


def plain_work(model: HookedTransformer, batch: Batch) -> Work:
    """Of one forward pass with plain hooks: both continuations of each question, padding included.

    Counted from the parameters, so that it holds for every model that plain hooks can run.
    """
    cfg, tail = model.cfg, batch.tails.shape[2]
    trunk, length = batch.tail_start, batch.tail_start + tail
    if batch.n_latents:  # one row up to the last thought
        rows, keys = trunk + 2 * tail, _below(trunk) + 2 * (_below(length) - _below(trunk))
    else:
        rows, keys = 2 * length, 2 * _below(length)
    rows, keys = batch.size * rows, batch.size * keys
    matrices = [each for name, each in model.blocks.named_parameters() if name.rpartition(".")[2].lstrip("_")[0] == "W"]
    flops = rows * 2 * sum(each.numel() for each in matrices) + keys * 4 * cfg.n_layers * cfg.n_heads * cfg.d_head
    return Work(cfg.n_layers * rows, flops + batch.reads.numel() * 2 * model.unembed.W_U.numel())


def _wave(base: BaseRun, runs: Runs, stage: range, shared: int, repeats: Int[Tensor, "4 _"] | None = None) -> Wave:
    return wave_of(base.tree, runs, stage, shared, len(base.model.blocks), CPU, repeats)


def _of_waves(base: BaseRun, runs: Runs, waves: Iterable[Wave]) -> Work:
    llama, token_layers, flops = base.model, 0, 0
    wave = None
    for wave in waves:
        keys = wave.positions + 1
        for layer, count in enumerate(wave.counts):
            # The last block makes keys and values of all rows, and the rest of those that are of use.
            rows = wave.useful if layer + 1 == len(llama.blocks) else torch.arange(count)
            token_layers += count
            flops += count * _keys_and_values(llama) + len(rows) * (_linear(llama) - _keys_and_values(llama))
            flops += int(keys[rows].sum()) * _attention(llama)
        if wave.stage.stop in base.tree.fed and base.head is not None:
            flops += len(wave.last) * _head(base)
    if wave is not None:
        row = wave.row[runs.number[:, :, None, None], base.tree.reads]
        flops += len(row[row >= 0].unique()) * _unembedding(llama)
    return Work(token_layers, flops)


def _linear(llama: Llama) -> int:
    """Of one token in one block."""
    block = llama.blocks[0]
    return 2 * sum(each.numel() for each in (block.q, block.k, block.v, block.o, block.gate, block.up, block.down))


def _keys_and_values(llama: Llama) -> int:
    return 2 * (llama.blocks[0].k.numel() + llama.blocks[0].v.numel())


def _attention(llama: Llama) -> int:
    """Of one token and one key that it sees: scores and mixture."""
    return 4 * len(llama.blocks[0].q)


def _unembedding(llama: Llama) -> int:
    return 2 * llama.unembed.numel()


def _head(base: BaseRun) -> int:
    parameters = getattr(base.head, "parameters", tuple)()
    return 2 * sum(each.numel() for each in parameters if each.ndim == 2)


def _below(length: int) -> int:
    """Keys that the first `length` tokens see, themselves included."""
    return length * (length + 1) // 2
