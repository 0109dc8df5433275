"""The public surface: a script gets what the command line gets, and what is the user's own is held to its word."""

import ast
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import astuple, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from checkpoints import tiny as tiny_hf
from checkpoints import write_base, write_peft
from markupsafe import escape
from report_arrays import payload
from transformer_lens import HookedTransformer, HookedTransformerConfig

import mechpatch as mp
from mechpatch import kinds, library
from mechpatch.errors import CheckpointError, SpecError
from mechpatch.metrics import Answers
from mechpatch.models.tokens import load_tokenizer
from mechpatch.patching import collate
from mechpatch.storage.results import read_effects
from mechpatch.views.words.lines import lines

EXAMPLES = sorted((Path(__file__).parent.parent / "scripts" / "examples").glob("*.py"))
FEW = {"layers": (1, 3), "sites": ("t0", "t2"), "checks": 1}


def largest_change(patched, baseline, answers: Answers):
    """Largest |Δlogit| of the recipient's own continuation."""
    own = answers.recipient
    return (patched[:, own] - baseline[:, own]).abs().amax((1, 2))


def paired_again(runs):
    return runs.paired, runs.all


def every_thought(frame):
    return [frame.cell("every_thought", layer, frame.thoughts, "all") for layer in frame.layers]


EVERY_THOUGHT = mp.Kind(name="every_thought", label="All at a time", cells=every_thought, drawing="profile")


@pytest.fixture(scope="module")
def run(demo_model, shipped_pairs) -> mp.Run:
    return mp.run(
        demo_model,
        shipped_pairs[:4],
        ["position", "layer", EVERY_THOUGHT],
        nulls=(mp.Donor(name="again", function=paired_again), "zero", "mean"),
        metrics={"largest_change": largest_change},
        **FEW,
    )


def rows(run: mp.Run, **wanted) -> pa.Table:
    table = run.records
    for name, value in wanted.items():
        table = table.filter(pc.field(name) == value)
    return table


def test_a_run_in_memory_is_the_run_of_a_directory(run, demo_model, shipped_pairs, tmp_path):
    own: dict[str, Any] = {"nulls": (mp.Donor(name="again", function=paired_again), "zero", "mean")}
    own["metrics"] = {"largest_change": largest_change}
    asked = ["position", "layer", EVERY_THOUGHT]
    kept = mp.run(demo_model, shipped_pairs[:4], asked, out=tmp_path / "run", **own, **FEW)
    assert kept.records.equals(run.records)
    assert kept.summary.cells == run.summary.cells
    assert read_effects(run.save(tmp_path / "saved")).equals(run.records)
    assert mp.open_run(tmp_path / "saved").summary == run.summary
    other = {"metrics": [mp.Metric(name="largest_change", function=largest_change, version="2")]}
    with pytest.raises(SpecError, match=r"the run has metric largest_change \(version 1\), donor again"):
        mp.run(demo_model, shipped_pairs[:4], asked, out=tmp_path / "run", **(own | other), **FEW)
    with pytest.raises(SpecError, match=r"asked for \(not given\)"):
        mp.run(demo_model, shipped_pairs[:4], "position", out=tmp_path / "run", **FEW)


def test_a_kind_of_ones_own_is_drawn_by_whoever_reads_its_run(run, tmp_path, monkeypatch):
    folder, page = run.save(tmp_path / "run"), tmp_path / "page.html"
    monkeypatch.setattr(kinds, "_told", {})  # as in another process
    assert kinds.kind_of("every_thought").drawing == "map"
    mp.open_run(folder).report(page)
    assert (kinds.kind_of("every_thought").drawing, kinds.kind_of("every_thought").label) == (
        "profile",
        "All at a time",
    )
    assert "All at a time" in page.read_text(encoding="utf-8")
    kinds.tell({"odd": {"drawing": "<script>", "cells": "os.system"}})
    assert (kinds.kind_of("odd").drawing, kinds.kind_of("odd").label) == ("map", "odd")


def test_effects_and_cells_are_data_frames(run):
    effects, cells = run.effects, run.cells
    assert len(effects) == run.records.num_rows
    assert set(effects["donor"]) == {"paired", "again", "zero", "mean"}
    shares = effects[(effects["donor"] == "paired") & effects["both_correct"]]
    for cell in cells[cells["donor"] == "paired"].to_dict("records"):
        where = (shares["experiment"] == cell["experiment"]) & (shares["layer"] == cell["layer"])
        own = shares[where & (shares["site"] == cell["site"])]
        assert (cell["pairs"], cell["switched"]) == (len(own), (own["outcome"] == "clean").mean())
        assert cell["switched_low"] <= cell["switched"] <= cell["switched_high"]
    # A row names its cell: no two cells of one donor have the same address.
    assert not cells.duplicated(
        ["experiment", "direction", "donor", "hook", "head", "layer", "width", "site", "step"]
    ).any()


def test_a_donor_and_a_kind_of_ones_own_are_like_known_ones(run):
    for experiment in ("position", "layer", "every_thought"):
        again, paired = (rows(run, experiment=experiment, donor=donor) for donor in ("again", "paired"))
        of_others = ["donor", "donor_pair_id"]
        assert again.drop_columns(of_others).equals(paired.drop_columns(of_others))
    mine, known = (rows(run, experiment=name, donor="paired") for name in ("every_thought", "layer"))
    numbers = [field.name for field in mine.schema if field.type == pa.float64()]
    assert np.allclose(
        *(table.select(numbers).to_pandas().to_numpy() for table in (mine, known)), atol=1e-4, equal_nan=True
    )


def test_a_metric_of_ones_own_is_a_column(run):
    column = run.records["largest_change"].to_numpy()
    l2 = run.records["l2_logit_difference"].to_numpy()
    assert (column <= l2 * 3 + 1e-6).all()  # the mean over at most three positions
    assert (column > 0).any()
    assert not column[l2 == 0].any()


def test_zero_and_mean_are_effects_and_no_controls(run, demo_model, shipped_pairs):
    told = {cell.donor: cell.switched.beyond for cell in run.summary.cells}
    assert {donor: set(beyond) for donor, beyond in told.items()} == {
        "paired": {"again"},
        "zero": {"again"},
        "mean": {"again"},
        "again": set(),
    }
    seen = {}

    def look(runs):
        seen["zero"], seen["mean"] = torch.zeros_like(runs.baseline), runs.everyone.mean(runs.indices[0])
        seen["each"] = [runs.everyone.runs.vectors(index, 0) for index in range(4)]
        return runs.baseline, runs.all

    mp.run(demo_model, shipped_pairs[:4], "layer", nulls=mp.Donor(name="look", function=look), layers=(1,), checks=0)
    assert torch.allclose(seen["mean"], torch.stack(seen["each"]).mean(0), atol=1e-6)


def test_an_own_chain_beside_relay_is_run_by_itself(demo_model, shipped_pairs):
    """Both hand on at the same layer and sites; that of one's own leaves out the first thought."""

    def later(frame):
        steps = enumerate(frame.thoughts[1:])
        cells = [frame.cell("later", 1, (site,), step=step) for step, site in steps]
        return [replace(cell, source="step before") for cell in cells]

    kind = mp.Kind(name="later", label="Later", cells=later, drawing="chain")
    both: Any = mp.run(demo_model, shipped_pairs[:2], [kind, "relay"], layers=(1,), checks=0).effects
    alone = [mp.run(demo_model, shipped_pairs[:2], each, layers=(1,), checks=0).effects for each in (kind, "relay")]
    for name, expected in zip(("later", "relay"), alone, strict=True):
        # Rounding depends on what is run in one pass.
        found = both[both.experiment == name].reset_index(drop=True)
        pd.testing.assert_frame_equal(found, expected, rtol=1e-3, atol=1e-3)
    first, second = (both[(both.experiment == name) & (both.site == "t1")] for name in ("later", "relay"))
    assert (abs(first["kl_divergence"].to_numpy() - second["kl_divergence"].to_numpy()) > 1e-6).all()


@pytest.mark.parametrize("kept", [False, True])
def test_a_bar_counts_every_patched_run_unless_it_is_not_wanted(demo_model, shipped_pairs, tmp_path, monkeypatch, kept):
    bars = []

    @contextmanager
    def bar(title, total):
        bars.append([title, total, 0])

        def tick(count):
            bars[-1][-1] += count

        yield tick

    monkeypatch.setattr(library, "progress", bar)
    for quiet in (True, False):
        out = tmp_path / f"quiet {quiet}" if kept else None
        mp.run(demo_model, shipped_pairs[:2], "layer", layers=(1, 2), checks=0, quiet=quiet, out=out)
    assert bars == [["patched runs", 2 * 2, 2 * 2]]


def test_the_mean_is_of_all_pairs_whatever_the_limit(demo_model, shipped_pairs):
    means = []

    def look(runs):
        means.append(runs.everyone.mean(runs.indices[0]))
        return runs.baseline, runs.all

    donor = mp.Donor(name="look", function=look)
    for limit in (None, 1):
        mp.run(demo_model, shipped_pairs[:3], "layer", nulls=donor, layers=(1,), checks=0, limit=limit)
    assert torch.equal(*means)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"metrics": {"Mine": largest_change}}, "metric 'Mine': expected a name of small letters"),
        ({"metrics": {"recovery": largest_change}}, "metric 'recovery': mechpatch has one of that name"),
        ({"metrics": {"layer": largest_change}}, "metric 'layer': the records have a column of that name"),
        (
            {"metrics": {"mine": lambda p, b, a: p}},
            r"metric 'mine' gave torch.float32 \[2, 2, .*expected \[2\]",
        ),
        ({"metrics": {"mine": lambda p, b, a: [1.0, float("inf")]}}, "metric 'mine' gave an infinite value"),
        ({"nulls": mp.Donor(name="self", function=paired_again)}, "donor 'self': mechpatch has one"),
        ({"nulls": mp.Donor(name="d", function=lambda runs: runs.baseline)}, "donor 'd' gave Tensor, expected"),
        (
            {"nulls": mp.Donor(name="d", function=lambda runs: (runs.baseline[:1], runs.all))},
            r"donor 'd' gave torch.float32",
        ),
        ({"nulls": mp.Donor(name="d", function=lambda runs: (runs.baseline, [1, 1]))}, "donor 'd' gave int64"),
        ({"nulls": "gausian"}, "'gausian' is not known"),
        ({"layer": (1,)}, r"run\(\): 'layer' is not known; did you mean layers\? expected nulls, metrics"),
        ({"direction": "noise"}, "'direction' is not known; did you mean directions"),
        ({"metric": {}}, "'metric' is not known; did you mean metrics"),
        (
            {"experiments": mp.Kind(name="k", label="K", cells=every_thought, drawing="pie")},
            "drawing 'pie', expected one of",
        ),
    ],
)
def test_what_is_wrong_is_told(demo_model, shipped_pairs, bad, problem):
    given = {"experiments": "layer", "layers": (1,), "checks": 0} | bad
    with pytest.raises(SpecError, match=problem):
        mp.run(demo_model, shipped_pairs[:2], **given)


def test_pairs_are_taken_as_dicts(demo_model, shipped_pairs):
    sides = (
        {"question": side.question, "answer": side.answer}
        for side in (shipped_pairs[0].clean, shipped_pairs[0].corrupted)
    )
    pairs = mp.load_pairs([dict(zip(("pair_id", "clean", "corrupted"), ("one", *sides), strict=True))])
    run = mp.run(demo_model, pairs, "layer", layers=(1,), checks=0)
    assert run.effects["pair_id"].tolist() == ["one"]
    with pytest.raises(SpecError, match="none of 1 pairs can be run: one: same_answer"):
        mp.run(
            demo_model,
            [
                {
                    "pair_id": "one",
                    "clean": {"question": "a b?", "answer": 1},
                    "corrupted": {"question": "a c?", "answer": 1},
                }
            ],
        )


def test_figures_and_page(run, tmp_path):
    for experiment in ("position", "layer", "every_thought"):
        assert run.plot(experiment=experiment).axes
    assert run.plot("largest_change", "position", donor="again").axes
    assert all(f"{line}\n" in run.words for line in astuple(lines(run.summary)))
    page = run.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert payload(page)["words"]["experiments"]["every_thought"]["label"] == "All at a time"
    for line in astuple(lines(run.summary)):
        assert escape(line.replace(" %", "\u00a0%")) in page
        assert escape(line.replace(" %", "\u00a0%")) in run._repr_html_()
    assert "Null donors: again. Also written: the zero vector; the mean over all pairs." in page
    assert re.search("Pairs (<[^>]*>)*given in Python(<[^>]*>)*, content <code>", page)


def test_a_sweep_is_what_hooks_give(demo_model):
    corrupted, clean = ("Sam has 3 boxes of 5 pens.", "Sam has 4 boxes of 5 pens.")

    def rises(patched, corrupted, clean):
        assert corrupted.shape == clean.shape == patched.shape[1:]
        return patched[:, 7] - corrupted[7]

    found = mp.sweep(demo_model, corrupted, clean, rises, layers=(0, 3), rows=4)
    hooked = demo_model.hooked
    tokens = [torch.tensor([demo_model.tokenizer.encode(text)]) for text in (corrupted, clean)]
    assert [label.split()[1] for label in found.columns] == demo_model.tokenizer.convert_ids_to_tokens(
        tokens[0][0].tolist()
    )
    _, cache = hooked.run_with_cache(tokens[1])
    for layer in (0, 3):
        name = f"blocks.{layer}.hook_resid_post"
        for place in range(tokens[0].shape[1]):
            hook = mp.patch_position(place, cache[name][:, place])
            logits = hooked.run_with_hooks(tokens[0], fwd_hooks=[(name, hook)])
            expected = logits[0, -1, 7] - hooked(tokens[0])[0, -1, 7]
            assert found.loc[layer].iloc[place] == pytest.approx(expected.item(), abs=2e-5)


@pytest.mark.parametrize("point", ["attn_out", "z", "z.2", "kv", "post.9"])
def test_a_sweep_of_another_hook_point_is_what_hooks_give(demo_model, point):
    corrupted, clean = ("Sam has 3 boxes of 5 pens.", "Sam has 4 boxes of 5 pens.")
    found = mp.sweep(demo_model, corrupted, clean, lambda patched, *_: patched[:, 7], hook=point, layers=(1,))
    hooked = demo_model.hooked
    tokens = [torch.tensor([demo_model.tokenizer.encode(text)]) for text in (corrupted, clean)]
    _, cache = hooked.run_with_cache(tokens[1])
    place_of = {"attn_out": ["hook_attn_out"], "z": ["attn.hook_z"], "kv": ["attn.hook_k", "attn.hook_v"]}
    names = (place_of | {"post": ["mlp.hook_post"]})[point.partition(".")[0]]
    parts = {"z": [*range(hooked.cfg.n_heads)], "z.2": [2], "post.9": [9]}.get(point, [None])
    assert len(found) == len(parts)
    for place in (0, 2, tokens[0].shape[1] - 1):
        for head in parts:
            hooks = []
            for name in (f"blocks.1.{each}" for each in names):
                there = cache[name][:, place]
                if point == "post.9":
                    hooks.append((name, mp.patch_position(place, there[:, 9:10], neuron=9)))
                    continue
                hooks.append((name, mp.patch_position(place, there if head is None else there[:, head], head=head)))
            expected = hooked.run_with_hooks(tokens[0], fwd_hooks=hooks)[0, -1, 7].item()
            row = found.loc[1] if head is None else found.loc[1, head]
            assert row.iloc[place] == pytest.approx(expected, abs=2e-5)
    named = {"z": ["layer", "head"], "post": ["layer", "neuron"]}
    assert found.index.names == named.get(point.partition(".")[0], ["layer"])
    with pytest.raises(SpecError, match="a text has no thought that is fed back"):
        mp.sweep(demo_model, corrupted, clean, hook="thought")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (("a b", "a b c"), "corrupted has 3 tokens and clean 4"),
        (([1, 999_999], [1, 2]), r"token ids \[999999\]: the vocabulary has 0 to"),
        (("Sam has 3 pens.", "Sam has 3 pens."), "both texts go on with the same token"),
        (
            ([1] * 40, [2] * 40, "post"),
            r"hook='post': 384 neurons of 4 layers at 40 positions are 61,440 .*\(hook='post.5'\)",
        ),
    ],
)
def test_a_sweep_says_what_is_wrong(demo_model, given, problem):
    with pytest.raises(SpecError, match=problem):
        mp.sweep(demo_model, *given[:2], hook="".join(given[2:]) or "resid_post")


def test_a_wrapped_model_is_the_model(demo_model, shipped_pairs):
    special = (demo_model.pad, demo_model.bot, demo_model.eot)
    wrapped = mp.wrap(
        demo_model.hooked, demo_model.tokenizer, "codi", head=demo_model.head, n_latents=5, special_ids=special
    )
    one, other = (mp.run(each, shipped_pairs[:2], "layer", **FEW) for each in (wrapped, demo_model))
    assert one.records.equals(other.records)


def tiny(**changes) -> HookedTransformer:
    given = {"n_layers": 2, "d_model": 16, "n_ctx": 32, "d_head": 8, "d_vocab": 200, "act_fn": "gelu_new", "seed": 1}
    return HookedTransformer(HookedTransformerConfig(**{**given, "normalization_type": "LN", **changes}))


def test_a_model_that_cannot_be_patched_exactly_is_refused(demo_model):
    for changes, problem in (
        ({"normalization_type": "LNPre"}, "norms are folded into other weights.*from_pretrained_no_processing"),
        ({"act_fn": "relu"}, "activation relu, expected one of silu"),
        ({"parallel_attn_mlp": True}, "attention and MLP stand side by side"),
        ({"positional_embedding_type": "shortformer"}, "positional_embedding_type shortformer"),
    ):
        with pytest.raises(CheckpointError, match=problem):
            mp.wrap(tiny(**changes), demo_model.tokenizer)
    hooked = tiny()
    hooked.add_hook("blocks.0.hook_resid_post", lambda tensor, hook: tensor)
    with pytest.raises(CheckpointError, match=r"hooks were left on blocks\.0\.hook_resid_post"):
        mp.wrap(hooked, demo_model.tokenizer)
    with pytest.raises(CheckpointError, match="family: 'cody' is not known; did you mean codi"):
        mp.wrap(tiny(), demo_model.tokenizer, "cody")
    with pytest.raises(CheckpointError, match="needs the head that makes its thoughts"):
        mp.wrap(tiny(), demo_model.tokenizer, "codi", special_ids=(197, 198, 199))
    with pytest.raises(CheckpointError, match=r"needs tokens that its tokenizer has not: .* --special-ids PAD,BOT,EOT"):
        mp.wrap(tiny(), load_tokenizer("demo"), "codi")
    with pytest.raises(CheckpointError, match="--special-ids 1,2: expected 3 different ids for CODI: pad, bot, eot"):
        mp.wrap(tiny(), demo_model.tokenizer, "codi", special_ids=(1, 2))
    with pytest.raises(CheckpointError, match=r"special_ids \[500\]: no such token"):
        mp.wrap(tiny(), demo_model.tokenizer, "codi", special_ids=(1, 2, 500))


def test_the_surface_is_small_documented_and_says_what_it_has():
    assert len(mp.__all__) <= 20
    for name in mp.__all__:
        assert re.search(r"\w", getattr(mp, name).__doc__ or ""), name
    assert dir(mp) == sorted(mp.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'swep'; it has load_model"):
        mp.swep  # noqa: B018


def test_a_logits_batch_is_as_a_metric_is_told(demo_model, shipped_pairs):
    """What a metric of one's own is given are the targets of the batch that is run."""
    given = []

    def look(patched, baseline, answers):
        given.append((patched.shape, baseline.shape, answers.targets, answers.recipient))
        return patched[:, 0, 0, 0]

    pairs = shipped_pairs[:2]
    mp.run(demo_model, pairs, "layer", layers=(1,), checks=0, directions=("noise",), metrics={"look": look})
    from mechpatch.experiments.layouts import pair_layouts
    from mechpatch.experiments.spec import Spec

    layouts = [pair_layouts(demo_model, Spec(experiments=("layer",)), pair)[0] for pair in pairs]
    patched, baseline, targets, recipient = given[0]
    assert patched == baseline
    assert torch.equal(targets, collate(layouts).targets)
    assert recipient == 0


# --- the scripts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_needs_public_names_alone(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 15
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith("mechpatch")
        if isinstance(node, ast.Import):
            assert all(not each.name.startswith("mechpatch.") for each in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "mp":
            assert node.attr in mp.__all__


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path, demo_model, shipped_pairs, tmp_path, monkeypatch, capsys):
    given = []
    if path.stem == "text_chain":
        base = tiny_hf("llama")
        given = [str(write_base(tmp_path / "base", base)), str(write_peft(tmp_path / "lora", base)), "demo"]
    else:
        monkeypatch.setattr(mp, "load_model", lambda name: demo_model)
        monkeypatch.setattr(mp, "load_pairs", lambda name: shipped_pairs[:3])  # they take 12 at most
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [path.name, *given])
    monkeypatch.setenv("MPLBACKEND", "Agg")
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out or [*tmp_path.glob("*.png")]


def test_the_tour_runs_cell_by_cell(demo_model, shipped_pairs, monkeypatch, capsys):
    """Each cell as a notebook runs it, and what its last line shows; none asks for a network."""
    monkeypatch.setattr(mp, "load_model", lambda name: demo_model)
    monkeypatch.setattr(mp, "load_pairs", lambda name: shipped_pairs[:8])
    monkeypatch.setattr(socket.socket, "connect", lambda *given: pytest.fail("a network was asked for"))
    notebook = json.loads((EXAMPLES[0].parent.parent / "tour.ipynb").read_text(encoding="utf-8"))
    names, shown = {}, []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            *body, last = ast.parse(cell["source"]).body
            exec(compile(ast.Module(body, []), "cell", "exec"), names)
            if isinstance(last, ast.Expr):
                shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names))
            else:
                exec(compile(ast.Module([last], []), "cell", "exec"), names)
    written = re.findall(r"clean t\d written: (\d+)", capsys.readouterr().out)
    assert len(written) == demo_model.n_latents
    table, figure, view = shown[-3:]
    assert table.shape == (demo_model.n_layers, 16)
    assert figure.axes
    assert "ColoredTokens" in view._repr_html_()


@pytest.mark.skipif(find_spec("pip") is None, reason="there is no pip")
def test_the_wheel_works_outside_the_checkout(tmp_path):
    """What a user installs has its pages, its models and its scripts of the report."""
    root, copy = EXAMPLES[0].parent.parent.parent, tmp_path / "copy"  # what an older build left would be packed too
    shutil.copytree(root / "mechpatch", copy / "mechpatch", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", tmp_path, copy]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        "import mechpatch as mp\nfrom mechpatch.guide import TOPICS, page\n"
        "from mechpatch.views.report import page as p\n"
        "from mechpatch.views.html import environment\n"
        "for room in ('report', 'circuits'):\n"
        "    environment(f'mechpatch.views.{room}').get_template('page.html')\n"
        "print(mp.__file__, len(mp.load_pairs('demo')), len(TOPICS), [len(page(name)) > 99 for name in TOPICS])\n"
        "print([len(p._static(name)) for name in (*p.LIBRARIES, *p.SCRIPTS)], mp.load_model('demo').n_latents)"
    )
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "site"), "HF_HUB_OFFLINE": "1"}
    env["HOME"] = str(tmp_path)
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, check=True, capture_output=True, text=True
    )
    assert found.stdout.startswith(str(tmp_path / "site"))
    assert "False" not in found.stdout
