import numpy as np
import pytest
from report_arrays import decoded

from mechpatch.views.report.arrays import compact, exact


def test_values_of_pairs_are_within_a_step_of_their_range():
    values = np.random.default_rng(0).normal(size=(5, 3, 2)) * 100
    values[0, 0, 0] = np.nan
    found = decoded(compact(values), values.size).reshape(values.shape)
    assert compact(values)["kind"] == "i16"
    np.testing.assert_allclose(found, values, rtol=0, atol=0.5001 * (np.nanmax(values) - np.nanmin(values)) / 65_000)
    assert np.isnan(found[0, 0, 0])


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 0.0, np.nan], "u8"),
        ([2.0, np.nan, 254.0], "u8"),
        ([2.0, 255.0], "i16"),
        ([-1.0, 1.0], "i16"),
        ([0.25, 0.25], "constant"),
        ([np.nan, np.nan], "constant"),
        ([], "constant"),
        ([0.5, np.nan, 2.0], "i16"),
        ([-3.0, 1.5], "i16"),
        ([np.nan, 1.0], "u8"),
        ([5e-324, 0.0], "f32"),
    ],
)
def test_every_kind_keeps_what_it_holds(values, kind):
    array = np.array(values)
    assert compact(array)["kind"] == kind
    found = decoded(compact(array), array.size)
    np.testing.assert_allclose(found, array, atol=1e-4)


def test_infinite_counts_as_undefined():
    found = decoded(compact(np.array([np.inf, 1.0, 2.0])), 3)
    assert np.isnan(found).tolist() == [True, False, False]


def test_means_are_single_precision():
    values = np.array([[1 / 3, np.nan], [2e-8, -1e5]])
    np.testing.assert_array_equal(decoded(exact(values), 4), values.astype(np.float32).ravel().astype(float))
