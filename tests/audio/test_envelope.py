import numpy as np
import pytest

from kgan.audio.envelope import measure_envelope

RATE_HZ = 16000


def note(attack_s, fall_db_per_s, dc=0.0):
    """A tone that rises in a straight line, and falls exponentially behind it."""
    t = np.arange(RATE_HZ) / RATE_HZ
    level = np.minimum(t / attack_s, 1.0) * 10 ** (-fall_db_per_s * np.maximum(t - attack_s, 0.0) / 20)
    return level * np.sin(2 * np.pi * 400 * t) + dc


def test_attack_and_decay_of_a_tone():
    found = measure_envelope(np.stack([note(0.1, 0.0), note(0.4, 0.0), note(0.1, 30.0)]), RATE_HZ)
    np.testing.assert_allclose(found.attack_s[:2], [0.08, 0.32], atol=0.011)  # from a tenth to nine tenths
    np.testing.assert_allclose(found.decay_db, [0.0, 0.0, -30.0 * 0.6], atol=0.4)  # the level is 0.1 s old when it falls


def test_dc_and_edges_are_those_of_the_samples():
    silent = np.zeros(RATE_HZ)
    clicking = note(0.1, 0.0)
    clicking[-1] = -0.7
    found = measure_envelope(np.stack([note(0.1, 0.0, dc=-0.25), clicking, silent]), RATE_HZ)
    np.testing.assert_allclose(found.dc, [0.25, 0.0, 0.0], atol=1e-3)
    np.testing.assert_allclose(found.edges[1:], [0.7, 0.0])
    assert np.isnan([found.attack_s[2], found.decay_db[2]]).all()


def test_short_clips_are_refused():
    with pytest.raises(ValueError, match=r"at least 1600. Received: \(1, 1599\)"):
        measure_envelope(np.zeros((1, 1599)), RATE_HZ)
