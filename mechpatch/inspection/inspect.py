"""Looking at one pair: what the clean, the corrupted and the patched run attend to, hold and are about to say.

Everything that needs the model is computed here and stored (`storage.inspections`); views only read it. The patched
run is the corrupted one with the clean vector written at one cell: the leading one of the run, the strongest among the
thoughts, or one that was named.
Arrays of a run `r` of `RUNS`:

    r.attention     [layer, head, query, key] half precision; queries from `first_query` on
    r.norm          [layer, token] of resid_post
    r.moved         [layer, token] distance of resid_post from the corrupted run's; NaN where no token stands for it
    r.leaning       [layer, token] logit of the clean answer minus that of the corrupted one, as the lens reads them, at
                    the first token where they differ; absent where one answer is the start of the other
    r.resid         [layer, token, coordinate] of resid_post, in the dimensions `coordinates` alone
    r.lens_ids, r.lens_logprobs            [layer, site, guess] the lens' most likely tokens, nats
    r.<answer>_ids, r.<answer>_logprobs    [token, guess] the most likely tokens along the clean or corrupted answer
    r.<answer>_rank, r.<answer>_logprob    [token] of the token that is there; rank 0 is the most likely
    effect, structural                     [layer, site] see `strongest.effects`
    coordinates, coordinate_shares         [coordinate] dimensions with the largest share of the clean-corrupted
                                           difference at the sites, every cell counting equally
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mechpatch.errors import NumericsError, SpecError, ThoughtError
from mechpatch.experiments.layouts import pair_layouts
from mechpatch.experiments.running.footprint import footprint, require_fit
from mechpatch.experiments.running.intact import require_intact
from mechpatch.experiments.spec import Spec
from mechpatch.inspection.strongest import At, answer_difference, effects, strongest
from mechpatch.inspection.token_texts import sequence_texts, tail_texts, token_text
from mechpatch.inspection.traces import ATTENTION_BYTES, Trace, aligned, leaning, lens, trace
from mechpatch.models import ThoughtModel
from mechpatch.pairs import Pair
from mechpatch.patching import Write, collate
from mechpatch.stats.typical_pairs import Choice
from mechpatch.storage.inspections import Inspection, write_inspection
from mechpatch.thoughts import Layout

log = logging.getLogger(__name__)

RUNS = {"clean": 0, "corrupted": 1, "patched": 1}  # and whose question and answer each run has
SIDES = ("clean", "corrupted")
GUESSES = 10  # most likely tokens that are kept
COORDINATES = 12
Layouts = tuple[Layout, Layout]


def inspect_pairs(
    model: ThoughtModel,
    spec: Spec,
    pairs: Sequence[Pair],
    choices: Iterable[Choice],
    run_dir: Path,
) -> list[Path]:
    """Inspect some pairs of a run and store what was found in its directory; the paths of the descriptions.

    Args:
        pairs: all pairs of the run, in its order.
        choices: which of them, why, and at which cell, see `typical_pairs`.

    Raises:
        CheckpointError: the model is no longer what was loaded.
        SpecError: the cell does not exist, or `spec.memory` is too little.
        StorageError: an inspection cannot be written.
    """
    require_intact(model)
    written = []
    for choice in choices:
        pair = pairs[choice.index]
        inspection = inspect_pair(model, spec, pair, choice.cell and At(*choice.cell))
        inspection.about.update(pair_index=choice.index, why=choice.why)
        written.append(write_inspection(run_dir, choice.index, inspection))
        log.info("inspected pair %s%s", pair.pair_id, f": {choice.why}" if choice.why else "")
    return written


@torch.no_grad()
def inspect_pair(model: ThoughtModel, spec: Spec, pair: Pair, at: At | None = None) -> Inspection:
    """Run a pair clean, corrupted and patched, and gather what views show of it."""
    layouts = pair_layouts(model, spec, pair)
    sites = layouts[0].sites
    if layouts[1].sites != sites:
        raise ThoughtError(f"pair {pair.pair_id!r}: clean has the sites {sites}, corrupted {layouts[1].sites}")
    room = require_fit(footprint(model, spec, [layouts], 1), spec, 1)
    # Three runs keep their attention, in twice the precision that is stored, and once more as it is stored.
    kept = max(0, min(ATTENTION_BYTES, (room.bound - room.least) // 9))
    clean, corrupted = (trace(model.hooked, model.head, layout, side, (), kept) for side, layout in enumerate(layouts))
    donor = clean.resid[:, list(layouts[0].positions(0))].expand(1, 2, -1, -1, -1)
    chunk = max(room.rows + room.logits, min(room.cap, room.bound - room.least - 9 * kept))
    effect, structural = effects(model, spec, layouts[1], corrupted.logits, donor, chunk)
    cell = at or strongest(effect, structural, sites)
    if cell.site not in sites or not 0 <= cell.layer < model.n_layers:
        raise SpecError(
            f"pair {pair.pair_id!r} has no cell at layer {cell.layer}, site {cell.site!r}; it has layers 0 to "
            f"{model.n_layers - 1} and the sites {', '.join(sites)}"
        )
    place = [sites.index(cell.site)]
    columns = collate([layouts[1]], model.device).columns
    write = Write(cell.layer, columns[:, :, place], donor[:, :, cell.layer, place])
    patched = trace(model.hooked, model.head, layouts[1], 1, [write], kept)
    runs = dict(zip(RUNS, (clean, corrupted, patched), strict=True))
    if broken := [name for name, run in runs.items() if not bool(run.logits.isfinite().all())]:
        raise NumericsError(
            f"pair {pair.pair_id!r}, the {broken[0]} run: a logit is NaN or infinite. In bfloat16 choose --dtype "
            "float32; otherwise look for damaged weights"
        )
    found = {"effect": effect, "structural": structural} | _coordinates(clean, corrupted, layouts)
    for name, run in runs.items():
        arrays = _inside(model, run, layouts[RUNS[name]], RUNS[name], found["coordinates"])
        arrays["moved"] = _moved(run, corrupted, layouts, RUNS[name])
        found |= {f"{name}.{key}": value for key, value in arrays.items()}
    arrays = {name: _stored(value, half=name.endswith(".attention")) for name, value in found.items()}
    ids = {int(token) for name, array in arrays.items() if name.endswith("_ids") for token in array.flat}
    about: dict[str, Any] = {
        "pair_id": pair.pair_id,
        "model": model.fingerprint,
        "thoughts": spec.thoughts,
        "min_gap": spec.min_gap,
        "sites": list(sites),
        "patched": {"layer": cell.layer, "site": cell.site, "strongest": at is None},
        "answer_logprob_diff": {name: answer_difference(run.logits, layouts[RUNS[name]]) for name, run in runs.items()},
        "answers": {name: side.answer for name, side in zip(SIDES, (pair.clean, pair.corrupted), strict=True)},
        "runs": {name: _described(model, runs[name], layouts[side], side) for name, side in RUNS.items()},
        "vocabulary": {str(token): token_text(model.tokenizer, token) for token in sorted(ids)},
    }
    return Inspection(about, arrays)


def _described(model: ThoughtModel, run: Trace, layout: Layout, side: int) -> dict[str, Any]:
    """Tokens and places of one run.

    `positions` are those of the pair's `sites`; `continuations` the tokens after eot with either answer, which starts
    at `answer` in both.
    """
    given = int(layout.has_eot)
    return {
        "tokens": sequence_texts(model.tokenizer, layout, side),
        "positions": list(layout.positions(side)),
        "first_query": run.first_query,
        "continuations": {name: tail_texts(model.tokenizer, layout, i)[given:] for i, name in enumerate(SIDES)},
        "answer": layout.tails[side].answer - given,
    }


def _inside(
    model: ThoughtModel, run: Trace, layout: Layout, side: int, coordinates: Int[Tensor, " coordinate"]
) -> dict[str, Tensor]:
    """The arrays of one run that no other run is needed for."""
    arrays: dict[str, Tensor] = {
        "attention": run.attention,
        "norm": run.resid.norm(dim=-1),
        "resid": run.resid[:, :, coordinates],
    }
    answers = zip(*(tail.answer_tokens for tail in layout.tails), strict=False)
    if differing := next(((clean, corrupted) for clean, corrupted in answers if clean != corrupted), None):
        arrays["leaning"] = leaning(model.hooked, run.resid, differing)
    read = lens(model.hooked, run.resid[:, list(layout.positions(side))])
    arrays["lens_logprobs"], arrays["lens_ids"] = read.topk(GUESSES)
    for answer, name in enumerate(SIDES):
        logprobs, targets = _continuation(model, run, layout, answer)
        arrays[f"{name}_logprobs"], arrays[f"{name}_ids"] = logprobs.topk(GUESSES)
        chosen = logprobs.gather(-1, targets[:, None])
        arrays[f"{name}_logprob"], arrays[f"{name}_rank"] = chosen[:, 0], (logprobs > chosen).sum(-1)
    return arrays


def _continuation(
    model: ThoughtModel, run: Trace, layout: Layout, side: int
) -> tuple[Float[Tensor, "token vocab"], Int[Tensor, " token"]]:
    """Log-probabilities along answer prefix and answer, and the tokens that are there; eot itself is given."""
    tail, given = layout.tails[side], int(layout.has_eot)
    start = len(layout.prompt) + layout.n_latents - 1
    prefix = lens(model.hooked, run.resid[-1, start + given : start + tail.answer])
    logits = run.logits[0, side, : len(tail.answer_tokens)]
    answer = logits.to(prefix.dtype).log_softmax(-1)
    return torch.cat([prefix, answer]), torch.tensor(tail.tokens[given:], device=answer.device)


def _coordinates(clean: Trace, corrupted: Trace, layouts: Layouts) -> dict[str, Tensor]:
    vectors = [
        run.resid[:, list(layout.positions(side))]
        for side, (run, layout) in enumerate(zip((clean, corrupted), layouts, strict=True))
    ]
    squares = (vectors[0] - vectors[1]).square().flatten(0, 1).float()
    squares = squares[squares.sum(-1) > 0]
    shares = (squares / squares.sum(-1, keepdim=True)).sum(0) / max(1, len(squares))
    largest = shares.topk(min(COORDINATES, len(shares)))
    return {"coordinates": largest.indices, "coordinate_shares": largest.values}


def _moved(run: Trace, corrupted: Trace, layouts: Layouts, side: int) -> Float[Tensor, "layer token"]:
    here, there = aligned(*layouts).to(run.resid.device).T if side == 0 else (slice(None), slice(None))
    distance = torch.full_like(run.resid[:, :, 0], torch.nan)
    distance[:, here] = (run.resid[:, here] - corrupted.resid[:, there]).norm(dim=-1)
    return distance


def _stored(value: Tensor, half: bool) -> np.ndarray:
    """In single or half precision; whole numbers in 32 bits, because no vocabulary is larger."""
    if value.is_floating_point():
        return value.to(torch.float16 if half else torch.float32).cpu().numpy()
    return value.cpu().numpy() if value.dtype == torch.bool else value.to(torch.int32).cpu().numpy()
