"""What is said of attention, against tables in which the opposite is true."""

import numpy as np
import pyarrow as pa

from mechpatch.stats.attention import summarise_attention
from mechpatch.views.words.attention import NO_USE, attention_lines

GROUPS = ("start", "question", "t0", "t1", "prefix")


def said(
    weights: dict[str, float], peak: tuple[int, int] = (1, 0), pairs: int = 8, wrong: int = 0, side: str = "clean"
):
    """Every query of the clean side puts these weights on groups; one head reads t1 alone at the answer."""
    rows = []
    for pair in range(pairs):
        for own in ("clean", "corrupted"):
            for at, site in enumerate(("t0", "t1", "answer")):
                for layer, head in np.ndindex(2, 2):
                    shares = weights if own == "clean" else {"question": 1.0}
                    if site == "answer" and (layer, head) == peak:
                        shares = {"t1": 1.0}
                    rows.append(
                        {"pair_index": pair, "pair_id": str(pair), "both_correct": pair >= wrong, "side": own}
                        | {"site": site, "site_index": at, "layer": layer, "head": head, "entropy": 1.0}
                        | {f"share_{name}": shares.get(name, 0.0) for name in GROUPS}
                        | {f"tokens_{name}": 2 for name in GROUPS}
                    )
    return attention_lines(summarise_attention(pa.Table.from_pylist(rows), side))


def test_what_is_read_most_is_named():
    text = said({"question": 0.7, "t0": 0.3}).found
    assert "puts 48 %" in text  # three heads with 0.3 on t0, and one with all on t1
    assert "on thoughts, which are 40 % of the positions that it sees" in text
    assert "Most of it is on the question (52 %); of the thoughts, on t1 (25 %)." in text
    assert "is head 0 of layer 1: 100 %" in text
    assert "t0 attends most to the question (70 %)." in text
    other = said({"question": 0.2, "t0": 0.8}, peak=(0, 1)).found
    assert "Most of it is on t0 (60 %)" in other
    assert "is head 1 of layer 0" in other
    assert "t0 attends most to itself (80 %)" in other
    assert "t1 attends most to t0 (80 %)" in other
    assert "t0 attends most to the question (100 %)" in said({"t0": 1.0}, side="corrupted").found


def test_attention_is_never_called_use():
    assert NO_USE in said({"t0": 1.0}).distrust
    assert "first token" not in said({"t0": 1.0}).distrust
    assert "Much attention rests on the first token" in said({"start": 0.9, "t0": 0.1}).distrust


def test_what_was_left_out_is_counted():
    assert "2 of 8 pairs that the model gets wrong" in said({"t0": 1.0}, wrong=2).distrust
    assert "left out" not in said({"t0": 1.0}).distrust
    assert "Fewer than 6 pairs" in said({"t0": 1.0}, wrong=3).distrust
    assert "No pair is answered right" in said({"t0": 1.0}, wrong=8).found
