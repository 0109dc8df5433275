import numpy as np
import pytest
from scipy import stats

from mechpatch.stats import (
    benjamini_hochberg,
    bootstrap_mean,
    effect_size,
    minimum_detectable_effect,
    paired_difference,
    rank_correlation,
    sign_flip_p,
)


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


def test_paired_difference_uses_the_pairs_that_both_have():
    a, b = np.array([1.0, 2.0, np.nan, 5.0]), np.array([0.0, 3.0, 1.0, np.nan])
    found = paired_difference(a, b, seed=0)
    assert (float(found.mean), int(found.n)) == (0.0, 2)


def test_sign_flips_of_few_pairs_are_counted_by_hand():
    # Of the eight signed sums of 1, 2, 3, two are as far from zero as 6 and four as far as 4.
    np.testing.assert_allclose(sign_flip_p(np.array([[1.0, -1.0], [2.0, 2.0], [3.0, 3.0]]), seed=0), [2 / 8, 4 / 8])
    assert sign_flip_p(np.zeros(5), seed=0) == 1.0
    assert np.isnan(sign_flip_p(np.full(5, np.nan), seed=0))


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


def test_rank_correlation_by_hand_and_knows_when_there_is_none():
    a, b = np.array([1.0, 2.0, 2.0, 9.0, np.nan]), np.array([3.0, 1.0, 4.0, 8.0, 5.0])
    assert rank_correlation(a, b) == pytest.approx(0.6324555)  # ranks 1, 2.5, 2.5, 4 and 2, 1, 3, 4
    assert rank_correlation(np.ones(4), np.arange(4.0)) is None
    assert rank_correlation(np.arange(2.0), np.arange(2.0)) is None
