"""The number of statistically different bins."""

import numpy as np
from scipy.stats import norm
from sklearn.cluster import KMeans

from kgan.errors import InputError

BINS = 50
SIGNIFICANCE = 0.05


class Bins:
    """Real sounds sorted into bins by k-means, to see which bins a generator fills too often or too rarely.

    Args:
        features: float `(count, features)` of real sounds.
        bins: how many; no more than a fifth of the sounds, so that each bin can hold a few.
        seed: of k-means.

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
        """Return NDB/k: the share of bins whose proportion of `features` differs from that of the real sounds.

        Significantly so, at 5 %, by the two-proportion z-test. Two sets from one distribution score about 0.05; the more
        sounds, the smaller a difference it finds.
        """
        filled = self._k_means.predict(np.asarray(features, np.float32))
        counts = (np.bincount(labels, minlength=self.count) for labels in (self._labels, filled))
        return float(np.mean(two_proportion_p_values(*counts) < SIGNIFICANCE))


def two_proportion_p_values(counts_a, counts_b):
    """Return for each bin the probability of so different proportions, were both sets from one distribution.

    Args:
        counts_a, counts_b: how many of each set lie in each bin.
    """
    total_a, total_b = counts_a.sum(), counts_b.sum()
    pooled = (counts_a + counts_b) / (total_a + total_b)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / total_a + 1 / total_b))
    difference = counts_a / total_a - counts_b / total_b
    z = np.divide(difference, deviation, out=np.zeros(len(counts_a)), where=deviation > 0)
    return 2.0 * norm.sf(np.abs(z))
