"""Attention of an inspected pair: of the answer over all tokens, among thoughts, and of one layer as a whole."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mechpatch.storage.inspections import Inspection
from mechpatch.views.circuits.positions import kept_positions, rounded, summed, token_texts, with_label
from mechpatch.views.circuits.texts import shown
from mechpatch.views.circuits.view import RUNS, View, arrays_of, patched_cell

HEADS_SHOWN = 32
COLUMNS_SHOWN = 40


def answer_attention(inspection: Inspection) -> View:
    """What the position that predicts the answer attends to, for every layer and head, in all three runs."""
    about = inspection.about
    tokens, values = [], []
    for name in RUNS:
        run, attention = about["runs"][name], arrays_of(inspection, name)["attention"].astype(np.float64)
        query = run["positions"][-1]
        rows = attention[:, :, query - run["first_query"], : query + 1]
        rows = np.concatenate([rows.max(1, keepdims=True), rows], axis=1)
        rows = np.concatenate([rows.max(0, keepdims=True), rows])
        kept = kept_positions(run, query + 1)
        tokens.append([f"{name}: ", *token_texts(run, kept, about["sites"])])
        values.append(rounded(with_label(np.moveaxis(summed(rows, kept), -1, 0)), 2))
    layers, heads = len(inspection.arrays["clean.attention"]), inspection.arrays["clean.attention"].shape[1]
    return View(
        about["pair_id"],
        "Attention of the last position before the answer",
        "What the token that predicts the answer reads, in the clean, the corrupted and the patched run "
        f"({patched_cell(about)}): weight on every token, bluer where it is larger, of one head or the largest of all "
        "heads or layers.",
        "TextNeuronActivations",
        {
            "tokens": tokens,
            "activations": values,
            "firstDimensionName": "Layer",
            "secondDimensionName": "Head",
            "firstDimensionLabels": ["largest", *map(str, range(layers))],
            "secondDimensionLabels": ["largest", *map(str, range(heads))],
        },
    )


def thought_attention(inspection: Inspection, run: str) -> View:
    """Attention among thoughts, eot and answer prefix, with all that lies elsewhere in one column."""
    about, found = inspection.about["runs"][run], arrays_of(inspection, run)["attention"].astype(np.float64)
    positions = about["positions"]
    shown_at = list(range(positions[0], positions[-1] + 1))
    if len(shown_at) > COLUMNS_SHOWN:  # a chain of text: only its sites
        shown_at = positions
    rows = found[:, :, np.array(shown_at) - about["first_query"]][..., shown_at]
    rest = np.clip(1 - rows.sum(-1, keepdims=True), 0, 1)
    rows = np.concatenate([rest, rows], axis=-1)
    thoughts = [
        1 + shown_at.index(place)
        for site, place in zip(inspection.about["sites"], positions, strict=True)
        if site.startswith("t")
    ]
    chosen = _busiest(rows, thoughts)
    tokens = ["elsewhere", *map(str.strip, token_texts(about, shown_at, inspection.about["sites"]))]
    patterns = [rows.mean((0, 1)), *(rows[layer, head] for layer, head in chosen)]
    every = len(chosen) == rows.shape[0] * rows.shape[1]
    picked = "" if every else f"Shown are the {len(chosen)} that read thoughts most. "
    return View(
        inspection.about["pair_id"],
        f"Attention among thoughts, {run} run",
        "From each position (down) to each earlier one (across), one pattern for each head (L2H1: head 1 of layer 2), "
        f"after the mean of all heads. {picked}The first column holds all that is read elsewhere, above all "
        "in the question, so that rows sum to 1. Hover over a pattern to enlarge it, and there over a cell for its "
        "value.",
        "AttentionHeads",
        {
            # The first row has no query: nothing is drawn in it.
            "attention": [[[], *rounded(each)] for each in patterns],
            "tokens": tokens,
            "attentionHeadNames": ["mean", *(f"L{layer}H{head}" for layer, head in chosen)],
        },
    )


def head_attention(inspection: Inspection, layer: int, run: str) -> View:
    """The whole pattern of every head of one layer."""
    about, found = inspection.about["runs"][run], arrays_of(inspection, run)["attention"]
    length, first = found.shape[-1], about["first_query"]
    rows = [[[]] * first + rounded(head.astype(np.float64)) for head in found[layer]]
    return View(
        inspection.about["pair_id"],
        f"Attention of layer {layer}, {run} run",
        "From each token (down) to each earlier one (across), one pattern for each head.",
        "AttentionHeads",
        {
            "attention": rows,
            "tokens": [shown(text) for text in about["tokens"][:length]],
            "attentionHeadNames": [f"L{layer}H{head}" for head in range(len(rows))],
        },
    )


def _busiest(rows: Float[np.ndarray, "layer head query key"], thoughts: Sequence[int]) -> list[tuple[int, int]]:
    """Heads that read thoughts most from later positions, in the order of the model; all where they are few."""
    layers, heads = rows.shape[:2]
    earlier = np.arange(rows.shape[2])[:, None] + 1 > np.arange(rows.shape[3])
    read = (rows * earlier)[..., list(thoughts)].sum((-1, -2)).ravel()
    most = np.sort(np.argsort(-read, kind="stable")[:HEADS_SHOWN])
    return [divmod(int(place), heads) for place in (most if layers * heads > HEADS_SHOWN else range(layers * heads))]
