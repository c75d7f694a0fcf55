"""Nearest-neighbour distances among sounds and to real sounds."""

import numpy as np
import tensorflow as tf

from kgan.errors import InputError

QUERIES_AT_ONCE = 256
CANDIDATES = 8


def mean_nearest_distance(queries: np.ndarray, references: np.ndarray | None = None) -> float:
    """Return |D|_train, the mean distance to the nearest reference; without references |D|_self, to the nearest other query.

    A low |D|_self means that the sounds resemble each other (collapse), a low |D|_train that they copy real sounds. The paper
    computes both from log mel spectrograms. The spectrograms of `LogMel` have a floor, unlike the paper's, so that only ratios
    to the distances of real sounds can be compared with published values. Distances of waveforms are not affected.

    Args:
        queries, references: as in `nearest_neighbours`.

    Returns:
        The mean distance.

    Raises:
        InputError: as in `nearest_neighbours`.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", section 5.2. https://arxiv.org/abs/1802.04208
    """
    return float(nearest_neighbours(queries, references)[0].mean())


def nearest_neighbours(queries: np.ndarray, references: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the Euclidean distance from each query to its nearest reference, and the number of that reference.

    A few nearest candidates are found with a matrix product in float32. Their distances are then computed from differences in
    float64, so that the distances of near copies are not lost in rounding errors.

    Args:
        queries: float `(count, features)`.
        references: float `(references, features)`; None for all other queries. A different query with the same values counts
            as a neighbour at distance 0.

    Returns:
        Distances, float64 `(count,)`, and numbers, int64 `(count,)`.

    Raises:
        InputError: there is no neighbour, the widths differ, or a value is not finite.
    """
    among_themselves = references is None
    queries = np.asarray(queries, np.float32)
    references = queries if among_themselves else np.asarray(references, np.float32)
    if queries.ndim != 2 or queries.shape[1:] != references.shape[1:]:
        raise InputError(f"Features must be (count, features), as many. Received: {queries.shape} and {references.shape}.")
    if len(references) <= among_themselves or not len(queries):
        raise InputError(f"A neighbour needs another sound. Received: {len(queries)} sounds, {len(references)} references.")
    if not (np.isfinite(queries).all() and np.isfinite(references).all()):
        raise InputError("Features must be finite. Received: NaN or infinity.")
    centre = references.mean(axis=0)  # subtracted to keep precision
    centred = tf.constant(references - centre)
    squared_norms = tf.reduce_sum(tf.square(centred), axis=1)
    candidates = min(CANDIDATES + among_themselves, len(references))
    distances, numbers = np.empty(len(queries)), np.empty(len(queries), np.int64)
    for start in range(0, len(queries), QUERIES_AT_ONCE):
        block = queries[start : start + QUERIES_AT_ONCE]
        nearness = 2.0 * tf.matmul(block - centre, centred, transpose_b=True) - squared_norms  # (block, references)
        nearest = tf.math.top_k(nearness, candidates, sorted=False).indices.numpy()
        for i, (query, chosen) in enumerate(zip(block, nearest, strict=True), start):
            chosen = chosen[chosen != i] if among_themselves else chosen
            differences = references[chosen].astype(np.float64) - query
            squared = np.square(differences).sum(axis=1)
            distances[i], numbers[i] = np.sqrt(squared.min()), chosen[squared.argmin()]
    return distances, numbers
