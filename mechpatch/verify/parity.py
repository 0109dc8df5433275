"""Law 7: the model that is patched is the one in the files. Weights, logits, latents, sites, and patches themselves.

Everything is held to a second model that transformers loads and a formula merges (see `source`), run by Hugging Face
alone (see `huggingface`), each question in a batch of its own.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mechpatch.experiments.layouts import pair_layouts
from mechpatch.formats import written
from mechpatch.kinds.position import position_cells
from mechpatch.models.hooked import converted
from mechpatch.patching import Outcome, Write, rollout
from mechpatch.reprs import short_repr
from mechpatch.verify import huggingface
from mechpatch.verify.context import Context
from mechpatch.verify.law import Measured, NotApplicable, Worst
from mechpatch.verify.source import Checkpoint

# Largest difference of two weights, over the largest weight of their tensor: one merge rounds in another order.
WEIGHTS = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 2e-2}
ALPHAS = (0.0, 0.25, 0.5, 2.0, 4.0)  # times the alpha that was given
ALPHA_GAIN = 1.0  # nats per answer by which another alpha must be better before it is believed,
ALPHA_MORE = 0.25  # and share of the questions that it must answer right beyond those of the given one
N_WRITTEN = 4  # patched runs of each pair that Hugging Face repeats
BASE_SHARE = 0.5  # of the adapter that the base may hold already; random weights hold about 0, a merged base holds 1


def weights(context: Context) -> Measured:
    """Every weight is the file's, with the adapter added as the formula says, and nothing else done to it."""
    context.merged()  # an adapter that the formula does not cover is in the model, but in no weight of it
    worst = Worst()
    for weight in hooked_weights(context):
        smallest, largest = weight.expected.aminmax()
        scale = max(abs(smallest.item()), abs(largest.item()), 1e-30)
        worst.show(weight.found, weight.expected, weight.of or weight.name, scale)
    return worst.measured(WEIGHTS[context.unpatched.logits.dtype])


def base(context: Context) -> Measured:
    """The base weights do not hold the adapter already: else it would be merged twice."""
    checkpoint = context.merged()
    if not checkpoint.deltas:
        raise NotApplicable("there is no adapter")
    share = base_share(checkpoint)
    return Measured(abs(share), BASE_SHARE, f"the base holds {written(share)} times the adapter")


def alpha(context: Context) -> Measured:
    """No other alpha makes the model answer more questions, and far more surely."""
    checkpoint = context.merged()
    if not checkpoint.deltas:
        raise NotApplicable("there is no adapter")
    if context.spec.thoughts == "placeholder":
        raise NotApplicable("no model was trained on placeholder thoughts, so that its answers say nothing")
    total, (gain, factor, right, more) = 2 * len(context.probes), better_alpha(context)
    where = f"{right} of {total} answers right"
    return Measured(gain, ALPHA_GAIN, where + (f", {more} with {factor:g} times the alpha" if gain else ""))


def logits(context: Context) -> Measured:
    """Both continuations of every question get Hugging Face's logits."""
    worst = Worst()
    for index, side, outcome in _alone(context):
        for tail in (0, 1):
            expected = context.hugging_face(index, side, tail).logits
            found = outcome.logits[0, tail, : len(expected)]
            worst.show(found, expected, f"{context.name(index, side)}, continuation {tail}")
    return worst.measured(context.tolerance)


def latents(context: Context) -> Measured:
    """What is fed back is what Hugging Face's loop feeds back: the head of the normed last hidden state."""
    if not context.frame.feedback:
        raise NotApplicable("no thought is fed back")
    worst = Worst()
    for index, side, fed in fed_back(context):
        expected = context.hugging_face(index, side, 0).fed
        for thought, (one, other) in enumerate(zip(fed, expected, strict=True)):
            worst.show(one, other, f"t{thought}, {context.name(index, side)}")
    return worst.measured(context.allowed(context.floors.fed))


def sites(context: Context) -> Measured:
    """The vector of a site is the block's output at the token or thought that the site is named after."""
    worst = Worst()
    for index, side, outcome in _alone(context):
        for tail in (0, 1):
            resid = context.hugging_face(index, side, tail).resid
            for site, place in enumerate(context.places(index, side)):
                found, name = outcome.resid[0, tail, :, site], context.batch.sites[site]
                worst.show(found, resid[:, place], f"{name}, {context.name(index, side)}, continuation {tail}")
    return worst.measured(context.allowed(context.floors.resid))


def patched(context: Context) -> Measured:
    """Hugging Face's loop with one vector overwritten gives the logits of the patched run."""
    worst, files = Worst(), context.files()
    for index in range(len(context.pairs)):
        layout = context.layouts[index][1]
        batch, donor = context.alone(index, 1).batch, context.alone(index, 0).outcome.resid
        places = context.places(index, 1)
        for cell in context.draw(position_cells(context.frame), N_WRITTEN):
            site = batch.sites.index(cell.site)
            write = Write(cell.layer, batch.columns[:, :, [site]], donor[:, :, cell.layer, [site]])
            found = rollout(context.model.hooked, context.model.head, batch, [write]).logits
            vector = donor[0, 1, cell.layer, site]
            written = huggingface.VectorAt(cell.layer, places[site], vector)
            expected = huggingface.run(files.hf, files.head, layout, 1, written).logits
            where = f"layer {cell.layer}, {cell.site}, {context.name(index, 1)}"
            worst.show(found[0, 1, : len(expected)], expected, where)
    return worst.measured(context.tolerance)


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A weight of the `HookedTransformer`, which is one of the files' or a part of one, its axes in another order.

    Attributes:
        name: under which transformer-lens has it.
        found: what it is; empty where processing took it away.
        expected: what the files have in its place.
        of: Hugging Face's name of the weight that `expected` is a view of; empty where it is computed.
        start: where in that weight the view starts, in elements.
    """

    name: str
    found: Tensor
    expected: Tensor
    of: str
    start: int

    __repr__ = short_repr

    def view(self, whole: Tensor) -> Tensor:
        """A matrix of the shape that the weight `of` has, seen as `expected` sees that weight."""
        return whole.contiguous().as_strided(self.expected.shape, self.expected.stride(), self.start)


def hooked_weights(context: Context) -> Iterator[Weight]:
    """The weights of the `HookedTransformer`, each beside that of the files."""
    hf, found = context.files().hf, context.model.hooked.state_dict()
    for name, expected in converted(hf, context.model.hooked.cfg).items():
        of, start = "", 0
        for owner, weight in hf.named_parameters():
            if 0 <= (bytes_in := expected.data_ptr() - weight.data_ptr()) < weight.nbytes:
                of, start = owner, bytes_in // weight.itemsize
        yield Weight(name, found.get(name, torch.empty(0)), expected, of, start)


def base_share(checkpoint: Checkpoint) -> float:
    """How many times the adapter's change is in the base weights already: ⟨W, D⟩ / ⟨D, D⟩ over all modules."""
    inside = total = 0.0
    for name, delta in checkpoint.deltas.items():
        matrix = delta.matrix()
        inside += (checkpoint.base[name].double() * matrix).sum().item()
        total += matrix.square().sum().item()
    return inside / total if total else 0.0


def answers(context: Context, factor: float) -> tuple[float, int]:
    """With `factor` times the alpha: mean log probability of an answer, in nats, and how many answers are right."""
    checkpoint = context.merged()
    checkpoint.set_scale(factor)
    logprobs, right = [], 0
    try:
        for pair in context.probes:
            for side, layout in enumerate(pair_layouts(context.model, context.spec, pair)):
                found = huggingface.run(checkpoint.hf, checkpoint.head, layout, side).logits[:-1].float()
                ids = torch.tensor(layout.tails[side].answer_tokens, device=found.device)
                logprobs.append(-F.cross_entropy(found, ids, reduction="sum").item())
                right += bool((found.argmax(-1) == ids).all())
    finally:
        checkpoint.set_scale(1.0)
    return sum(logprobs) / len(logprobs), right


def better_alpha(context: Context) -> tuple[float, float, int, int]:
    """The best other alpha: nats gained per answer, times what was given, right answers with the given and with it.

    The gain is 0 where none answers clearly more questions. Of several that do, and differ by no more than what is
    believed, the nearest to the one that was given.
    """
    given, right = answers(context, 1.0)
    found = []
    for factor in ALPHAS:
        logprob, more = answers(context, factor)
        if more - right >= ALPHA_MORE * 2 * len(context.probes):
            found.append((logprob - given, factor, right, more))
    if not found:
        return 0.0, 1.0, right, right
    alike = [each for each in found if each[0] >= max(found)[0] - ALPHA_GAIN]
    return min(alike, key=lambda each: abs(math.log(each[1])) if each[1] else math.inf)


def fed_back(context: Context) -> Iterator[tuple[int, int, Tensor]]:
    """Pair, side, and what the rollout fed back in its thoughts [thought, d_model]."""
    for index in range(len(context.pairs)):
        for side in (0, 1):
            yield index, side, context.alone(index, side).fed


def _alone(context: Context) -> Iterator[tuple[int, int, Outcome]]:
    for index in range(len(context.pairs)):
        for side in (0, 1):
            yield index, side, context.alone(index, side).outcome
