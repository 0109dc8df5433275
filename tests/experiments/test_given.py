"""What a user mixes up in Python is refused by the name of the argument, and never with an error of Python's own."""

from dataclasses import fields

import pytest

import mechpatch as mp
from mechpatch.errors import SpecError
from mechpatch.experiments.given import HIDDEN, Settings, loaded, metrics_of, several, spec_of
from mechpatch.experiments.spec import Spec


def function(*given):
    return given


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("demo", r"model: found str 'demo'; expected what mp.load_model\('demo'\) gives"),
        (None, r"model: found a NoneType; expected what mp.load_model\(…\) or mp.wrap\(…\) gives"),
    ],
)
def test_a_model_is_loaded_first(found, said):
    with pytest.raises(SpecError, match=said):
        loaded(found)


def test_a_loaded_model_is_taken(demo_model):
    assert loaded(demo_model) is demo_model


@pytest.mark.parametrize("given", [function, [function], ("self", function)])
def test_a_donor_without_a_name_is_refused(given):
    with pytest.raises(SpecError, match=r"nulls: found a function; expected names, or mp.Donor\(name=…, function=…\)"):
        several("nulls", given, mp.Donor)


def test_a_kind_of_experiment_is_named():
    with pytest.raises(SpecError, match=r"experiments: found int '3'; expected names, or mp.Kind\(name=…, cells=…\)"):
        several("experiments", 3, mp.Kind)


def test_names_and_values_are_taken_alone_or_together():
    donor = mp.Donor(name="mine", function=function)
    assert several("nulls", donor, mp.Donor) == several("nulls", [donor], mp.Donor) == [donor]
    assert several("nulls", "self", mp.Donor) == ["self"]
    assert several("nulls", ("self", donor), mp.Donor) == ["self", donor]
    assert several("nulls", (), mp.Donor) == []


@pytest.mark.parametrize("given", [function, [function], {"mine": "entropy"}, "entropy"])
def test_a_metric_without_a_name_or_function_is_refused(given):
    with pytest.raises(SpecError, match=r"metrics: found .*; expected the name of a column for each function"):
        metrics_of(given)


def test_metrics_are_taken_by_name_or_as_values():
    metric = mp.Metric(name="mine", function=function)
    assert metrics_of({"mine": function}) == metrics_of([metric]) == metrics_of(metric) == (metric,)
    assert metrics_of(()) == metrics_of({}) == ()


def test_a_single_layer_or_hook_point_need_not_be_a_tuple():
    spec = spec_of("run", (), {"layers": 1, "hooks": "z", "sites": ("t0", "t1")}, experiments=("position",))
    assert (spec.layers, spec.hooks, spec.sites) == ((1,), ("z",), ("t0", "t1"))


def test_both_directions_have_one_name():
    found = [spec_of("run", (), {"directions": each}, experiments=("layer",)) for each in ("both", ("both",), "noise")]
    assert [each.directions for each in found] == [("denoise", "noise"), ("denoise", "noise"), ("noise",)]
    with pytest.raises(SpecError, match=r"'dnoise' is not known; did you mean denoise\? expected denoise, noise, both"):
        spec_of("run", (), {"directions": "dnoise"}, experiments=("layer",))
    with pytest.raises(SpecError, match="expected each once"):
        spec_of("run", (), {"directions": ("noise", "both")}, experiments=("layer",))


def test_a_setting_that_is_misspelt_has_the_nearest_name():
    with pytest.raises(
        SpecError, match=r"run\(\): 'metric' is not known; did you mean metrics\? expected metrics, hook"
    ):
        spec_of("run", ("metrics",), {"metric": {}}, experiments=("position",))
    for typed, name in (("latents", "n_thoughts"), ("check", "checks"), ("answer_prefix", "prefix")):
        with pytest.raises(SpecError, match=rf"{typed!r} is not known; did you mean {name}\? expected "):
            spec_of("run", (), {typed: 1}, experiments=("position",))
    with pytest.raises(SpecError, match="'own' is not known"):
        spec_of("run", (), {"own": ()}, experiments=("position",))


def test_one_pair_is_a_list_of_one(shipped_pairs):
    assert mp.load_pairs(shipped_pairs[3]) == [shipped_pairs[3]]


def test_an_editor_knows_every_setting():
    """The null donors have an argument of their own, because they may be values, too."""
    assert [*Settings.__annotations__] == [each.name for each in fields(Spec) if each.name not in (*HIDDEN, "nulls")]
