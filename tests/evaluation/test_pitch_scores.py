import numpy as np
import pytest
from scipy.stats import entropy

from kgan.evaluation import pitch_accuracy, pitch_entropy
from kgan.evaluation.pitch_scores import pitchedness

RATE_HZ = 16000


def test_accuracy_by_hand():
    probabilities = np.eye(128)[[60, 61, 62, 63]]
    assert pitch_accuracy(probabilities, [60, 61, 70, 63]) == 0.75


def test_entropy_agrees_with_scipy(rng):
    probabilities = rng.dirichlet(np.full(128, 0.1), 50)
    assert pitch_entropy(probabilities) == pytest.approx(entropy(probabilities, axis=1).mean())
    assert pitch_entropy(np.eye(128)) == 0.0
    assert pitch_entropy(np.full((3, 128), 1 / 128)) == pytest.approx(np.log(128))


def test_pitchedness_of_notes_noise_and_silence(rng):
    time_s = np.arange(8192) / RATE_HZ
    frequencies_hz = 440 * 2 ** ((np.array([57, 60, 64, 69]) - 69) / 12)
    notes = 0.5 * np.sin(2 * np.pi * frequencies_hz[:, None] * time_s)
    audio = np.concatenate([notes, rng.normal(0, 0.1, (3, 8192)), np.zeros((1, 8192))])
    scores = pitchedness(audio, RATE_HZ, [57, 60, 65, 69, 60, 60, 60, 60])  # one asked a semitone higher than it is
    assert scores["pitched"] == 0.5
    assert scores["in_tune"] == pytest.approx(3 / 8)
    assert set(pitchedness(audio, RATE_HZ)) == {"harmonicity", "pitched"}
