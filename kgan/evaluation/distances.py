"""Distances between two sets of embeddings."""

import numpy as np

from kgan.errors import InputError

ROWS_AT_ONCE = 1_000  # rows of the kernel; the whole kernel of 10,000 sounds would take 800 MB


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return the squared Frechet distance between normal distributions with the means and covariances of two sets.

    It is 0 for equal sets. It decreases as sets grow: compare only scores of equally large sets.

    Args:
        a, b: embeddings, float `(count, width)`, at least two in each set.

    Returns:
        The distance, at least 0.

    Raises:
        InputError: a set has fewer than two embeddings, or the widths differ.

    Reference: Heusel et al. 2017, "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
        equation 6. https://arxiv.org/abs/1706.08500
    """
    a, b = _checked(a, b)
    covariance_a, covariance_b = (np.cov(each, rowvar=False).reshape(each.shape[1], -1) for each in (a, b))
    # tr sqrt(A B) is computed from the eigenvalues of sqrt(A) B sqrt(A), which is symmetric. The result is real and stable even
    # if there are so few sounds that both covariances are singular.
    values, vectors = np.linalg.eigh(covariance_a)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_b @ root), 0.0)).sum()
    shift = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    return float(max(0.0, shift + np.trace(covariance_a) + np.trace(covariance_b) - 2.0 * overlap))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Return an unbiased estimate of the squared maximum mean discrepancy under the kernel (x.y / width + 1)^3.

    Its expectation does not depend on the number of sounds and is 0 for two sets from the same distribution; single values
    may be negative.

    Args:
        a, b: as in `frechet_distance`.

    Returns:
        The distance.

    Raises:
        InputError: a set has fewer than two embeddings, or the widths differ.

    Reference: Binkowski et al. 2018, "Demystifying MMD GANs", section 3 (the kernel inception distance).
        https://arxiv.org/abs/1801.01401
    """
    a, b = _checked(a, b)

    def summed(x, y):
        blocks = np.array_split(x, -(-len(x) // ROWS_AT_ONCE))
        return sum(np.sum((block @ y.T / x.shape[1] + 1.0) ** 3) for block in blocks)

    def mean_of_others(x):
        itself = np.sum((np.square(x).sum(axis=1) / x.shape[1] + 1.0) ** 3)
        return (summed(x, x) - itself) / (len(x) * (len(x) - 1))

    return float(mean_of_others(a) + mean_of_others(b) - 2.0 * summed(a, b) / (len(a) * len(b)))


def _checked(a, b):
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise InputError(f"Embeddings must be (count, width), two or more of each. Received: {a.shape} and {b.shape}.")
    return a, b
