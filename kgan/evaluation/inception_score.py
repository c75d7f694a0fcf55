"""The inception score and the number of effective classes."""

import numpy as np
from scipy.special import entr, rel_entr

from kgan.errors import InputError

SPLITS = 10


def inception_score(probabilities: np.ndarray, splits: int = SPLITS) -> tuple[float, float]:
    """Return the inception score, exp(E KL(p(y|x) || p(y))).

    It is 1 if all sounds get the same prediction, and equals the number of classes if each class is predicted with certainty
    and equally often. Scores of different classifiers, or of different numbers of sounds, are not comparable.

    Args:
        probabilities: a classifier's predictions, `(count, classes)`, in random order; rows sum to 1.
        splits: number of groups of sounds, which are scored separately.

    Returns:
        The mean over splits and their standard deviation.

    Raises:
        InputError: there are fewer sounds than splits.

    Reference: Salimans et al. 2016, "Improved Techniques for Training GANs", section 4. https://arxiv.org/abs/1606.03498
    """
    if not 1 <= splits <= len(probabilities):
        raise InputError(
            "The inception score needs at least a sound for each split."
            f" Received: {len(probabilities)} sounds, {splits} splits."
        )
    scores = []
    for group in np.array_split(np.asarray(probabilities, np.float64), splits):
        divergences = rel_entr(group, group.mean(axis=0)).sum(axis=1)
        scores.append(np.exp(max(0.0, divergences.mean())))  # it is only negative through rounding
    return float(np.mean(scores)), float(np.std(scores))


def effective_classes(probabilities: np.ndarray) -> float:
    """Return exp H(E p(y|x)), the exponential of the entropy of the mean prediction: the number of classes sounds spread over.

    It is 1 if all sounds are of one class, and equals the number of classes if all are equally frequent. The inception score
    of the same sounds, in one split, is never higher.

    Args:
        probabilities: a classifier's predictions, `(count, classes)`; rows sum to 1.

    Returns:
        The number, from 1 to the number of classes.
    """
    return float(np.exp(entr(np.mean(probabilities, axis=0, dtype=np.float64)).sum()))
