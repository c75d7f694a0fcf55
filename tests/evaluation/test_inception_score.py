import numpy as np
import pytest
from scipy.stats import entropy

from kgan.errors import InputError
from kgan.evaluation import effective_classes, inception_score


def test_one_sure_class_for_each_sound_scores_as_many_as_there_are():
    sure = np.tile(np.eye(11), (20, 1))  # each split of 22 has each class twice
    assert inception_score(sure) == (pytest.approx(11.0), pytest.approx(0.0, abs=1e-12))


def test_equal_predictions_score_one_and_never_nan():
    for row in (np.full(5, 0.2), np.eye(5)[2]):
        assert inception_score(np.tile(row, (100, 1))) == (pytest.approx(1.0, abs=1e-12), pytest.approx(0.0, abs=1e-12))


def test_it_agrees_with_scipy_s_entropies(rng):
    probabilities = rng.dirichlet(np.full(11, 0.3), 503)
    expected = []
    for group in np.array_split(probabilities, 7):  # KL = H(mean) - mean H
        expected.append(np.exp(entropy(group.mean(axis=0)) - entropy(group, axis=1).mean()))
    score, deviation = inception_score(probabilities, splits=7)
    assert score == pytest.approx(np.mean(expected), rel=1e-12)
    assert deviation == pytest.approx(np.std(expected), rel=1e-9)


def test_a_dropped_class_lowers_it_to_what_is_left(rng):
    sure = np.tile(np.eye(11)[:10], (30, 1))
    assert inception_score(sure)[0] == pytest.approx(10.0)


def test_too_few_sounds():
    with pytest.raises(InputError, match="a sound for each split. Received: 9 sounds, 10 splits"):
        inception_score(np.full((9, 2), 0.5))


def test_effective_classes_by_hand():
    assert effective_classes(np.tile(np.eye(11), (20, 1))) == pytest.approx(11.0)
    assert effective_classes(np.tile(np.eye(11)[:3], (20, 1))) == pytest.approx(3.0)  # the other eight never occur
    assert effective_classes(np.eye(4)[[0, 0, 0, 1]]) == pytest.approx(4.0 / 3.0**0.75)  # of shares 3/4 and 1/4
    assert effective_classes(np.full((7, 5), 0.2)) == pytest.approx(5.0)  # unsure of each, but not collapsed
    assert inception_score(np.full((7, 5), 0.2), splits=1)[0] == pytest.approx(1.0)


def test_effective_classes_bound_the_inception_score_and_agree_with_scipy(rng):
    probabilities = rng.dirichlet(np.full(11, 0.3), 503)
    found = effective_classes(probabilities)
    assert found == pytest.approx(np.exp(entropy(probabilities.mean(axis=0))), rel=1e-12)
    assert inception_score(probabilities, splits=1)[0] < found
