import time

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from kgan.errors import InputError
from kgan.evaluation import mean_nearest_distance, nearest_neighbours


def nearest_distances(*features):
    return nearest_neighbours(*features)[0]


def by_scikit_learn(queries, references, algorithm="auto"):
    neighbours = NearestNeighbors(n_neighbors=1, algorithm=algorithm).fit(references.astype(np.float64))
    return neighbours.kneighbors(queries.astype(np.float64))[0][:, 0]


@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_it_agrees_with_scikit_learn(rng, offset):
    queries, references = (rng.normal(offset, 1.0, (count, 300)).astype(np.float32) for count in (300, 700))
    distances, numbers = nearest_neighbours(queries, references)
    np.testing.assert_allclose(distances, by_scikit_learn(queries, references), rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(references[numbers].astype(np.float64) - queries, axis=1), distances, rtol=1e-9)


def test_among_themselves_it_agrees_with_scikit_learn(rng):
    sounds = rng.normal(0, 1, (300, 40)).astype(np.float32)
    expected = NearestNeighbors(n_neighbors=1).fit(sounds.astype(np.float64)).kneighbors()[0][:, 0]  # leaves each itself out
    np.testing.assert_allclose(nearest_distances(sounds), expected, rtol=1e-9)


def test_by_hand():
    sounds = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])
    np.testing.assert_allclose(nearest_distances(sounds), [5.0, 1.0, 1.0])
    assert mean_nearest_distance(sounds) == pytest.approx(7 / 3)
    assert mean_nearest_distance(sounds, [[0.0, 1.0]]) == pytest.approx((1 + np.sqrt(18) + 5) / 3)


def test_itself_is_left_out_by_number_and_a_copy_is_not(rng):
    sounds = rng.normal(0, 1, (20, 8))
    copied = np.concatenate([sounds, sounds[:1]])
    distances = nearest_distances(copied)
    assert distances[0] == distances[20] == 0.0
    assert (distances[1:20] > 0).all()
    assert (nearest_distances(np.repeat(sounds[:1], 30, axis=0)) == 0.0).all()  # more copies than candidates


def test_near_copies_of_loud_sounds_keep_their_digits(rng):
    """|a|^2 + |b|^2 - 2ab in float32 would be off by more than the distance itself."""
    references = rng.uniform(-1, 1, (50, 16384)).astype(np.float32)
    queries = references + 1e-4 * rng.normal(0, 1, references.shape).astype(np.float32)
    expected = np.linalg.norm(queries.astype(np.float64) - references, axis=1)  # scikit-learn's own keep eight digits here
    np.testing.assert_allclose(nearest_distances(queries, references), expected, rtol=1e-12)


def test_bad_features():
    with pytest.raises(InputError, match="another sound. Received: 1 sounds"):
        nearest_distances(np.zeros((1, 3)))
    with pytest.raises(InputError, match=r"Received: \(2, 3\) and \(2, 4\)"):
        nearest_distances(np.zeros((2, 3)), np.zeros((2, 4)))
    with pytest.raises(InputError, match="NaN"):
        nearest_distances(np.full((2, 3), np.nan))


@pytest.mark.long
def test_it_is_twenty_times_as_fast_as_a_ball_tree(rng):
    queries, references = (rng.normal(0, 1, (count, 16384)).astype(np.float32) for count in (1000, 10000))
    began_s = time.perf_counter()
    found = nearest_distances(queries, references)
    ours_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    expected = by_scikit_learn(queries, references, "ball_tree")
    tree_s = time.perf_counter() - began_s
    print(f"\n1,000 x 10,000 x 16,384: {ours_s:.1f} s, scikit-learn's ball tree {tree_s:.1f} s: {tree_s / ours_s:.0f} times")
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert tree_s > 20 * ours_s
