"""Why a law probably fails: each function looks for one fault and says so, or gives an empty text.

A law that fails names what is wrong with the numbers; a cause names what was done to them.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from mechpatch.formats import significant, written
from mechpatch.models.memory import standing_hooks
from mechpatch.patching import Read, Write, capture, patch_positions, rollout
from mechpatch.patching.engine.decoder import read_decoder
from mechpatch.verify import parity
from mechpatch.verify.context import Context
from mechpatch.verify.law import Measured, NotApplicable, Worst

NEAR = 0.02  # how near a fitted factor must be to a whole one to be called that
ALIKE = 1e-3  # relative distance below which two vectors are the same one, computed twice


def hooks_leave_input(context: Context) -> Measured:
    """A trap of section 6: no hook changes the tensor it is given (a cache may hold it), and none is left behind."""
    hooked, batch, worst = context.model.hooked, context.batch, Worst()
    shape = (2, 5, hooked.cfg.d_model)
    resid = torch.randn(shape, generator=torch.Generator().manual_seed(context.seed)).to(context.unpatched.resid)
    before, columns = resid.clone(), torch.tensor([[1, 3], [0, 2]], device=resid.device)
    for hook in (patch_positions(columns, torch.zeros_like(resid[:, :2])), capture(columns, [])):
        hook(resid, hook=None)
        worst.show(resid, before, "a hook of mechpatch.patching, called by itself")
    held: list[tuple[Tensor, Tensor]] = []

    def hold(resid: Tensor, hook: object) -> None:
        held.append((resid, resid.clone()))

    layer = context.layers[0]
    name = f"blocks.{layer}.hook_resid_post"
    with hooked.hooks(fwd_hooks=[(name, hold)]):
        write = Write(layer, batch.columns, context.donor[:, :, layer])
        rollout(hooked, context.model.head, batch, [write], Read((layer,), batch.columns))
    for given, copy in held:
        worst.show(given, copy, f"{name} during a patched run")
    if left := standing_hooks(context.model.hooked):
        return Measured(float("inf"), 0.0, f"hooks are left on {', '.join(left)}")
    return worst.measured(0.0)


def hooks(context: Context) -> str:
    """Hooks that write in place, or that outlived their run."""
    if left := standing_hooks(context.model.hooked):
        return (
            f"hooks were left on {', '.join(left[:3])}: they change every run. Call model.reset_hooks(), and use "
            "run_with_hooks instead of add_hook"
        )
    if hooks_leave_input(context).deviation > 0:
        return (
            "a hook writes in place: it changes the tensor it was given, and with it whatever was cached before. "
            "A hook must clone what it writes to"
        )
    return ""


def adapter(context: Context) -> str:
    """The factor with which the adapter really is in the weights, by least squares over all modules."""
    checkpoint = context.merged()
    if not checkpoint.deltas:
        return ""
    if abs(share := parity.base_share(checkpoint)) > parity.BASE_SHARE:
        return (
            f"the adapter is merged twice: the base weights hold {written(share)} times its change already. Give the "
            "base that the adapter was trained on, or leave the adapter out"
        )
    inside, total, rest = 0.0, 0.0, 0.0
    for weight in parity.hooked_weights(context):
        module = weight.of.removesuffix(".weight")
        if (delta := checkpoint.deltas.get(module)) is None:
            continue
        if weight.found.shape != weight.expected.shape:
            return ""
        base, matrix = (weight.view(each).cpu().double() for each in (checkpoint.base[module], delta.matrix()))
        change = weight.found.cpu().double() - base
        inside += (change * matrix).sum().item()
        total += matrix.square().sum().item()
        rest += change.square().sum().item()
    factor = inside / total
    if abs(factor - 1) < ALIKE or rest - factor * inside > NEAR * rest:  # right, or not a multiple of the adapter
        return ""
    alphas = sorted({delta.alpha for delta in checkpoint.deltas.values()})
    listed = ", ".join(f"{alpha:g}" for alpha in alphas)
    actual = ", ".join(significant(alpha * factor, 4) for alpha in alphas)
    if abs(factor) < NEAR:
        return "the adapter is not merged: the weights are those of the base"
    if abs(factor - round(factor)) < NEAR:
        times = {2: "twice"}.get(round(factor), f"{round(factor)} times")
        return (
            f"the adapter is merged {times}, or with alpha {actual} instead of {listed}: "
            f"its change is in the weights {significant(factor)} times"
        )
    return f"wrong alpha: the adapter is merged as if alpha were {actual}, but files and options say {listed}"


def behaviour(context: Context) -> str:
    """An alpha with which the model answers better than with the one that was given."""
    checkpoint = context.merged()
    if not checkpoint.deltas:
        return ""
    gain, factor, right, more = parity.better_alpha(context)
    if gain <= parity.ALPHA_GAIN:
        return ""
    total, given = 2 * len(context.probes), next(iter(checkpoint.deltas.values())).alpha
    counts = f"{right} of {total} questions, and {more} with"
    if factor == 0:
        return f"the model answers {counts}out the adapter: it is merged into the base already, or belongs to another"
    return f"wrong alpha: with alpha {given:g} the model answers {counts} alpha {given * factor:g}; give that one"


def processing(context: Context) -> str:
    """Weight processing of transformer-lens: norms folded into what follows, or means taken out."""
    if context.checkpoint is None:
        return ""
    weights = {weight.name: weight for weight in parity.hooked_weights(context)}
    signs, plain = [], context.model.hooked.cfg.normalization_type in ("RMS", "LN")
    gains = [weight for name, weight in weights.items() if name.endswith(".w")]
    ones = [weight for weight in gains if len(weight.found) and bool((weight.found == 1).all())]
    if not plain or any(not bool((weight.expected == 1).all()) for weight in ones):
        signs.append("fold_ln moved the norms' gains into the next weights")

    def centred(name: str) -> bool:
        one, other = weights[name].found, weights[name].expected
        if one.shape != other.shape:
            return False
        merged, file = (tensor.cpu().double().mean(-1).abs().max().item() for tensor in (one, other))
        return merged < ALIKE * file

    if centred("unembed.W_U"):
        signs.append("center_unembed took the mean out of the unembedding")
    if centred("blocks.0.attn.W_O") or centred("embed.W_E"):
        signs.append("center_writing_weights took means out of what is written to the residual stream")
    if not signs:
        return ""
    return (
        f"weight processing is switched on ({'; '.join(signs)}): load without it (fold_ln=False, no centring), "
        "or latents and patched vectors are not the model's"
    )


def feedback(context: Context) -> str:
    """What the latents were really made from, if not from the normed last hidden state."""
    checkpoint = context.checkpoint
    if checkpoint is None or checkpoint.head is None or not context.frame.feedback or _other_weights(context):
        return ""
    _, side, fed = next(parity.fed_back(context))
    right, layout = context.hugging_face(0, side, 0), context.layouts[0][side]
    if _alike(fed[0], right.fed[0]):
        return ""
    norm, last = read_decoder(context.model.hooked).norm, len(layout.prompt) - 1
    raw, earlier = right.resid[-1, last, None], right.resid[-1, last - 1, None]
    made = {
        "latents are read before the final norm: the head is given the last block's output as it is": raw,
        "latents are read after a final norm without its weight (folded away, or forgotten)": replace(
            norm, gain=torch.ones_like(norm.gain), bias=None if norm.bias is None else torch.zeros_like(norm.bias)
        )(raw),
        "latents are read one position too early": norm(earlier),
        "latents are normed twice": norm(norm(raw)),
    }
    for says, hidden in made.items():
        if _alike(fed[0], checkpoint.head(hidden)[0]):
            return says
    return "latents are made otherwise than by head(final_norm(last hidden state)): look at the head's tensors"


def shift(context: Context) -> str:
    """Whether sites are read, or written, beside where they are."""
    if context.checkpoint is None:
        return ""
    try:
        places = context.places(0, 1)
    except NotApplicable:
        return ""
    batch, unpatched, _ = context.alone(0, 1)
    resid = context.hugging_face(0, 1, 0).resid
    middle = len(resid) // 2
    steps = set()
    for site, place in enumerate(places):
        near = [at for at in range(resid.shape[1]) if _alike(unpatched.resid[0, 0, middle, site], resid[middle, at])]
        if place not in near and near:
            steps.add(min((at - place for at in near), key=abs))
    if steps:
        return f"sites are shifted by {_steps(steps)}: their vectors are those of a neighbouring token or thought"
    steps = set()
    columns = torch.arange(batch.width, device=batch.columns.device).expand(1, 2, -1)
    read = Read((middle,), columns)
    model = context.model
    base = rollout(model.hooked, model.head, batch, read=read).resid[0, 0, 0]
    for site, place in enumerate(places):
        vector = torch.full_like(unpatched.resid[:, :, middle, [site]], 3.0)
        write = Write(middle, batch.columns[:, :, [site]], vector)
        found = rollout(model.hooked, model.head, batch, [write], read).resid[0, 0, 0]
        if len(changed := (found != base).any(-1).nonzero()[:, 0]) and int(changed[0]) != place:
            steps.add(int(changed[0]) - place)
    return f"sites are shifted by {_steps(steps)}: a write lands beside the token or thought it is for" if steps else ""


def padding(context: Context) -> str:
    """Whether padded rows, and they alone, differ from what they are without padding."""
    wrong, sound = [], True
    for side, batch in enumerate(context.batches):
        together = context.runs[side]
        for index in range(batch.size):
            alone = context.alone(index, side).outcome
            width = alone.logits.shape[2]
            differs = _distance(together.logits[[index], :, :width], alone.logits) > context.tolerance
            if differs and bool(batch.real[index].all()):
                sound = False
            elif differs:
                wrong.append(f"{context.name(index, side)}: {int((~batch.real[index]).sum())} columns")
    if not wrong or not sound:
        return ""
    return f"left padding without mask: padded questions ({'; '.join(wrong)}) see their padding; the others are right"


def _other_weights(context: Context) -> bool:
    """Whether the weights are not the files', so that whatever is computed must differ."""
    try:
        found = parity.weights(context)
    except NotApplicable:
        return False
    return not found.deviation <= found.tolerance


def _distance(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item() if one.shape == other.shape else float("inf")


def _alike(one: Tensor, other: Tensor) -> bool:
    return bool(F.mse_loss(one, other).sqrt() <= ALIKE * other.square().mean().sqrt())


def _steps(steps: set[int]) -> str:
    listed = ", ".join(f"{step:+d}" for step in sorted(steps))
    return f"{listed} step{'s' if steps != {1} and steps != {-1} else ''}"
