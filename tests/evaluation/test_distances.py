import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics.pairwise import polynomial_kernel

from kgan.errors import InputError
from kgan.evaluation import frechet_distance, kernel_distance


def correlated(rng, count, width, shift=0.0):
    return rng.normal(0, 1, (count, width)) @ rng.normal(0, 1, (width, width)) + shift


def test_frechet_agrees_with_scipy_s_matrix_root(rng):
    a, b = correlated(rng, 500, 16), correlated(rng, 400, 16, shift=0.5)
    covariances = np.cov(a.T), np.cov(b.T)
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_in_closed_form(rng):
    a = correlated(rng, 300, 8)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    shift = np.arange(8.0)
    assert frechet_distance(a, a + shift) == pytest.approx(np.square(shift).sum())
    centre = a.mean(axis=0)  # covariances C and 4 C: tr(C + 4 C - 4 C)
    assert frechet_distance(a, centre + 2 * (a - centre)) == pytest.approx(np.trace(np.cov(a.T)))


def test_frechet_of_fewer_sounds_than_dimensions(rng):
    a, b = rng.normal(0, 1, (10, 64)), np.zeros((10, 64))
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    expected = np.square(a.mean(0)).sum() + np.trace(np.cov(a.T))
    assert frechet_distance(a, b) == pytest.approx(expected)


@pytest.mark.parametrize("rows_at_once", [1000, 7])
def test_kernel_distance_agrees_with_scikit_learn(rng, monkeypatch, rows_at_once):
    monkeypatch.setattr("kgan.evaluation.distances.ROWS_AT_ONCE", rows_at_once)
    a, b = rng.normal(0, 1, (40, 12)), rng.normal(0.3, 1, (50, 12))
    kernels = [polynomial_kernel(x, y, degree=3, coef0=1) for x, y in ((a, a), (b, b), (a, b))]  # gamma = 1 / width
    within = [k[~np.eye(len(k), dtype=bool)].mean() for k in kernels[:2]]
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * kernels[2].mean(), rel=1e-9)


@pytest.mark.parametrize("count", [10, 100])
def test_kernel_distance_is_unbiased_in_the_number_of_sounds(rng, count):
    """Its mean over many draws is the same for few sounds and for many: 0 for one distribution, else the true one."""

    def mean_and_error(shift):
        values = [
            kernel_distance(rng.normal(0, 1, (count, 4)), rng.normal(shift, 1, (count, 4))) for _ in range(20000 // count)
        ]
        return np.mean(values), np.std(values) / np.sqrt(len(values))

    mean, error = mean_and_error(0.0)
    assert abs(mean) < 4 * error
    far = kernel_distance(rng.normal(0, 1, (4000, 4)), rng.normal(1.0, 1, (4000, 4)))
    mean, error = mean_and_error(1.0)
    assert abs(mean - far) < 4 * error + 0.05 * far


def test_a_dropped_mode_is_seen_by_both(rng):
    modes = np.eye(6)[rng.integers(0, 6, 600)] + 0.01 * rng.normal(0, 1, (600, 6))
    whole, other, dropped = modes[:300], modes[300:], modes[modes[:, 0] < 0.5][:250]
    assert frechet_distance(whole, dropped) > 5 * frechet_distance(whole, other)
    assert kernel_distance(whole, dropped) > 5 * abs(kernel_distance(whole, other))


@pytest.mark.parametrize("score", [frechet_distance, kernel_distance])
def test_bad_embeddings(score):
    with pytest.raises(InputError, match=r"two or more of each. Received: \(1, 3\)"):
        score(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(InputError, match=r"and \(5, 4\)"):
        score(np.zeros((5, 3)), np.zeros((5, 4)))
