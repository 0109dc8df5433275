"""Figures of answers: each dot is a share of pairs, each bar its exact interval."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from answer_records import NEITHER, OTHER, OWN, THIRD, Cell, answer_table
from matplotlib.figure import Figure

from mechpatch.errors import SpecError
from mechpatch.stats.switching import proportion_limits
from mechpatch.views.figures.answers import answer_figure
from mechpatch.views.figures.files import plot_run

NUMBERS = [("count", "nothing", f"n{number}", number, [OWN] * kept + [OTHER] * 2 + [NEITHER] * (8 - kept))
           for number, kept in ((0, 0), (1, 5), (2, 8))]  # fmt: skip


def dots(figure: Figure, panel: int = 0) -> dict[str, list[tuple[float, float, float]]]:
    """Share and limits at each place, by the name of the series."""
    found = {}
    containers: list[Any] = figure.axes[panel].containers
    for drawn in containers:
        line, _, (bars,) = drawn.lines
        limits = [tuple(np.reshape(segment, (-1, 2))[:, 1]) or (np.nan, np.nan) for segment in bars.get_segments()]
        shares = np.asarray(line.get_ydata())
        found[str(drawn.get_label())] = [(share, *limit) for share, limit in zip(shares, limits, strict=True)]
    return found


def of_ten(count: int) -> tuple[float, Any, Any]:
    low, high = proportion_limits(np.array(count), np.array(10))
    return count / 10, pytest.approx(float(low)), pytest.approx(float(high))


def test_shares_by_number_of_thoughts_are_drawn_with_their_intervals():
    found = dots(answer_figure(answer_table(*NUMBERS), "count", "denoise"))
    assert found["keep their answer"] == [of_ten(count) for count in (0, 5, 8)]
    assert found["give the other side's"] == [of_ten(2)] * 3
    assert found["give neither"] == [of_ten(count) for count in (8, 3, 0)]


def test_necessity_shows_each_donor_at_single_thoughts_then_the_first_then_all():
    sites = ("t0+t1", "all", "t1", "t0", "t2")
    cells: list[Cell] = [
        ("necessity", donor, site, 0, [OWN] * kept + [NEITHER] * (10 - kept))
        for donor, more in (("zero", 0), ("mean", 4))
        for kept, site in enumerate(sites, more)
    ]
    figure = answer_figure(answer_table(*cells), "necessity", "denoise")
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["t0", "t1", "t2", "t0–t1", "all"]
    found = dots(figure)
    assert found["the zero vector"] == [of_ten(sites.index(site)) for site in ("t0", "t1", "t2", "t0+t1", "all")]
    assert [share for share, *_ in found["the mean over all pairs"]] == [0.7, 0.6, 0.8, 0.4, 0.5]
    assert "Gaussian vectors" not in found


def test_a_swap_shows_who_is_followed_beside_gaussian_vectors():
    cells: list[Cell] = [
        ("swap", "other_value", "t0", 1, [THIRD] * 6 + [OWN] * 3 + [NEITHER]),
        ("swap", "gaussian", "t0", 1, [THIRD] + [OWN] * 9),
        ("swap", "other_value", "all", 0, [THIRD] * 10),
    ]
    figure = answer_figure(answer_table(*cells), "swap", "denoise", column="single")
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["all", "t0, 1"]
    found = dots(figure)
    assert [share for share, *_ in found["follow the donor"]] == [1.0, 0.6]
    assert [share for share, *_ in found["keep their own answer"]] == [0.0, 0.3]
    assert [share for share, *_ in found["give neither side's"]] == [0.0, 0.1]
    assert found["follow, with Gaussian"][-1] == of_ten(1)


def layered(count: int, dead: Sequence[int] = ()) -> pa.Table:
    """The zero vector at t0 and t1 of so many layers; layer l keeps l pairs of ten. Some layers cannot move at t1."""
    tables = []
    for layer in range(count):
        table = answer_table(
            *(("necessity", "zero", site, 0, [OWN] * layer + [NEITHER] * (10 - layer)) for site in ("t0", "t1"))
        )
        still = [layer in dead and site == "t1" for site in table["site"].to_pylist()]
        columns = {"layer": [layer] * len(table), "hook": ["resid_post"] * len(table), "structural": still}
        for name, values in columns.items():
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        tables.append(table)
    return pa.concat_tables(tables)


def test_of_many_layers_some_are_drawn_and_named():
    figure = answer_figure(layered(8), "necessity", "denoise", "resid_post")
    assert [axes.get_ylabel() for axes in figure.axes] == ["Layer 0", "Layer 2", "Layer 5", "Layer 7"]
    assert dots(figure, 2)["the zero vector"] == [of_ten(5)] * 2
    told = "\n".join(text.get_text() for text in figure.axes[0].texts)
    assert "layers 0, 2, 5, 7 of 8" in told
    assert "layers" not in "\n".join(
        text.get_text() for text in answer_figure(layered(3), "necessity", "denoise", "resid_post").axes[0].texts
    )


def test_a_place_that_cannot_move_is_hatched_and_has_no_dot():
    figure = answer_figure(layered(3, dead=[1]), "necessity", "denoise", "resid_post")
    (share, *_), (missing, *_) = dots(figure, 1)["the zero vector"]
    assert (share, bool(np.isnan(missing))) == (0.1, True)
    assert [len(axes.patches) for axes in figure.axes] == [0, 1, 0]
    assert "zero by construction" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_they_are_drawn_with_the_other_figures_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    table = answer_table(*NUMBERS)
    monkeypatch.setattr("mechpatch.views.figures.files.component_ranking", lambda *_, **__: None)
    monkeypatch.setattr("mechpatch.views.figures.files.readers", lambda *_, **__: None)
    folder = tmp_path / "run"
    folder.mkdir()
    pq.write_table(table, folder / "effects.parquet")
    digest = hashlib.sha256((folder / "effects.parquet").read_bytes()).hexdigest()
    (folder / "effects.sha256").write_text(f"{digest}  effects.parquet\n")
    found = plot_run(folder, column="single")
    assert sorted(path.name for path in found) == ["count-denoise.pdf", "count-denoise.png", "count-denoise.svg"]
    with pytest.raises(SpecError, match=r"no answers of swap, denoise, thought; .* were run: count, denoise, thought"):
        answer_figure(table, "swap", "denoise")
