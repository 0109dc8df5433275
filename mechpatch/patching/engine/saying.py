"""What patched runs say when they go on by themselves: all of them together, one wave a token.

Up to the answer prefix a patched run has its keys and values already: its own from where it was changed, the base run's
before. A token that it says is one row more, in every block, that sees these and what the run said before; the
teacher-forced answers it does not see. So a token costs each run one row, whatever the patch was, and the weights are
read once for all runs. A run that has ended has no further row.
"""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from mechpatch.patching.engine.base import BaseRun, Cache, Voice
from mechpatch.patching.engine.block import Grid, Resid, run_block
from mechpatch.patching.engine.decoder import Decoder
from mechpatch.patching.engine.waves import Runs, Wave
from mechpatch.patching.say import Say


@torch.no_grad()
def speaking(base: BaseRun, say: Say) -> BaseRun:
    """The base run with what it says; runs that are patched from it then say something, too."""
    pair = torch.arange(len(base.tree.tokens))
    first = base.logits[:, 0, 0].argmax(-1)
    piece = base.logits[..., 0].numel()
    said = _go_on(base, say, _with_room(base.cache[..., base.tree.first :, :], say), pair, 0 * pair, first, piece)
    return replace(base, voice=Voice(say, said))


def own_cache(base: BaseRun, runs: int) -> Cache:
    """A copy of the base run's keys and values, from the first slot that a patch can change, for so many runs of each
    pair, with room for what they say."""
    own = base.cache[..., base.tree.first :, :]
    return (own if base.voice is None else _with_room(own, base.voice.say)).repeat_interleave(runs, dim=4)


def patched_said(
    base: BaseRun, runs: Runs, wave: Wave, h: Resid, own: Cache, patches: int, at_once: int
) -> Int[Tensor, "patch pair said"] | None:
    """What the runs of so many patches say; None where the base run was not asked.

    A run that is the base run says what that says.

    Args:
        wave, h: the last wave, and its rows after the last block.
        own: `own_cache`, filled by the waves.
        at_once: of how many patches logits are made together.
    """
    if base.voice is None:
        return None
    said = base.voice.said.repeat(patches, 1, 1)
    piece = at_once * base.logits[..., 0].numel()
    row = wave.row[torch.arange(len(runs.pair)), base.tree.reads[runs.pair, 0, 0]]
    first = said[runs.patch, runs.pair, 0]
    there = (row >= 0).nonzero()[:, 0]  # elsewhere the patch does not reach what predicts the answer
    first[there] = _likeliest(base.model, h[row[there].to(h.device)], piece)
    said[runs.patch, runs.pair] = _go_on(base, base.voice.say, own, runs.pair, runs.rank, first, piece)
    return said


def _with_room(own: Cache, say: Say) -> Float[Tensor, "layer 2 pair kv_head run longer d_head"]:
    """Keys and values with room for all tokens but the last, which nothing reads."""
    return F.pad(own, (0, 0, 0, say.count - 1))


def _go_on(
    base: BaseRun,
    say: Say,
    own: Cache,
    pair: Int[Tensor, " one"],
    rank: Int[Tensor, " one"],
    first: Int[Tensor, " one"],
    piece: int,
) -> Int[Tensor, "one said"]:
    """What some runs say.

    Args:
        own: keys and values of the runs, with room; filled on the way.
        rank: place of each run among those of its pair.
        first: the token that each says first.
        piece: rows whose logits are made together.
    """
    model, tree, device = base.model, base.tree, first.device
    shared, late = base.cache[..., 0, : tree.first, :], own.shape[5] - say.count + 1
    pairs = torch.arange(len(tree.tokens))
    opened = tree.reads[:, 0, 0]  # the last slot before the answer
    unseen, stands = ~tree.sees[pairs, opened].to(device), tree.positions.to(device)
    end = tree.positions[pairs, opened].to(device)
    pair, rank = pair.to(device), rank.to(device)
    said = torch.full((len(pair), say.count), -1, device=device)
    said[:, 0], going = first, torch.arange(len(pair), device=device)
    for step in range(1, say.count):
        token = said[going, step - 1]
        going, token = (each[~say.ends[token]] for each in (going, token))
        if not len(going):
            break
        at = end[pair[going]] + step
        query, key = torch.zeros_like(going), torch.full_like(going, late + step - 1)
        places, none = torch.stack([pair[going], rank[going], query, key]), going.new_empty(4, 0)
        grids = [Grid(places, none, table and table.at(at)) for table in model.rotary]
        hidden = [F.pad(unseen, (0, step))[:, None]] * 2  # of global blocks, of local ones
        if model.window is not None:
            keys = torch.cat([stands, end[:, None] + torch.arange(1, step + 1, device=device)], dim=1)
            hidden[1] = hidden[0] | ((end[:, None] + step - keys) >= model.window)[:, None]
        h = model.enter(model.embed[token], at)
        for layer, block in enumerate(model.blocks):
            mine = own[layer, ..., : late + step, :]
            run_block(block, h, grids[block.local], shared[layer], mine, hidden[block.local])
        said[going, step] = _likeliest(model, h, piece)
    return said


def _likeliest(model: Decoder, h: Resid, piece: int) -> Int[Tensor, " row"]:
    """The token that each row predicts."""
    return torch.cat([model.logits(part).argmax(-1) for part in h.split(piece)])
