import numpy as np
import pytest

from kgan.audio.envelope import attack_ms, measure_envelope

RATE_HZ = 16000
TIME_S = np.arange(16384) / RATE_HZ
TONE = np.sin(2 * np.pi * 1000 * TIME_S)  # five periods in a window of the envelope: its level does not ripple


def note(attack_s, fall_db_per_s, dc=0.0):
    """A tone that rises in a straight line, and falls exponentially behind it."""
    t = np.arange(RATE_HZ) / RATE_HZ
    level = np.minimum(t / attack_s, 1.0) * 10 ** (-fall_db_per_s * np.maximum(t - attack_s, 0.0) / 20)
    return level * np.sin(2 * np.pi * 400 * t) + dc


def test_attack_and_decay_of_a_tone():
    found = measure_envelope(np.stack([note(0.1, 0.0), note(0.4, 0.0), note(0.1, 30.0)]), RATE_HZ)
    np.testing.assert_allclose(found.attack_ms[:2], [80, 320], atol=2.1)  # from a tenth to nine tenths
    np.testing.assert_allclose(found.decay_db, [0.0, 0.0, -30.0 * 0.6], atol=0.4)  # the level is 0.1 s old when it falls


def test_dc_and_edges_are_those_of_the_samples():
    silent = np.zeros(RATE_HZ)
    clicking = note(0.1, 0.0)
    clicking[-1] = -0.7
    found = measure_envelope(np.stack([note(0.1, 0.0, dc=-0.25), clicking, silent]), RATE_HZ)
    np.testing.assert_allclose(found.dc, [0.25, 0.0, 0.0], atol=1e-3)
    np.testing.assert_allclose(found.edges[1:], [0.7, 0.0])
    assert np.isnan([found.attack_ms[2], found.decay_db[2]]).all()


def test_short_clips_are_refused():
    with pytest.raises(ValueError, match=r"at least 1600. Received: \(1, 1599\)"):
        measure_envelope(np.zeros((1, 1599)), RATE_HZ)


@pytest.mark.parametrize("ramp_s", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_a_linear_ramp_takes_eight_tenths_of_its_length(ramp_s, rate_hz):
    time_s = np.arange(rate_hz) / rate_hz
    audio = 0.5 * np.sin(2 * np.pi * 1000 * time_s) * np.clip((time_s - 0.1) / ramp_s, 0.0, 1.0)
    assert attack_ms(audio[np.newaxis], rate_hz)[0] == pytest.approx(800.0 * ramp_s, abs=2.1)


def test_attacks_do_not_depend_on_loudness_and_silence_has_none():
    step = TONE * (TIME_S >= 0.3)
    ramp = TONE * np.clip(TIME_S / 0.1, 0.0, 1.0)
    found = attack_ms(np.stack([step, ramp, 0.01 * ramp, 0.0 * ramp]), RATE_HZ)
    assert found[0] <= 5.0  # one window
    assert found[1] == found[2] == pytest.approx(80.0, abs=2.1)
    assert np.isnan(found[3])
