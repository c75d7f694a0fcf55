import numpy as np
import pytest
from scipy.stats import chi2_contingency

from kgan.errors import InputError
from kgan.evaluation import Bins
from kgan.evaluation.ndb import two_proportion_p_values


def islands(rng, counts):
    """Points around far apart corners, `counts` at each."""
    return np.concatenate([np.eye(len(counts))[i] * 10 + rng.normal(0, 0.1, (n, len(counts))) for i, n in enumerate(counts)])


def test_p_values_agree_with_scipy_s_chi_squared_test(rng):
    a, b = rng.integers(1, 50, 20), rng.integers(1, 80, 20)
    expected = [
        chi2_contingency([[x, a.sum() - x], [y, b.sum() - y]], correction=False).pvalue for x, y in zip(a, b, strict=True)
    ]  # the square of the two-proportion z
    np.testing.assert_allclose(two_proportion_p_values(a, b), expected, rtol=1e-9)


def test_a_bin_empty_in_both_differs_in_nothing():
    np.testing.assert_allclose(two_proportion_p_values(np.array([0, 5]), np.array([0, 9])), [1.0, 1.0])


def test_the_same_set_a_dropped_mode_and_disjoint_sets(rng):
    real = islands(rng, [100] * 10)
    bins = Bins(real, bins=10)
    assert bins.count == 10
    assert bins.differing_share(real) == 0.0
    assert bins.differing_share(islands(rng, [100] * 10)) == 0.0
    assert bins.differing_share(islands(rng, [1000] * 9 + [0])) >= 0.1  # one mode dropped
    assert bins.differing_share(islands(rng, [1000, *[0] * 9])) == 1.0  # nine dropped


def test_two_draws_from_one_distribution_differ_in_a_twentieth(rng):
    """By chance alone, as the significance says."""
    share = np.mean(
        [Bins(rng.normal(0, 1, (500, 3)), bins=20, seed=i).differing_share(rng.normal(0, 1, (500, 3))) for i in range(40)]
    )
    assert 0.02 < share < 0.1


def test_few_sounds_get_few_bins(rng):
    assert Bins(rng.normal(0, 1, (30, 2))).count == 6
    with pytest.raises(InputError, match="at least five sounds. Received: 4"):
        Bins(np.zeros((4, 2)))
