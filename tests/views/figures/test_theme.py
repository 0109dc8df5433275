import matplotlib as mpl
import numpy as np
import pytest
from records import make_records

from mechpatch.catalogue import MEASURES, measure_of
from mechpatch.views.figures.theme import colours, ink_on, shown_as, style


def test_settings_last_as_long_as_the_block():
    before = dict(mpl.rcParams)
    with style():
        assert mpl.rcParams["svg.hashsalt"] == "mechpatch"
    assert dict(mpl.rcParams) == before


def test_every_number_of_the_records_has_a_name():
    table = make_records(pairs=1)
    numbers = {field.name for field in table.schema if str(field.type) == "double" and not field.name.endswith("_run")}
    assert numbers <= MEASURES.keys()


@pytest.mark.parametrize("values", [[0.1, 0.7], [-0.9, 0.2], [np.nan, np.nan], []])
def test_zero_is_white_on_a_signed_scale(values: list[float]):
    colour_map, scale = colours(MEASURES["recovery"], np.array(values, dtype=float))
    assert scale(0.0) == 0.5
    assert min(colour_map(scale(0.0))[:3]) > 0.95
    assert scale.vmax is not None
    assert scale.vmin == -scale.vmax


def test_noise_does_not_fill_the_scale():
    _, scale = colours(MEASURES["recovery"], np.array([0.004, -0.002]))
    assert scale.vmax == MEASURES["recovery"].smallest_limit
    _, scale = colours(MEASURES["kl_divergence"], np.array([0.5, 3.0]))
    assert (scale.vmin, scale.vmax) == (0.0, 3.0)


def test_what_denoise_recovers_noise_destroys():
    assert shown_as("recovery", "noise") == "destruction"
    assert shown_as("recovery", "denoise") == "recovery"
    assert shown_as("kl_divergence", "noise") == "kl_divergence"


def test_a_label_stands_alone_with_its_unit_and_unknown_columns_keep_their_name():
    assert MEASURES["kl_divergence"].axis == "KL divergence from baseline (nats)"
    assert measure_of("field.steps").axis == "Field.steps"


def test_numbers_on_cells_can_be_read():
    assert ink_on((0.0, 0.0, 0.2, 1.0)) == "white"
    assert ink_on((1.0, 1.0, 0.9, 1.0)) != "white"
