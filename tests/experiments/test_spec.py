from dataclasses import fields, replace

import pytest
import typer

from mechpatch import cli
from mechpatch.cli import early
from mechpatch.errors import SpecError
from mechpatch.experiments.spec import Spec, parse_experiments, parse_layers, recipient
from mechpatch.names import OPTIONS, as_typed


@pytest.mark.parametrize(
    ("text", "layers"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("5,0-1, 1", (0, 1, 5)), ("15-15", (15,))]
)
def test_layers_are_read(text, layers):
    assert parse_layers(text) == layers


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "0--2", "1.5", "0,,1", "0-99999999999"])
def test_a_wrong_layer_list_is_quoted(text):
    with pytest.raises(SpecError, match="expected for example 0-3,7"):
        parse_layers(text)


@pytest.mark.parametrize(
    "field",
    [
        {"experiments": ("layers",)},
        {"experiments": ()},
        {"experiments": ("layer", "layer")},
        {"experiments": ("subset",)},
        {"experiments": ("layer",), "subsets": (("t0",),)},
        {"experiments": ("window",), "window": 1},
        {"experiments": ("layer",), "directions": ("up",)},
        {"experiments": ("layer",), "nulls": ("none",)},
        {"experiments": ("layer",), "thoughts": "words"},
        {"experiments": ("layer",), "memory": 0},
        {"experiments": ("layer",), "checks": -1},
        {"experiments": ("layer",), "batch_size": 0},
        {"experiments": ("layer",), "min_gap": 0.0},
        {"experiments": ("layer",), "min_gap": float("nan")},
    ],
)
def test_a_wrong_value_is_named(field):
    with pytest.raises(SpecError, match=r"expected|--sets"):
        Spec(**field)


def test_layers_of_the_model():
    assert Spec(experiments=("layer",)).select_layers(3) == (0, 1, 2)
    assert Spec(experiments=("layer",), layers=(1,)).select_layers(3) == (1,)
    with pytest.raises(SpecError, match=r"--layers 3: no such layer; the model has layers 0 to 2"):
        Spec(experiments=("layer",), layers=(1, 3)).select_layers(3)


def test_recipient():
    assert recipient("denoise") == 1
    assert recipient("noise") == 0


def test_experiments_are_read():
    assert parse_experiments(["chained", "leave-one-out", "relay"]) == ("relay", "cumulative", "leave_one_out")
    assert parse_experiments(["all"]) == ("layer", "position", "relay", "cumulative")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"min_gap": float("inf")}, "--min-gap is infinite"),
        ({"sites": ()}, "--sites: nothing was asked for"),
        ({"nulls": ("noise",)}, r"--nulls: 'noise' is not known; did you mean gaussian\? expected self, other-pair"),
        ({"nulls": ("self", "gaussian", "self")}, "--nulls self,gaussian,self: expected each once"),
        ({"nulls": ("self", "other_pairs")}, "--nulls: 'other-pairs' is not known; did you mean other-pair[?]"),
        ({"hooks": ("attn",)}, "--hooks: 'attn' is not known; did you mean attn_out"),
        ({"hooks": ()}, "--hooks: nothing was asked for, expected some of resid_pre, resid_mid"),
        ({"hooks": ("z", "v", "z")}, "--hooks z,v,z: expected each once"),
        ({"hooks": ("z", "post.7", "z.3")}, "--hooks z,z.3: z is all of them, z.3 too; give one of the two"),
        ({"hooks": ("post.7", "post.7")}, "--hooks post.7,post.7: expected each once"),
        (
            {"hooks": ("post.07",)},
            "--hooks: hook point 'post.07': expected one of its parts by number, for example post.5",
        ),
        ({"hooks": ("kv.1",)}, "--hooks: hook point kv has no heads or neurons, but 1 is asked for"),
        ({"hooks": ("thought",), "thoughts": "text"}, "--hooks thought: with --thoughts text no thought is fed back"),
        ({"engine": "hooks"}, "--engine: 'hooks' is not known; expected fast, reference"),
        ({"layers": (1, 0, 1)}, "--layers 1,0,1: expected each once"),
        ({"memory": 0}, "--max-memory is 0, expected at least 1 MB"),
        ({"prefix": "\udcff"}, "--answer-prefix .* holds bytes that are no text"),
        ({"separator": "a\udcff"}, "--separator .* holds bytes that are no text"),
    ],
)
def test_values_that_would_fail_later_fail_at_once(values, message):
    with pytest.raises(SpecError, match=message):
        Spec(experiments=("layer",), **values)


def test_heads_and_neurons_are_asked_for_by_number():
    spec = Spec(experiments=("position",), hooks=("post.77", "z", "post.5"))
    assert spec.points == ("post", "z")
    assert (spec.parts("post"), spec.parts("z")) == ((5, 77), ())


def test_equal_sets_in_any_order_are_refused():
    for sets in ((("t0", "t1"), ("t1", "t0")), (("t2",), ("t0",), ("t2", "t2"))):
        with pytest.raises(SpecError, match="both are the same sites; give them once"):
            Spec(experiments=("subset",), subsets=sets)
    Spec(experiments=("subset",), subsets=(("t0", "t1"), ("t0",), ("t1", "t2")))


def test_all_neurons_are_refused_before_a_model_is_loaded():
    known = early.Outline(n_layers=16, neurons=8192, feeds_back=True, latents=6, has_bot=True)
    asked = Spec(experiments=("position",), hooks=("post",))
    with pytest.raises(SpecError, match=r"are at least 1,179,648 cells .*--screen 200"):
        early.judge(asked, known)
    for less in ({"screen": 9}, {"hooks": ("post.5",)}, {"layers": (8,), "sites": ("t2",)}):
        early.judge(replace(asked, **less), known)


@pytest.mark.parametrize("text", ["9" * 5000, "0-" + "9" * 5000, "100000"])
def test_a_layer_that_no_model_has(text):
    with pytest.raises(SpecError, match="is more than any model has"):
        parse_layers(text)


def test_every_field_has_its_name_on_the_command_line():
    assert list(OPTIONS) == [field.name for field in fields(Spec)]
    parameters = typer.main.get_group(cli.app).commands["run"].params
    assert {*OPTIONS.values()} - {OPTIONS["own"]} <= {name for each in parameters for name in (*each.opts, each.name)}


@pytest.mark.parametrize(
    ("field", "value", "typed"),
    [
        ("experiments", ("relay", "leave_one_out"), "relay leave-one-out"),
        ("nulls", ["other_pair", "self"], "other-pair,self"),
        ("hooks", ("resid_post", "z.3"), "resid_post,z.3"),
        ("layers", (0, 3), "0,3"),
        ("layers", (), "(not given)"),
        ("subsets", [["t0", "t2"], ["bot"]], "t0+t2,bot"),
        ("memory", 512 * 2**20, "512"),
        ("memory", None, "(not given)"),
        ("separator", "\n", r'"\n"'),
        ("prefix", "the_answer:", '"the_answer:"'),
        ("min_gap", 0.1, "0.1"),
    ],
)
def test_values_are_spelt_as_they_are_typed(field, value, typed):
    assert as_typed(field, value) == typed
