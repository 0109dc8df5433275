import hashlib
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from records import make_records, planted

from mechpatch.errors import SpecError, StorageError
from mechpatch.views.figures import files as figures
from mechpatch.views.figures.files import (
    component_ranking,
    difference_map,
    heatmap,
    layer_profile,
    pair_maps,
    plot_run,
    readers,
    save,
    trajectories,
)

SETS = ("layer", "position", "leave_one_out", "pairwise", "subset", "window")


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]


def image(figure: Figure, panel: int = 0) -> np.ma.MaskedArray:
    return shown(figure.axes[panel])


def shown(axes: Axes) -> np.ma.MaskedArray:
    found = axes.images[0].get_array()
    assert found is not None
    return np.ma.masked_invalid(found)


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def write_run(folder: Path, table: pa.Table) -> Path:
    """A finished run, as far as figures need it."""
    folder.mkdir()
    pq.write_table(table, folder / "effects.parquet")
    digest = hashlib.sha256((folder / "effects.parquet").read_bytes()).hexdigest()
    (folder / "effects.sha256").write_text(f"{digest}  effects.parquet\n")
    return folder


def test_a_heatmap_shows_the_means_with_layers_upwards_and_positions_in_order():
    table = make_records(layers=3, thoughts=2, pairs=5, peak=(1, 0))
    figure = heatmap(table)
    axes = figure.axes[0]
    rows = [row for row in table.to_pylist() if (row["experiment"], row["layer"], row["site"]) == ("position", 1, "t0")]
    assert image(figure)[1, 1] == pytest.approx(np.mean([row["recovery"] for row in rows]))
    assert axes.images[0].origin == "lower"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["bot", "t0", "t1", "eot", "answer"]


def test_noise_is_drawn_as_the_share_that_is_destroyed():
    table = make_records(pairs=5, directions=("denoise", "noise"))
    denoise, noise = heatmap(table), heatmap(table, direction="noise")
    np.testing.assert_allclose(image(noise), image(denoise), atol=1e-12)
    assert "Position-wise patching: destruction" in texts(noise)


def test_structural_cells_have_no_colour_and_no_number_but_a_legend():
    table = make_records(layers=3, thoughts=2, pairs=5, feedback=False)
    figure = heatmap(table)
    assert np.ma.getmaskarray(image(figure))[2].tolist() == [False, True, True, True, False]
    assert len(figure.axes[0].patches) == 3
    assert labels(figure) == ["zero by construction"]
    assert labels(heatmap(make_records(pairs=5))) == []


def test_a_figure_says_how_many_pairs_it_averages():
    assert any("mean over 7 pairs" in text for text in texts(heatmap(make_records(pairs=10, incorrect=2, undefined=1))))
    uneven = make_records(pairs=4).to_pylist()
    del uneven[0]
    figure = layer_profile(pa.Table.from_pylist(uneven, schema=make_records(pairs=1).schema))
    assert any("mean over 3 to 4 pairs" in text for text in texts(figure))


def test_what_a_thought_left_out_costs_is_drawn_beside_all_thoughts():
    table = make_records(layers=3, pairs=5, experiments=SETS, spread=0.0)
    whole, rest = heatmap(table, experiment="layer"), heatmap(table, experiment="leave_one_out")
    found = difference_map(table, "leave_one_out")
    assert found is not None
    np.testing.assert_allclose(image(found), image(whole) - image(rest), atol=1e-12)
    assert "effect of all thoughts − effect without this one" in "\n".join(texts(found))
    assert found.axes[0].get_xlabel() == "Thought left out"
    assert difference_map(make_records(pairs=2, experiments=("leave_one_out",)), "leave_one_out") is None


def test_two_positions_fill_a_triangle_for_each_layer():
    table = make_records(layers=3, thoughts=3, pairs=5, experiments=SETS, landmarks=False, spread=0.0, peak=(1, 0))
    figure, single = pair_maps(table), image(heatmap(table))
    panels = [axes for axes in figure.axes if axes.images and axes.get_title(loc="left").startswith("layer")]
    assert [axes.get_title(loc="left") for axes in panels] == ["layer 0", "layer 1", "layer 2"]
    shown = image(figure, 1)
    assert np.ma.getmaskarray(shown).tolist() == [[False, False, False], [True, False, False], [True, True, False]]
    np.testing.assert_allclose(np.diag(shown), single[1], atol=1e-12)  # each position alone
    assert shown[0, 2] == pytest.approx(0.9 * (single[1, 0] + single[1, 2]))
    assert [label.get_text() for label in panels[2].get_xticklabels()] == ["t0", "t1", "t2"]

    beyond, nats = image(pair_maps(table, "synergy"), 1), image(heatmap(table, "answer_logprob_change"))
    assert beyond[0, 2] == pytest.approx(-0.1 * (nats[1, 0] + nats[1, 2]))
    assert np.ma.getmaskarray(np.diag(beyond)).all()


def test_synergy_without_positions_alone_is_refused_and_no_diagonal_is_drawn():
    table = make_records(layers=2, thoughts=3, pairs=3, experiments=("pairwise",))
    shown = image(pair_maps(table))
    assert np.ma.getmaskarray(np.diag(shown)).all()
    with pytest.raises(SpecError, match="run `position pairwise`"):
        pair_maps(table, "synergy")


def test_pairs_of_positions_that_cannot_move_are_hatched():
    figure = pair_maps(make_records(layers=2, thoughts=3, pairs=3, experiments=("pairwise",), feedback=False))
    assert [len(axes.patches) for axes in figure.axes[:2]] == [0, 3]
    assert labels(figure) == ["zero by construction"]


def test_windows_are_named_by_their_first_layer():
    figure = heatmap(make_records(layers=4, pairs=3, experiments=("window",)), experiment="window")
    assert figure.axes[0].get_ylabel() == "First layer of the window"
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["0", "1", "2"]


def test_numbers_are_left_out_where_they_do_not_fit():
    def numbers(layers: int) -> int:
        return len(heatmap(make_records(layers=layers, pairs=2, experiments=("position",))).axes[0].texts)

    assert numbers(16) > 16 * 8
    assert numbers(70) < 16


def test_nulls_are_grey_lines_with_their_names_at_their_ends():
    figure = layer_profile(make_records(pairs=6, nulls=("self", "other_pair")))
    named = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    grey = named["vectors of another pair"]
    assert named["the run's own vectors"] == grey != named["the pair's other side"]
    assert sum(line.get_color() == grey for line in figure.axes[0].lines) == 2
    assert "no control was run" in "\n".join(texts(layer_profile(make_records(pairs=6, nulls=("self",)))))


def switched(nulls: int | None = 2) -> pa.Table:
    """Of ten pairs nine switch at t0 and none at t1; with another pair `nulls` at both."""
    donors = {"paired": (9, 0)} | ({} if nulls is None else {"other_pair": (nulls, nulls)})
    return planted(
        {
            ("position", "denoise", donor, 1, f"t{at}"): [0.9] * count + [0.1] * (10 - count)
            for donor, counts in donors.items()
            for at, count in enumerate(counts)
        }
    )


def test_the_map_of_switches_shows_its_controls_and_what_is_clear():
    figure = heatmap(switched(), "switched")
    axes = figure.axes[0]
    assert [(text.get_text(), text.get_fontweight()) for text in axes.texts[:2]] == [("90", "bold"), ("0", "normal")]
    ticks = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines]
    assert ticks == pytest.approx([-0.5 + 0.2, 0.5 + 0.2])  # a fifth of the way across each cell
    assert "controls: at most 20 % in any cell" in "\n".join(texts(figure))
    alone = heatmap(switched(None), "switched")
    assert "no control was run" in "\n".join(texts(alone))
    assert {text.get_fontweight() for text in alone.axes[0].texts[:2]} == {"normal"}
    assert not alone.axes[0].lines


def test_scales_of_shares_are_fixed_and_no_bar_is_half_unused():
    assert heatmap(switched(), "switched").axes[0].images[0].get_clim() == (0.0, 1.0)
    signed = heatmap(switched(), "recovery")
    low, high = signed.axes[0].images[0].get_clim()
    assert low == -high
    assert signed.axes[1].get_ylim()[0] > 0.1 * low  # the bar ends where the values end
    profile = layer_profile(make_records(pairs=6), "switched")
    assert profile.axes[0].get_ylim() == pytest.approx((-0.03, 1.03))


def test_figures_fit_a_column_and_their_text_can_be_edited(tmp_path: Path):
    table = make_records(pairs=4, nulls=("other_pair",))
    assert heatmap(table, "switched").get_size_inches()[0] <= 7.0
    single = heatmap(table, "switched", column="single")
    assert single.get_size_inches()[0] == pytest.approx(3.4)
    assert trajectories(table, column="single").get_size_inches()[0] == pytest.approx(3.4)
    _, svg, pdf = save(single, tmp_path / "map")
    assert ">Position-wise patching: pairs<" in svg.read_text()
    assert b"/CIDFontType2" in pdf.read_bytes()  # outlines would be /Type3


def test_steps_that_are_zero_by_construction_have_no_line():
    figure = trajectories(make_records(layers=3, pairs=5, feedback=False))
    main = figure.axes[0]
    heights = [np.asarray(line.get_ydata(), dtype=float) for line in main.lines]
    drawn = [height for height in heights if len(height) == 5]
    assert [np.isnan(height).tolist() for height in drawn] == [[False, *[True] * 4], [False, *[True] * 4], [True] * 5]
    assert labels(figure) == ["zero by construction", "not drawn, zero by construction: layer 2, step 0"]


def test_similarities_have_panels_only_where_they_were_recorded():
    table = make_records(pairs=5)
    assert "Similarity to clean (cosine)" in texts(trajectories(table))
    assert "Similarity to clean (cosine)" not in texts(trajectories(table, "cumulative"))


def test_every_figure_can_be_drawn_without_a_usable_pair():
    table = make_records(pairs=2, incorrect=2)
    sets = make_records(pairs=2, incorrect=2, experiments=SETS)
    for figure in (heatmap(table), layer_profile(table), trajectories(table), pair_maps(sets)):
        assert any("no pair is answered right" in text for text in texts(figure))


def test_an_experiment_that_was_not_run_is_named():
    with pytest.raises(SpecError, match=r"no rows of position, noise, paired.*they have layer, denoise, paired"):
        heatmap(make_records(pairs=2, experiments=("layer",)), direction="noise")


def test_equal_figures_are_equal_files(tmp_path: Path):
    table = make_records(pairs=4)
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        digests.append([path.read_bytes() for path in save(heatmap(table), tmp_path / name / "map.of.layers")])
    assert digests[0] == digests[1]
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        f"map.of.layers.{end}" for end in ("pdf", "png", "svg")
    ]
    with Image.open(tmp_path / "one" / "map.of.layers.png") as image:
        assert min(image.size) > 500
    assert b"<dc:date>" not in digests[0][1]


def test_a_figure_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(StorageError, match="missing"):
        save(heatmap(make_records(pairs=2)), tmp_path / "missing" / "map")


def test_a_run_gets_every_figure_that_its_experiments_allow(tmp_path: Path):
    table = make_records(pairs=3, layers=2, thoughts=2, nulls=("noise",), directions=("noise",))
    before = dict(mpl.rcParams)
    written = plot_run(write_run(tmp_path / "run", table))
    names = {path.name for path in written if path.suffix == ".png"}
    kinds = ("layer-noise", "position-noise", "relay-noise", "cumulative-noise")
    assert names == {f"{kind}{what}.png" for kind in kinds for what in ("", "-recovery")}
    assert {path.parent for path in written} == {tmp_path / "run" / "figures"}
    assert all(path.exists() for path in written)
    assert dict(mpl.rcParams) == before
    only = table.filter(pc.field("experiment") == "layer")
    elsewhere = plot_run(write_run(tmp_path / "other", only), tmp_path / "out")
    ends = [f"layer-noise{what}.{end}" for what in ("", "-recovery") for end in ("png", "svg", "pdf")]
    assert [path.name for path in elsewhere] == ends


def test_sets_get_figures_of_what_they_do_beyond_their_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "save", lambda figure, path: [path])  # drawing them all takes long
    table = make_records(pairs=3, layers=2, thoughts=3, experiments=SETS, landmarks=False)
    written = {path.name for path in plot_run(write_run(tmp_path / "run", table))}
    assert written >= {
        "leave_one_out-denoise-lost", "pairwise-denoise", "pairwise-denoise-synergy", "pairwise-denoise-recovery",
        "subset-denoise-synergy", "window-denoise"
    }  # fmt: skip
    alone = table.filter(pc.field("experiment").isin(["pairwise", "subset", "leave_one_out"]))
    names = {path.name for path in plot_run(write_run(tmp_path / "alone", alone))}
    assert not any(name.endswith(("lost", "synergy")) for name in names)


def test_a_run_without_usable_records_is_refused(tmp_path: Path):
    with pytest.raises(StorageError, match=r"effects\.\w+: cannot be read"):
        plot_run(tmp_path)
    table = make_records(pairs=1, layers=2)
    with pytest.raises(StorageError, match="no rows"):
        plot_run(write_run(tmp_path / "empty", table.slice(0, 0)))
    damaged = write_run(tmp_path / "damaged", table) / "effects.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(StorageError, match="damaged"):
        plot_run(tmp_path / "damaged")


def of_hooks(pairs: int = 6) -> pa.Table:
    """Head 1 of `z` carries something at layer 1 and t0, and at the answer; `kv` of t0 does; a control does not."""
    sites, effects = ("t0", "t1", "answer"), {}
    for layer in (0, 1, 2):
        for site in sites:
            for donor in ("paired", "other_pair"):
                at = ("denoise", donor, layer, site)
                for head in (0, 1, 2):
                    big = donor == "paired" and (head, layer) == (1, 1) and site != "t1"
                    effects["position@z." + str(head), *at] = np.linspace(0.7, 0.9, pairs) if big else np.zeros(pairs)
                read = donor == "paired" and (layer, site) == (2, "t0")
                effects["position@kv", *at] = np.full(pairs, 0.5 if read else 0.0)
    return planted(effects)


def test_heads_have_a_map_for_every_position():
    figure = heatmap(of_hooks(), hook="z")
    maps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title("left") for axes in maps[1:]] == ["t1", "answer"]
    assert "t0" in [text.get_text() for text in maps[0].texts]  # its title is the figure's
    assert [image(figure, place).shape for place in range(3)] == [(3, 3)] * 3
    assert [float(image(figure, place)[1, 1]) for place in range(3)] == pytest.approx([0.8, 0.0, 0.8], abs=1e-6)
    assert any("head output (z)" in text for text in texts(figure))


def test_components_are_ranked_with_their_controls():
    figure = component_ranking(of_hooks(), metric="recovery")
    assert figure is not None
    axes = figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert {*names[:2]} == {"z, layer 1, head 1, t0", "z, layer 1, head 1, answer"}
    assert names[2] == "kv, layer 2, t0"
    controls = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    assert len(controls) == len(names) + 1  # and the key's
    assert np.allclose(np.concatenate(controls).astype(float), 0)
    assert component_ranking(make_records(pairs=2)) is None  # one hook point without heads has a map, and that is it


def test_neurons_are_ranked_and_not_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Of many the strongest are drawn, and how many there were is said; where no pair switches the effect decides."""
    effects = {
        (f"position@post.{neuron}", "denoise", donor, layer, "t0"): np.full(
            6, 0.01 * neuron if (donor, layer) == ("paired", 1) else 0.0
        )
        for neuron in range(20)
        for donor in ("paired", "gaussian")
        for layer in (0, 1)
    }
    for metric in ("switched", "recovery"):
        figure = heatmap(planted(effects), metric, hook="post")
        names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
        assert names[:3] == [f"layer 1, neuron {neuron}, t0" for neuron in (19, 18, 17)]
        assert len(names) == 24
        assert any("the largest 24 of 40 cells" in text for text in texts(figure))
        title = "Neurons that move the answer most" if metric == "recovery" else "Neurons, all of them at 0"
        assert any(text.startswith(title) for text in texts(figure))
    some = {cell: values for cell, values in effects.items() if cell[0] == "position@post.3"}
    assert not any("picked" in text for text in texts(heatmap(planted(some), "recovery", hook="post")))
    monkeypatch.setattr(figures, "save", lambda figure, path: [path])
    table = planted(effects)
    wrong = pa.array([False] * len(table))
    table = table.set_column(table.schema.get_field_index("both_correct"), "both_correct", wrong)
    assert "position-post-denoise" in {path.name for path in plot_run(write_run(tmp_path / "run", table))}
    assert any("no pair has a value" in text for text in texts(heatmap(table, hook="post")))


def test_readers_stand_beside_what_they_read():
    figure = readers(of_hooks(), "recovery")
    assert figure is not None
    left, right = (axes for axes in figure.axes if axes.images)
    assert float(shown(left)[1, 1]) == pytest.approx(0.8)
    assert float(shown(right)[2, 0]) == pytest.approx(0.5)
    assert readers(of_hooks().filter(pc.field("hook") == "z")) is None


def test_every_hook_point_has_files_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(figures, "save", lambda figure, path: [path])
    written = {path.name for path in plot_run(write_run(tmp_path / "run", of_hooks()))}
    assert written == {
        "position-z-denoise", "position-z-denoise-recovery", "position-kv-denoise", "position-kv-denoise-recovery",
        "components-denoise", "readers-denoise",
    }  # fmt: skip
