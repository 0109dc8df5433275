from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from mechpatch.stats import (
    benjamini_hochberg,
    bootstrap_mean,
    effect_size,
    minimum_detectable_effect,
    rank_correlation,
    sign_flip_p,
)
from mechpatch.stats.estimates import CHUNK, _draws


def skewed(n: int, cells: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).exponential(2.0, (n, cells))


def test_interval_agrees_with_scipy_bca():
    values = skewed(25)
    found = bootstrap_mean(values, seed=1, resamples=20_000)
    for cell in range(values.shape[1]):
        expected = stats.bootstrap(
            (values[:, cell],), np.mean, method="BCa", n_resamples=20_000, rng=np.random.default_rng(5)
        ).confidence_interval
        np.testing.assert_allclose([found.low[cell], found.high[cell]], expected, atol=0.05)
        percentile = np.array([found.low[cell], found.high[cell]]) - 0.1
        with pytest.raises(AssertionError):  # the agreement is closer than a shift that matters
            np.testing.assert_allclose(percentile, expected, atol=0.05)
    np.testing.assert_allclose(found.mean, values.mean(axis=0))
    assert (found.method == "BCa").all()


@pytest.mark.parametrize("n", [3, 4, 5, 12, 57])
@pytest.mark.parametrize("kind", ["exponential", "zeros and ones"])
def test_given_the_same_resamples_the_limits_are_those_of_scipy(n: int, kind: str):
    generator = np.random.default_rng(n)
    values = generator.exponential(2.0, (n, 12)) if kind == "exponential" else 1.0 * (generator.random((n, 12)) < 0.7)
    values = values[:, np.ptp(values, axis=0) > 0]  # scipy has no limits for constant values
    assert values.shape[1] >= 2
    found = bootstrap_mean(values, seed=3, resamples=2000)
    for cell in range(values.shape[1]):
        if found.method[cell] != "BCa":
            continue
        resampled = SimpleNamespace(bootstrap_distribution=values[:, cell] @ _draws(3, n, 2000) / n)
        if kind == "exponential":  # a resample of every value once: scipy's own rounding decides on which side it is
            resampled.bootstrap_distribution[(_draws(3, n, 2000) == 1).all(axis=0)] = values[:, cell].mean()
        expected = stats.bootstrap(
            (values[:, cell],), np.mean, method="BCa", n_resamples=0, bootstrap_result=resampled
        ).confidence_interval
        np.testing.assert_allclose([found.low[cell], found.high[cell]], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_an_interval_moves_and_grows_with_its_values(n: int):
    """Which it does only if rounding does not decide whether a resample's mean is below the mean."""
    whole = np.random.default_rng(n).integers(0, 9, (n, 50)).astype(float)
    plain, moved = bootstrap_mean(whole, seed=0), bootstrap_mean(0.1 * whole - 0.7, seed=0)
    for name in ("low", "high"):
        np.testing.assert_allclose(getattr(moved, name), 0.1 * getattr(plain, name) - 0.7, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(moved.method, plain.method)


@pytest.mark.parametrize(
    ("n", "normal", "exponential"), [(2, 0.50, 0.46), (5, 0.84, 0.80), (10, 0.90, 0.88), (30, 0.93, 0.93)]
)
def test_intervals_cover_as_often_as_the_docstring_says(n: int, normal: float, exponential: float):
    generator = np.random.default_rng(11)
    for values, expected in (
        (generator.normal(1.0, 1.0, (n, 1500)), normal),
        (generator.exponential(1.0, (n, 1500)), exponential),
    ):
        found = bootstrap_mean(values, seed=0, resamples=1000)
        covered = ((found.low <= 1.0) & (found.high >= 1.0)).mean()
        assert covered == pytest.approx(expected, abs=0.035)  # four standard errors are 0.05 at 0.5, 0.03 at 0.9


@pytest.mark.parametrize(
    ("values", "method"),
    [
        ([np.nan, np.nan, np.nan], "none"),
        ([2.0, np.nan, np.nan], "none"),
        ([2.0, 5.0, np.nan], "percentile"),
        ([2.0, 2.0, 2.0], "percentile"),
        ([1.0, 2.0, 5.0], "BCa"),
        ([0.0, 0.0, 1.0, 1.0, 1.0], "BCa"),
    ],
)
def test_a_method_is_named_for_every_cell(values: list[float], method: str):
    found = bootstrap_mean(np.array(values)[:, None], seed=0)
    assert found.method.tolist() == [method]
    assert np.isnan(found.low[0]) == (method == "none")
    if method != "none":
        assert np.nanmin(values) <= found.low[0] <= found.mean[0] <= found.high[0] <= np.nanmax(values)


def test_each_cell_is_estimated_as_if_it_were_alone():
    generator = np.random.default_rng(5)
    values = generator.exponential(1.0, (9, 40))
    values[generator.random(values.shape) < 0.5] = np.nan  # as good as every cell is defined for other pairs
    together, p = bootstrap_mean(values, seed=2), sign_flip_p(values, seed=2)
    for cell in range(40):
        kept = values[~np.isnan(values[:, cell]), cell]
        alone = bootstrap_mean(kept, seed=2)
        assert together.n[cell] == len(kept)
        assert together.method[cell] == alone.method
        for name in ("mean", "low", "high"):
            np.testing.assert_allclose(getattr(together, name)[cell], getattr(alone, name), rtol=0, atol=1e-12)
        np.testing.assert_allclose(p[cell], sign_flip_p(kept, seed=2), rtol=0, atol=0)


def test_limits_of_skewed_values_hardly_depend_on_the_seed():
    values = np.random.default_rng(0).exponential(size=57) ** 2
    found = [bootstrap_mean(values, seed) for seed in range(20)]
    width = np.mean([each.high - each.low for each in found])
    assert np.std([each.high for each in found]) < 0.03 * width  # with 2,000 resamples 0.042
    assert np.std([each.low for each in found]) < 0.03 * width


def test_many_cells_are_resampled_a_part_at_a_time():
    values = np.random.default_rng(0).exponential(size=(9, CHUNK + 3))
    together, last = bootstrap_mean(values, seed=0), bootstrap_mean(values[:, -2:], seed=0)
    np.testing.assert_allclose([together.low[-2:], together.high[-2:]], [last.low, last.high], rtol=0, atol=1e-12)
    means = values.T @ _draws(0, 9, 9999) / 9
    assert (means.min(axis=1) < together.low).all()
    assert (together.high < means.max(axis=1)).all()


def test_bca_is_not_the_percentile_interval_of_skewed_values():
    values = skewed(15, 1)[:, 0]
    found = bootstrap_mean(values, seed=0, resamples=20_000)
    plain = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(0))
    assert found.low > plain.confidence_interval.low + 0.05
    assert found.high > plain.confidence_interval.high + 0.05


def test_interval_covers_the_mean_as_often_as_it_says():
    experiments = np.random.default_rng(2).normal(1.0, 1.0, (30, 1000))
    found = bootstrap_mean(experiments, seed=0, resamples=1000)
    covered = ((found.low <= 1.0) & (found.high >= 1.0)).mean()
    assert 0.91 <= covered <= 0.97  # 0.95, less a little for 30 pairs; four standard errors are 0.03
    half = bootstrap_mean(experiments, seed=0, resamples=1000, level=0.5)
    assert 0.43 <= ((half.low <= 1.0) & (half.high >= 1.0)).mean() <= 0.56


def test_undefined_values_are_left_out_of_their_own_cell():
    values = skewed(12, 2)
    holed = values.copy()
    holed[[1, 5], 1] = np.nan
    found, whole = bootstrap_mean(holed, seed=3), bootstrap_mean(values, seed=3)
    alone = bootstrap_mean(np.delete(values[:, 1], [1, 5]), seed=3)
    assert found.n.tolist() == [12, 10]
    for name in ("mean", "low", "high"):
        assert getattr(found, name)[0] == pytest.approx(getattr(whole, name)[0])
        assert getattr(found, name)[1] == pytest.approx(float(getattr(alone, name)))


def test_few_or_constant_values_say_what_could_be_had():
    nan = np.nan
    values = np.array([[nan, 2.0, 0.1, 1.0], [nan, nan, 0.1, 3.0], [nan, nan, 0.1, nan]])
    found = bootstrap_mean(values, seed=0)
    assert found.n.tolist() == [0, 1, 3, 2]
    assert found.method.tolist() == ["none", "none", "percentile", "percentile"]
    np.testing.assert_array_equal(found.mean, [nan, 2.0, np.mean([0.1] * 3), 2.0])
    np.testing.assert_array_equal(found.low[:3], [nan, nan, found.mean[2]])
    np.testing.assert_array_equal(found.high[:3], [nan, nan, found.mean[2]])
    assert found.low[3] == 1.0
    assert found.high[3] == 3.0
    assert bootstrap_mean(np.zeros((0, 2, 3)), seed=0).mean.shape == (2, 3)


def test_equal_seeds_give_equal_bytes_and_cells_share_resamples():
    values = skewed(20, 1)
    twice = np.concatenate([values, values], axis=1)
    found = bootstrap_mean(twice, seed=7)
    assert found.low.tobytes() == bootstrap_mean(twice, seed=7).low.tobytes()
    assert found.low[0] == found.low[1]
    assert found.low[0] != bootstrap_mean(twice, seed=8).low[0]


def test_a_difference_is_of_the_pairs_that_both_have():
    a, b = np.array([1.0, 2.0, np.nan, 5.0]), np.array([0.0, 3.0, 1.0, np.nan])
    found = bootstrap_mean(a - b, seed=0)
    assert (float(found.mean), int(found.n)) == (0.0, 2)


def test_sign_flips_of_few_pairs_are_counted_by_hand():
    # Of the eight signed sums of 1, 2, 3, two are as far from zero as 6 and four as far as 4.
    np.testing.assert_allclose(sign_flip_p(np.array([[1.0, -1.0], [2.0, 2.0], [3.0, 3.0]]), seed=0), [2 / 8, 4 / 8])
    assert sign_flip_p(np.zeros(5), seed=0) == 1.0
    assert np.isnan(sign_flip_p(np.full(5, np.nan), seed=0))


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_sign_flips_of_few_pairs_are_those_of_scipy(n: int):
    values = np.random.default_rng(n).integers(-4, 9, (n, 10)).astype(float)  # with ties and zeros
    exact = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=2**n, axis=0)
    np.testing.assert_allclose(sign_flip_p(values, seed=0), exact.pvalue, rtol=0, atol=1e-12)


def test_without_an_effect_p_is_under_a_twentieth_one_time_in_twenty():
    p = sign_flip_p(np.random.default_rng(8).normal(0.0, 1.0, (20, 3000)), seed=0, resamples=999)
    assert (p <= 0.05).mean() == pytest.approx(0.05, abs=0.016)  # four standard errors


def test_sign_flips_of_many_pairs_agree_with_scipy_and_are_never_zero():
    values = np.random.default_rng(4).normal(0.3, 1.0, 40)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=9999, rng=np.random.default_rng(1)
    ).pvalue
    assert sign_flip_p(values, seed=0) == pytest.approx(expected, abs=0.015)
    assert sign_flip_p(np.ones(40), seed=0, resamples=99) == pytest.approx(0.01)


def test_benjamini_hochberg_by_hand_and_without_untested_cells():
    p = np.array([[0.01, np.nan], [0.04, 0.03]])
    np.testing.assert_allclose(benjamini_hochberg(p), [[0.03, np.nan], [0.04, 0.04]])
    assert np.isnan(benjamini_hochberg(np.full(2, np.nan))).all()


def test_effect_size_is_the_mean_in_standard_deviations():
    values = np.array([[1.0, 0.1, np.nan], [3.0, 0.1, 1.0], [5.0, 0.1, np.nan]])
    np.testing.assert_allclose(effect_size(values), [3 / 2, np.nan, np.nan])


def test_the_minimum_detectable_effect_is_detected_as_often_as_asked():
    sd, n = 2.0, 20
    effect = float(minimum_detectable_effect(np.array(sd), np.array(n)))
    samples = np.random.default_rng(0).normal(effect, sd, (n, 4000))
    found = np.abs(samples.mean(axis=0) / samples.std(axis=0, ddof=1) * np.sqrt(n)) > stats.t.ppf(0.975, n - 1)
    assert found.mean() == pytest.approx(0.8, abs=0.03)
    assert np.isnan(minimum_detectable_effect(np.array(sd), np.array(1)))


def test_the_minimum_detectable_effect_is_right_for_three_pairs_too():
    effect = float(minimum_detectable_effect(np.array(1.0), np.array(3)))
    samples = np.random.default_rng(1).normal(effect, 1.0, (3, 40_000))
    found = samples.mean(axis=0) / samples.std(axis=0, ddof=1) * np.sqrt(3) > stats.t.ppf(0.975, 2)
    assert found.mean() == pytest.approx(0.8, abs=0.008)  # the usual sum of two quantiles would give 0.77


def test_rank_correlation_by_hand_and_knows_when_there_is_none():
    a, b = np.array([1.0, 2.0, 2.0, 9.0, np.nan]), np.array([3.0, 1.0, 4.0, 8.0, 5.0])
    assert rank_correlation(a, b) == pytest.approx(0.6324555)  # ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4
    assert rank_correlation(np.ones(4), np.arange(4.0)) is None
    assert rank_correlation(np.arange(2.0), np.arange(2.0)) is None
