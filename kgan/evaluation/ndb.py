"""The number of statistically different bins."""

import numpy as np
from scipy.stats import norm
from sklearn.cluster import KMeans

from kgan.errors import InputError

BINS = 50
SIGNIFICANCE = 0.05


class Bins:
    """Bins of real sounds by k-means, to find which bins a generator fills too often or too rarely.

    Args:
        features: float `(count, features)` of real sounds.
        bins: number of bins, limited to a fifth of the number of sounds, so that a bin can hold several.
        seed: seed of k-means.

    Raises:
        InputError: there are fewer than five sounds.

    Reference: Richardson and Weiss 2018, "On GANs and GMMs", section 3. https://arxiv.org/abs/1805.12462
    """

    def __init__(self, features: np.ndarray, bins: int = BINS, seed: int = 0):
        if len(features) < 5:
            raise InputError(f"Bins need at least five sounds. Received: {len(features)}.")
        self._k_means = KMeans(min(bins, len(features) // 5), n_init=1, random_state=seed)
        self._labels = self._k_means.fit_predict(np.asarray(features, np.float32))
        self.count = self._k_means.n_clusters

    def differing_share(self, features):
        """Return NDB/k: the share of bins whose proportion of `features` differs significantly from that of the real sounds.

        The two-proportion z-test is used at a significance level of 5 %. Two sets from the same distribution score about 0.05.
        With more sounds, smaller differences are significant.
        """
        filled = self._k_means.predict(np.asarray(features, np.float32))
        counts = (np.bincount(labels, minlength=self.count) for labels in (self._labels, filled))
        return float(np.mean(two_proportion_p_values(*counts) < SIGNIFICANCE))


def two_proportion_p_values(counts_a, counts_b):
    """Return the p-value of each bin: the probability of such a difference if both sets have the same distribution.

    Args:
        counts_a, counts_b: number of members of each set in each bin.
    """
    total_a, total_b = counts_a.sum(), counts_b.sum()
    pooled = (counts_a + counts_b) / (total_a + total_b)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / total_a + 1 / total_b))
    difference = counts_a / total_a - counts_b / total_b
    z = np.divide(difference, deviation, out=np.zeros(len(counts_a)), where=deviation > 0)
    return 2.0 * norm.sf(np.abs(z))
