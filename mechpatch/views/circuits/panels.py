"""What is shown of an inspected pair, as properties of CircuitsVis components; `embed` and `notebook` draw them."""

from pathlib import Path

import numpy as np

from mechpatch.formats import percent, significant, written
from mechpatch.storage.inspections import Inspection, read_inspections
from mechpatch.views.circuits.attention import answer_attention as answer_attention
from mechpatch.views.circuits.attention import head_attention as head_attention
from mechpatch.views.circuits.attention import thought_attention as thought_attention
from mechpatch.views.circuits.grids import Cell, grid, guesses_of
from mechpatch.views.circuits.positions import kept_positions, rounded, token_texts, values_at, with_label
from mechpatch.views.circuits.texts import shown
from mechpatch.views.circuits.view import RUNS, View, answers_of, arrays_of, patched_cell


def inspection_views(run_dir: Path) -> dict[str, list[View]]:
    """The views of every inspected pair of a run, by pair id; {} if no pair was inspected.

    Raises:
        StorageError: an inspection is damaged.
    """
    found = read_inspections(run_dir)
    return {str(inspection.about["pair_id"]): all_views(inspection) for inspection in found.values()}


def all_views(inspection: Inspection) -> list[View]:
    """Every view of a pair, the ones that say most first."""
    return [
        effect_tokens(inspection),
        answer_tokens(inspection),
        *(logit_lens(inspection, run) for run in RUNS),
        answer_attention(inspection),
        *(thought_attention(inspection, run) for run in RUNS[:2]),
        activations(inspection),
    ]


def effect_tokens(inspection: Inspection) -> View:
    """The patched run's tokens, coloured by the effect of a patch at each site, layer by layer."""
    about, run = inspection.about, inspection.about["runs"]["patched"]
    effect, structural = inspection.arrays["effect"], inspection.arrays["structural"]
    gap = about["answer_logprob_diff"]["clean"] - about["answer_logprob_diff"]["corrupted"]
    share = abs(gap) >= about["min_gap"]
    values = np.where(structural, 0.0, effect / (gap if share else 1.0))
    kept = kept_positions(run, len(run["tokens"]))
    largest = np.take_along_axis(values, np.abs(values).argmax(0)[None], axis=0)
    coloured = np.zeros((len(run["tokens"]), len(values) + 1))
    coloured[run["positions"]] = np.concatenate([largest, values]).T
    bound = 1.0 if share else max(float(np.abs(values).max()), 1e-3)
    unit = "the share of the clean–corrupted gap that the patch closes" if share else "nats, the gap being too small"
    return View(
        about["pair_id"],
        "Effect of a patch at each position",
        "The corrupted question. Each site is coloured by what the clean vector written there does to the answer: "
        f"{unit}. Blue moves it towards the clean answer ({answers_of(about)}), red away; full colour is "
        f"{significant(bound)}. Hover over a button for a layer, over a token for all of them. Only sites are "
        f"patched: {', '.join(about['sites'])}; the last of them is the token before the answer.",
        "ColoredTokensMulti",
        {
            "tokens": token_texts(run, kept, about["sites"]),
            "values": rounded(values_at(coloured, kept)),
            "labels": ["largest", *(f"layer {layer}" for layer in range(len(values)))],
            "positiveBounds": [bound] * (len(values) + 1),
            "negativeBounds": [-bound] * (len(values) + 1),
        },
    )


def answer_tokens(inspection: Inspection) -> View:
    """Both answers in all three runs, token by token."""
    about, rows = inspection.about, []
    for side in RUNS[:2]:
        for name in RUNS:
            run, arrays = about["runs"][name], arrays_of(inspection, name)
            tokens = [shown(text) for text in run["continuations"][side]]
            total = float(arrays[f"{side}_logprob"][run["answer"] :].sum())
            cells = [
                Cell(
                    text,
                    f"{name} run, after {before.strip()}",
                    float(arrays[f"{side}_logprob"][i]),
                    int(arrays[f"{side}_rank"][i]),
                    *guesses_of(about, arrays[f"{side}_ids"][i], arrays[f"{side}_logprobs"][i]),
                )
                for i, (before, text) in enumerate(zip(["the thoughts", *tokens], tokens, strict=False))
            ]
            label = f"{shown(about['answers'][side])}, {name} run"
            rows.append((label, [*cells, Cell(f"log p = {written(total)}")]))
    return View(
        about["pair_id"],
        "The answers, token by token",
        f"Both answers ({answers_of(about)}), teacher-forced in the clean, the corrupted and the patched run "
        f"({patched_cell(about)}). Red is likely: full colour is probability 1, white less than e⁻⁵. The last "
        "column sums the answer, in nats. Hover over a token for its rank and for the most likely tokens in its place.",
        "TokenLogProbs",
        grid(rows),
        grid=True,
    )


def logit_lens(inspection: Inspection, run: str) -> View:
    """The most likely token at every layer and site."""
    about, arrays = inspection.about, arrays_of(inspection, run)
    logprobs, ids = arrays["lens_logprobs"], arrays["lens_ids"]
    sites = about["sites"]
    rows = [("", [Cell(site) for site in sites])]
    for layer in reversed(range(len(ids))):
        cells = []
        for place, site in enumerate(sites):
            texts, values = guesses_of(about, ids[layer, place], logprobs[layer, place])
            cells.append(Cell(texts[0], f"{run} run, layer {layer}, {site}", values[0], 0, texts, values))
        rows.append((f"layer {layer}", cells))
    what = {"patched": f" ({patched_cell(about)})"}.get(run, "")
    return View(
        about["pair_id"],
        f"Logit lens, {run} run",
        f"What final norm and unembedding read at every layer (upwards) and site of the {run} run{what}: the most "
        f"likely token, redder where it is more likely. Answers: {answers_of(about)}. Hover over a token for the next "
        "ones.",
        "TokenLogProbs",
        grid(rows),
        grid=True,
    )


def activations(inspection: Inspection) -> View:
    """Token × layer × quantity of the residual stream, in all three runs."""
    about, arrays = inspection.about, inspection.arrays
    coordinates, shares = arrays["coordinates"], arrays["coordinate_shares"]
    quantities, first = {}, ""
    if "clean.leaning" in arrays:  # not where one answer is the start of the other
        quantities["clean − corrupted answer, logits"] = "leaning"
        first = f"The first quantity is how far the logit lens prefers the clean answer ({answers_of(about)}). "
    quantities |= {"distance from the corrupted run": "moved", "norm": "norm"}
    stacks = []
    for name in RUNS:
        own = arrays_of(inspection, name)
        whole = [np.nan_to_num(own[key])[..., None] for key in quantities.values()]
        stacks.append(np.concatenate([*whole, own["resid"]], axis=-1).astype(np.float64))
    # The first position is where models park attention; its norm would leave the rest pale.
    scale = np.max([np.abs(stack[:, 1:]).max((0, 1)) for stack in stacks], axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    tokens, values = [], []
    for name, stack in zip(RUNS, stacks, strict=True):
        run = about["runs"][name]
        kept = kept_positions(run, len(run["tokens"]))
        scaled = np.clip(stack / scale, -1, 1).transpose(1, 0, 2)[:, ::-1]
        tokens.append([f"{name}: ", *token_texts(run, kept, about["sites"])])
        values.append(rounded(with_label(values_at(scaled, kept)), 2))
    names = [*quantities, *(f"dimension {i}" for i in coordinates)]
    return View(
        about["pair_id"],
        "Residual stream by token, layer and quantity",
        "What resid_post holds at every token of the clean, the corrupted and the patched run "
        f"({patched_cell(about)}). {first}"
        f"The last {len(coordinates)} are the dimensions that hold most of the clean–corrupted difference at the "
        f"sites, {percent(float(shares.sum()))} of its square. Blue is positive, red negative. Each quantity is "
        "divided by its largest size over all layers, tokens and runs, given in brackets; the first token does not "
        "count, and is capped.",
        "TextNeuronActivations",
        {
            "tokens": tokens,
            "activations": values,
            "firstDimensionName": "Layer",
            "secondDimensionName": "Quantity",
            "firstDimensionLabels": [str(layer) for layer in reversed(range(len(stacks[0])))],
            "secondDimensionLabels": [
                f"{name} (1 = {significant(float(size))})" for name, size in zip(names, scale, strict=True)
            ],
        },
    )
