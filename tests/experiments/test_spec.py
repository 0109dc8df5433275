import pytest

from mechpatch.errors import SpecError
from mechpatch.experiments.spec import Spec, parse_layers


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
        {"experiment": "layers"},
        {"experiment": "layer", "direction": "up"},
        {"experiment": "layer", "nulls": ("none",)},
        {"experiment": "layer", "thoughts": "words"},
        {"experiment": "chained", "modes": ()},
        {"experiment": "layer", "batch_size": 0},
        {"experiment": "layer", "min_gap": 0.0},
        {"experiment": "layer", "min_gap": float("nan")},
    ],
)
def test_a_wrong_value_is_named(field):
    with pytest.raises(SpecError, match=r"expected|needs"):
        Spec(**field)


def test_layers_of_the_model():
    assert Spec(experiment="layer").select_layers(3) == (0, 1, 2)
    assert Spec(experiment="layer", layers=(1,)).select_layers(3) == (1,)
    with pytest.raises(SpecError, match=r"\[3\] do not exist; the model has layers 0 to 2"):
        Spec(experiment="layer", layers=(1, 3)).select_layers(3)


def test_recipient():
    assert Spec(experiment="layer").recipient == 1
    assert Spec(experiment="layer", direction="noise").recipient == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed is -1, expected at least 0"),
        ({"min_gap": float("inf")}, "min_gap is infinite"),
        ({"sites": ()}, "sites: nothing was asked for"),
        ({"nulls": ("self", "noise", "self")}, "nulls: self, noise, self was asked for, expected each once"),
        ({"prefix": "\udcff"}, "answer prefix .* holds bytes that are no text"),
        ({"separator": "a\udcff"}, "separator .* holds bytes that are no text"),
    ],
)
def test_values_that_would_fail_later_fail_at_once(values, message):
    with pytest.raises(SpecError, match=message):
        Spec(experiment="layer", **values)


@pytest.mark.parametrize("text", ["9" * 5000, "0-" + "9" * 5000, "100000"])
def test_a_layer_that_no_model_has(text):
    with pytest.raises(SpecError, match="is more than any model has"):
        parse_layers(text)
