"""A run that grows: equal to one from nothing, whatever it grows by; what it says of itself, and what it refuses."""

import json
import os
import shutil
import signal
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest
from faults.forks import in_child, watched
from faults.kills import SIGKILLED
from faults.runs import half_written, left_by
from models_under_test import model_under_test

from mechpatch import workflow
from mechpatch.catalogue import STORED
from mechpatch.data import pair_path
from mechpatch.errors import SpecError
from mechpatch.experiments.growth import join
from mechpatch.experiments.spec import Spec
from mechpatch.storage.results import read_effects, read_spec

# Without checks, which take most of the time of so small a run.
SMALL = Spec(experiments=("layer",), layers=(1,), thoughts="placeholder", n_thoughts=2, batch_size=3, checks=0, say=3)
LARGE = replace(SMALL, directions=("denoise", "noise"), nulls=("other_pair",))
N_PAIRS = 4  # a full batch and a rest
SAME = 1e-3  # nats or logits: many times the noise floor of the model


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "pairs.json"
    path.write_text(json.dumps(json.loads(pair_path("demo").read_text())[:N_PAIRS]))
    return path


@pytest.fixture(scope="module")
def run(pairs):
    """Runs a spec in a folder, without figures; what was said of what was there."""

    def run(folder, spec, limit=None, only=()):
        said, model = [], model_under_test("tiny-float32")
        file = workflow.read_pairs(str(pairs), model, spec, limit=limit, only=only)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workflow, "plot_run", lambda folder, include_incorrect: [])
            workflow.run_to_directory(model, spec, file, folder / "run", cache=None, say=said.append)
        return [text.removeprefix(f"{folder / 'run'}: ") for text in said]

    return run


@pytest.fixture(scope="module")
def small(run, tmp_path_factory):
    """Two pairs of the first batch, in one direction, without nulls."""
    folder = tmp_path_factory.mktemp("small")
    run(folder, SMALL, limit=2)
    return folder


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    """All pairs, directions and nulls, from nothing."""
    folder = tmp_path_factory.mktemp("whole")
    assert run(folder, LARGE) == []
    return folder


def left(folder):
    """As `left_by`, but how the run came about."""
    found = left_by(folder)
    found["spec.json"] = {key: value for key, value in found["spec.json"].items() if key != "history"}
    return found


def test_grown_by_pairs_directions_and_nulls_it_has_the_bytes_of_a_run_from_nothing(run, small, whole, tmp_path):
    shutil.copytree(small / "run", tmp_path / "run")
    assert run(tmp_path, replace(LARGE, nulls=()), limit=2) == [
        "found 2 of 4 patched runs (1 of 2 directions); 2 pairs to run"
    ]
    assert run(tmp_path, LARGE) == [
        "found 0 of 16 patched runs (2 of 4 pairs, 1 of 2 donors); 4 pairs to run, 2 of them again, in a batch that "
        "has grown"
    ]
    assert left(tmp_path) == left(whole)
    history = read_spec(tmp_path / "run")["history"]
    assert len(history) == 2
    log = (tmp_path / "run" / "run.log").read_text()
    assert log.count("found 0 of 16 patched runs (2 of 4 pairs") == 1


@pytest.mark.parametrize(
    ("kind", "place", "count"), [("write", "run/shards/", 3), ("rename", "run/effects.parquet", 1)]
)
def test_killed_while_it_grows_and_resumed_it_has_the_bytes_of_a_run_from_nothing(
    run, small, whole, tmp_path, kind, place, count
):
    """In the midst of the third new shard; when the spec is that of the whole, and the records are not yet."""
    folder, seen = tmp_path / "run", []
    shutil.copytree(small / "run", folder)

    def kill(number, operation):
        seen.extend([operation] * (operation.kind == kind and operation.path.startswith(place)))
        if len(seen) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    ended = in_child(lambda: watched(lambda: run(tmp_path, LARGE), [folder], kill), tmp_path)
    assert ended.code == SIGKILLED, ended.said
    assert (read_spec(folder)["spec"]["nulls"] == []) == (kind == "write")
    assert not half_written(tmp_path)
    run(tmp_path, LARGE)
    assert left(tmp_path) == left(whole)


def test_it_grows_by_single_pairs(run, pairs, tmp_path):
    names = [each["pair_id"] for each in json.loads(pairs.read_text())]
    run(tmp_path / "grown", SMALL, only=names[3:])
    assert run(tmp_path / "grown", SMALL, limit=2) == [
        "holds more than is asked for, and keeps it: 1 more pair. Summary and report are of it all",
        "found 1 of 3 patched runs (1 of 3 pairs); 2 pairs to run",
    ]
    run(tmp_path / "nothing", SMALL, only=[names[3], *names[:2]])
    assert left(tmp_path / "grown") == left(tmp_path / "nothing")
    assert read_spec(tmp_path / "grown" / "run")["pairs"]["run"] == [*names[:2], names[3]]


def test_it_grows_by_experiments_layers_sites_and_sets(run, tmp_path):
    small = replace(SMALL, experiments=("layer", "position"), sites=("t0",))
    large = replace(
        small,
        experiments=("layer", "position", "subset"),
        layers=(0, 1),
        sites=("t0", "t1"),
        subsets=(("t0", "t1"),),
    )
    run(tmp_path / "grown", small)
    before = read_effects(tmp_path / "grown" / "run")
    said = run(tmp_path / "grown", large)
    assert said == ["found 8 of 32 patched runs (2 of 3 experiments, 1 of 2 layers); 4 pairs to run"]
    run(tmp_path / "nothing", large)
    grown, nothing = (read_effects(tmp_path / name / "run") for name in ("grown", "nothing"))
    assert grown.drop_columns(list(STORED)).equals(nothing.drop_columns(list(STORED)))
    for name in STORED:
        found, expected = (np.array(table[name].to_pylist(), dtype=float) for table in (grown, nothing))
        assert np.allclose(found, expected, atol=SAME, equal_nan=True), name
    stands = (pc.field("layer") == 1) & pc.field("experiment").isin(["layer", "position"]) & (pc.field("site") != "t1")
    assert grown.filter(stands).equals(before)


def test_it_grows_by_hook_points_and_heads(run, tmp_path):
    small, large = (replace(SMALL, experiments=("position",), hooks=hooks) for hooks in (("z",), ("attn_out", "z")))
    run(tmp_path / "grown", small, limit=3)
    assert run(tmp_path / "grown", large, limit=3) == ["found 60 of 75 patched runs (1 of 2 hooks); 3 pairs to run"]
    run(tmp_path / "nothing", large, limit=3)
    grown, nothing = (read_effects(tmp_path / name / "run") for name in ("grown", "nothing"))
    assert grown.drop_columns(list(STORED)).equals(nothing.drop_columns(list(STORED)))
    assert read_spec(tmp_path / "grown" / "run")["spec"]["hooks"] == ["attn_out", "z"]
    assert run(tmp_path / "grown", small, limit=3)[0].startswith(
        "holds more than is asked for, and keeps it: --hooks attn_out"
    )


def test_named_heads_grow_to_all(run, tmp_path):
    """What is there by number is not run again, and what is there whole is not named beside it."""
    one, every = (replace(SMALL, experiments=("position",), hooks=hooks) for hooks in (("z.3", "z.1"), ("z",)))
    run(tmp_path / "run", one, limit=1)
    assert run(tmp_path / "run", every, limit=1) == ["found 10 of 20 patched runs; 1 pair to run"]
    assert read_spec(tmp_path / "run" / "run")["spec"]["hooks"] == ["z"]
    assert run(tmp_path / "run", one, limit=1)[-1] == "found all 20 patched runs of 1 pair"


def test_who_asks_for_less_keeps_what_stands(run, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    assert run(tmp_path / "copy", SMALL, limit=1) == [
        "holds more than is asked for, and keeps it: 3 more pairs, --direction noise, --nulls other-pair. Summary and "
        "report are of it all",
        "found all 16 patched runs of 4 pairs",
    ]
    assert left(tmp_path / "copy") == left(whole)


REFUSED = {
    "other weights": ({"fingerprint": "other"}, "--model: the run has base (FOUND), asked for base (other): its files"),
    "another model": (
        {"fingerprint": "other", "base": "new"},
        "--model: the run has base (FOUND), asked for new (other)",
    ),
    "another dtype": ({"fingerprint": "other", "dtype": "float64"}, "--dtype: the run has float32, asked for float64"),
    "another alpha": ({"fingerprint": "other", "lora_alpha": 32.0}, "--lora-alpha: the run has 16, asked for 32"),
    "other pairs": ({"content": "other"}, "--pairs: the run has 4 usable pairs of p.json, asked for 4 usable pairs of"),
    "another seed": ({"seed": 1}, "--seed: the run has 0, asked for 1"),
    "another prefix": ({"prefix": "So:"}, '--answer-prefix: the run has "The answer is:", asked for "So:"'),
    "other thoughts": ({"thoughts": "latent"}, "--thoughts: the run has placeholder, asked for latent"),
    "other latents": ({"n_thoughts": 3}, "--latents: the run has 2, asked for 3"),
    "another batch": ({"batch_size": 2}, "--batch-size: the run has 3, asked for 2"),
    "other words": ({"say": 4}, "--say: the run has 3, asked for 4"),
    "no words": ({"say": None}, "--say: the run has 3, asked for (not given)"),
    "another gap": ({"min_gap": 0.5}, "--min-gap: the run has 0.1, asked for 0.5"),
    "another engine": ({"engine": "reference"}, "--engine: the run has fast, asked for reference"),
    "other memory": ({"memory": 2**30}, "--max-memory: the run has (not given), asked for 1024"),
}


def changed(described, **values):
    """What a run is asked, with other values wherever it has entries of these names."""
    if isinstance(described, dict):
        return {name: values.get(name, changed(value, **values)) for name, value in described.items()}
    return described


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_change_is_refused_by_its_option(whole, what):
    values, message = REFUSED[what]
    found = read_spec(whole / "run")
    about = {"base": "base", "dtype": "float32", "lora_alpha": 16.0}
    found["environment"] |= {"model": about, "pairs": "p.json"}
    asked = changed(deepcopy(found), **values)
    with pytest.raises(SpecError) as caught:
        join(found, asked, True)
    first, line, *rest, last = str(caught.value).splitlines()
    assert first == "holds another run:"
    assert line.strip().startswith(message.replace("FOUND", "tiny-float32"))
    assert rest == [] or what == "another model"
    assert last == "choose another folder, or ask for what the run has"


def test_what_matters_most_is_refused_first(whole):
    found = read_spec(whole / "run")
    asked = changed(deepcopy(found), fingerprint="other", content="other", seed=1, prefix="So:")
    with pytest.raises(SpecError) as caught:
        join(found, asked, True)
    names = [line.split(":")[0].strip() for line in str(caught.value).splitlines()[1:-1]]
    assert names == ["--model", "--pairs", "--answer-prefix", "--seed"]


def test_what_is_read_by_no_experiment_may_change(whole):
    """A window without `window`, a separator without chains of text, and how many cells are checked."""
    found = read_spec(whole / "run")
    join(found, changed(deepcopy(found), window=5, separator="\n", checks=9), True)
