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
