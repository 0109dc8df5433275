"""What is shown of an inspected pair, as properties of CircuitsVis components; `circuits` draws them.

Layouts and colours that CircuitsVis does not have are made of what it has: a grid is a sequence of tokens with line
breaks, in which every second token is hidden and names the place of the next one for its tooltip.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mechpatch.storage.inspections import Inspection
from mechpatch.views.texts import shown

RUNS = ("clean", "corrupted", "patched")
TOKENS_SHOWN = 160  # of a question; the middle of a longer one is left out
HEADS_SHOWN = 32
COLUMNS_SHOWN = 40
UNLIKELY = -100.0  # nats; as good as impossible, and a number
Numbers = Float[np.ndarray, "..."]


@dataclass(frozen=True, slots=True)
class View:
    """One view of a page.

    Attributes:
        pair_id: whose it is.
        title, caption: plain text, to be escaped.
        component: of CircuitsVis.
        props: JSON values and arrays; tokens in them are safe.
        grid: whether every second token is the hidden name of a place.
    """

    pair_id: str
    title: str
    caption: str
    component: str
    props: Mapping[str, Any] = field(repr=False)
    grid: bool = False


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
    kept = _kept(run, len(run["tokens"]))
    largest = np.take_along_axis(values, np.abs(values).argmax(0)[None], axis=0)
    coloured = np.zeros((len(run["tokens"]), len(values) + 1))
    coloured[list(run["sites"].values())] = np.concatenate([largest, values]).T
    bound = 1.0 if share else max(float(np.abs(values).max()), 1e-3)
    unit = "the share of the clean–corrupted gap that the patch closes" if share else "nats, the gap being too small"
    return View(
        about["pair_id"],
        "Effect of a patch at each position",
        f"The corrupted question. Each site is coloured by what the clean vector written there does to the answer: {unit}. "
        f"Blue moves it towards the clean answer ({_answers(about)}), red away. Hover over a button for a layer, over "
        "a token for all of them. Only sites are patched: bot, thoughts, eot and the last token before the answer.",
        "ColoredTokensMulti",
        {
            "tokens": _tokens(run, kept),
            "values": _rounded(_at(coloured, kept)),
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
            run, arrays = about["runs"][name], _arrays(inspection, name)
            tokens = [shown(text) for text in run["continuations"][side]]
            total = float(arrays[f"{side}_logprob"][run["answer"] :].sum())
            cells = [
                _Cell(
                    text,
                    f"{name} run, after {before.strip()}",
                    float(arrays[f"{side}_logprob"][i]),
                    int(arrays[f"{side}_rank"][i]),
                    *_guesses(about, arrays[f"{side}_ids"][i], arrays[f"{side}_logprobs"][i]),
                )
                for i, (before, text) in enumerate(zip(["the thoughts", *tokens], tokens, strict=False))
            ]
            rows.append((f"{name} run", [*cells, _Cell(f"log p(answer) = {total:.2f}")]))
    return View(
        about["pair_id"],
        "The answers, token by token",
        f"Both answers ({_answers(about)}), teacher-forced in the clean, the corrupted and the patched run "
        f"({_cell(about)}). Red is likely: full colour is probability 1, white less than e⁻⁵. Hover over a token for its "
        "rank and for the most likely tokens in its place.",
        "TokenLogProbs",
        _grid(rows),
        grid=True,
    )


def logit_lens(inspection: Inspection, run: str) -> View:
    """The most likely token at every layer and site."""
    about, arrays = inspection.about, _arrays(inspection, run)
    logprobs, ids = arrays["lens_logprobs"], arrays["lens_ids"]
    sites = about["sites"]
    rows = [("", [_Cell(site) for site in sites])]
    for layer in reversed(range(len(ids))):
        cells = []
        for place, site in enumerate(sites):
            texts, values = _guesses(about, ids[layer, place], logprobs[layer, place])
            cells.append(_Cell(texts[0], f"{run} run, layer {layer}, {site}", values[0], 0, texts, values))
        rows.append((f"layer {layer}", cells))
    what = {"patched": f" ({_cell(about)})"}.get(run, "")
    return View(
        about["pair_id"],
        f"Logit lens, {run} run",
        f"What final norm and unembedding read at every layer (upwards) and site of the {run} run{what}: the most likely "
        f"token, redder where it is more likely. Answers: {_answers(about)}. Hover over a token for the next ones.",
        "TokenLogProbs",
        _grid(rows),
        grid=True,
    )


def answer_attention(inspection: Inspection) -> View:
    """What the position that predicts the answer attends to, for every layer and head, in all three runs."""
    about = inspection.about
    tokens, values = [], []
    for name in RUNS:
        run, attention = about["runs"][name], _arrays(inspection, name)["attention"].astype(np.float64)
        query = run["sites"]["answer"]
        rows = attention[:, :, query - run["first_query"], : query + 1]
        rows = np.concatenate([rows.mean(1, keepdims=True), rows], axis=1)
        rows = np.concatenate([rows.mean(0, keepdims=True), rows])
        kept = _kept(run, query + 1)
        tokens.append([f"{name}: ", *_tokens(run, kept)])
        values.append(_rounded(_labelled(np.moveaxis(_summed(rows, kept), -1, 0))))
    layers, heads = len(inspection.arrays["clean.attention"]), inspection.arrays["clean.attention"].shape[1]
    return View(
        about["pair_id"],
        "Attention of the last position before the answer",
        "What the token that predicts the answer reads, in the clean, the corrupted and the patched run "
        f"({_cell(about)}): weight on every token, bluer where it is larger, of one head or of the mean over heads and layers.",
        "TextNeuronActivations",
        {
            "tokens": tokens,
            "activations": values,
            "firstDimensionName": "Layer",
            "secondDimensionName": "Head",
            "firstDimensionLabels": ["mean of all", *map(str, range(layers))],
            "secondDimensionLabels": ["mean of all", *map(str, range(heads))],
        },
    )


def thought_attention(inspection: Inspection, run: str) -> View:
    """Attention among thoughts, eot and answer prefix, with all that lies elsewhere in one column."""
    about, found = inspection.about["runs"][run], _arrays(inspection, run)["attention"].astype(np.float64)
    sites = about["sites"]
    shown_at = list(range(min(sites.values()), sites["answer"] + 1))
    if len(shown_at) > COLUMNS_SHOWN:  # a chain of text: only its sites
        shown_at = sorted(set(sites.values()))
    rows = found[:, :, np.array(shown_at) - about["first_query"]][..., shown_at]
    rest = np.clip(1 - rows.sum(-1, keepdims=True), 0, 1)
    rows = np.concatenate([rest, rows], axis=-1)
    thoughts = [1 + shown_at.index(place) for site, place in sites.items() if site[0] == "t"]
    chosen = _busiest(rows, thoughts)
    tokens = ["elsewhere", *(shown(about["tokens"][place]).strip() for place in shown_at)]
    picked = "" if len(chosen) == rows.shape[0] * rows.shape[1] else f"The {len(chosen)} heads that read thoughts most. "
    return View(
        inspection.about["pair_id"],
        f"Attention among thoughts, {run} run",
        f"From each position (down) to each earlier one (across), one pattern for each head: L2H1 is head 1 of layer 2. "
        f"{picked}The first column holds all that is read elsewhere, in the question above all, so that rows sum to 1. "
        "Hover over a pattern to enlarge it, over a cell of the large one for its value.",
        "AttentionHeads",
        {
            # The first row has no query: nothing is drawn in it.
            "attention": [[[], *_rounded(rows[layer, head])] for layer, head in chosen],
            "tokens": tokens,
            "attentionHeadNames": [f"L{layer}H{head}" for layer, head in chosen],
        },
    )


def head_attention(inspection: Inspection, layer: int, run: str) -> View:
    """The whole pattern of every head of one layer."""
    about, found = inspection.about["runs"][run], _arrays(inspection, run)["attention"]
    length, first = found.shape[-1], about["first_query"]
    rows = [[[]] * first + _rounded(head.astype(np.float64)) for head in found[layer]]
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


def activations(inspection: Inspection) -> View:
    """Token × layer × quantity of the residual stream, in all three runs."""
    about, arrays = inspection.about, inspection.arrays
    coordinates, shares = arrays["coordinates"], arrays["coordinate_shares"]
    quantities = {}
    if "clean.leaning" in arrays:
        quantities["clean − corrupted answer, logits"] = "leaning"
    quantities |= {"distance from the corrupted run": "moved", "norm": "norm"}
    stacks = []
    for name in RUNS:
        own = _arrays(inspection, name)
        whole = [np.nan_to_num(own[key])[..., None] for key in quantities.values()]
        stacks.append(np.concatenate([*whole, own["resid"]], axis=-1).astype(np.float64))
    # The first position is where models park attention; its norm would leave the rest pale.
    scale = np.max([np.abs(stack[:, 1:]).max((0, 1)) for stack in stacks], axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    tokens, values = [], []
    for name, stack in zip(RUNS, stacks, strict=True):
        run = about["runs"][name]
        kept = _kept(run, len(run["tokens"]))
        scaled = np.clip(stack / scale, -1, 1).transpose(1, 0, 2)[:, ::-1]
        tokens.append([f"{name}: ", *_tokens(run, kept)])
        values.append(_rounded(_labelled(_at(scaled, kept))))
    names = [*quantities, *(f"dimension {i}" for i in coordinates)]
    return View(
        about["pair_id"],
        "Residual stream by token, layer and quantity",
        "What resid_post holds at every token of the clean, the corrupted and the patched run "
        f"({_cell(about)}). The first quantity is how far the logit lens prefers the clean answer ({_answers(about)}). "
        f"The last {len(coordinates)} are the dimensions that hold most of the clean–corrupted difference at the sites, "
        f"{100 * float(shares.sum()):.0f} % of its square. Blue is positive, red negative; each quantity is divided by its "
        "largest size, given in brackets, over all layers, tokens and runs but the first token, which is capped.",
        "TextNeuronActivations",
        {
            "tokens": tokens,
            "activations": values,
            "firstDimensionName": "Layer",
            "secondDimensionName": "Quantity",
            "firstDimensionLabels": [str(layer) for layer in reversed(range(len(stacks[0])))],
            "secondDimensionLabels": [f"{name} (1 = {size:.3g})" for name, size in zip(names, scale, strict=True)],
        },
    )


@dataclass(frozen=True, slots=True)
class _Cell:
    """One token of a grid: its text, its place, and the tooltip's numbers. A label has a text alone."""

    text: str
    place: str = ""
    logprob: float = UNLIKELY
    rank: int = 0
    guesses: Sequence[str] = ()
    logprobs: Sequence[float] = ()


def _grid(rows: Sequence[tuple[str, Sequence[_Cell]]]) -> dict[str, Any]:
    """Properties of `TokenLogProbs` for rows of cells, padded so that columns stand in a monospaced font."""
    nbsp = "\u00a0"
    lines = [[_Cell(label), *cells] for label, cells in rows]
    widths = [
        max(len(line[column].text) for line in lines if column < len(line)) for column in range(max(map(len, lines)))
    ]
    prompt, guesses, logprobs, ranks, values = [""], [], [], [], []
    for line in lines:
        for column, cell in enumerate(line):
            text = cell.text.ljust(widths[column]) if column == 0 else cell.text.center(widths[column])
            end = "\n" if cell is line[-1] else nbsp
            # First the place, hidden on a page, then the token itself.
            prompt += [cell.place, nbsp + text.replace(" ", nbsp) + end]
            guesses += [[], list(cell.guesses)]
            logprobs += [[], list(cell.logprobs)]
            ranks += [0, cell.rank]
            values += [UNLIKELY, round(max(cell.logprob, UNLIKELY), 4)]
    return {
        "prompt": prompt,
        "topKTokens": guesses,
        "topKLogProbs": logprobs,
        "correctTokenRank": ranks,
        "correctTokenLogProb": values,
    }


def _guesses(
    about: Mapping[str, Any], ids: Int[np.ndarray, " guess"], logprobs: Float[np.ndarray, " guess"]
) -> tuple[list[str], list[float]]:
    texts = [shown(about["vocabulary"][str(token)]) for token in ids.tolist()]
    return texts, [round(max(float(value), UNLIKELY), 4) for value in logprobs]


def _busiest(rows: Float[np.ndarray, "layer head query key"], thoughts: Sequence[int]) -> list[tuple[int, int]]:
    """Heads that read thoughts most from later positions, in the order of the model; all where they are few."""
    layers, heads = rows.shape[:2]
    earlier = np.arange(rows.shape[2])[:, None] + 1 > np.arange(rows.shape[3])
    read = (rows * earlier)[..., list(thoughts)].sum((-1, -2)).ravel()
    most = np.sort(np.argsort(-read, kind="stable")[:HEADS_SHOWN])
    return [divmod(int(place), heads) for place in (most if layers * heads > HEADS_SHOWN else range(layers * heads))]


def _kept(run: Mapping[str, Any], length: int) -> list[int]:
    """Positions that are shown, of the first `length`; -1 stands for those left out of a long question."""
    start = min(run["sites"].values())
    half = TOKENS_SHOWN // 2
    if start <= TOKENS_SHOWN:
        return list(range(length))
    return [*range(half), -1, *range(start - half, length)]


def _tokens(run: Mapping[str, Any], kept: Sequence[int]) -> list[str]:
    return [" … " if place < 0 else shown(run["tokens"][place]) for place in kept]


def _at(values: Numbers, kept: Sequence[int]) -> Numbers:
    """Values of the positions that are shown along the first axis, and 0 for what is left out."""
    return np.where((np.array(kept) < 0).reshape(-1, *[1] * (values.ndim - 1)), 0.0, values[list(kept)])


def _summed(weights: Float[np.ndarray, "layer head key"], kept: Sequence[int]) -> Float[np.ndarray, "layer head shown"]:
    """Weights of the positions that are shown; what is left out is summed."""
    left_out = 1 - np.isin(np.arange(weights.shape[-1]), kept)
    rest = (weights * left_out).sum(-1)
    return np.stack([rest if place < 0 else weights[..., place] for place in kept], axis=-1)


def _labelled(values: Float[np.ndarray, "token *rest"]) -> Numbers:
    """With a row of zeros before the first token, for the label of a run."""
    return np.concatenate([np.zeros_like(values[:1]), values])


def _rounded(values: Numbers) -> list[Any]:
    """To three decimals, which halves a page; no negative zero."""
    return (np.round(values, 3) + 0.0).tolist()


def _arrays(inspection: Inspection, run: str) -> dict[str, Any]:
    """Arrays of one run, without its name."""
    start = f"{run}."
    return {name.removeprefix(start): array for name, array in inspection.arrays.items() if name.startswith(start)}


def _answers(about: Mapping[str, Any]) -> str:
    return f"clean {about['answers']['clean']}, corrupted {about['answers']['corrupted']}"


def _cell(about: Mapping[str, Any]) -> str:
    cell = about["patched"]
    what = ", the strongest cell among the thoughts" if cell["strongest"] else ""
    return f"clean vector at layer {cell['layer']}, {cell['site']}{what}"
