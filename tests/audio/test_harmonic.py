"""The analysis of harmonic plus noise, on sounds whose levels are known."""

import numpy as np
import pytest

from kgan.audio.harmonic import BANDS, PARTIAL_FLOOR, PARTIALS, HarmonicAnalysis
from kgan.audio.pitch import midi_to_hz

RATE_HZ, LENGTH = 16000, 8192
ANALYSIS = HarmonicAnalysis(LENGTH, RATE_HZ)
MIDDLE = slice(20, -20)  # frames away from the ends


def tone(pitch, amplitudes, detune=1.0):
    time_s = np.arange(LENGTH) / RATE_HZ
    numbers = np.arange(1, len(amplitudes) + 1)[:, None]
    return np.sum(np.array(amplitudes)[:, None] * np.sin(2 * np.pi * numbers * detune * midi_to_hz(pitch) * time_s), axis=0)


def decibels(log_levels):
    return 20 / np.log(10) * log_levels


@pytest.mark.parametrize("pitch", [36, 60, 83])
def test_partials_have_their_amplitudes_and_there_is_no_noise(pitch):
    amplitudes = [0.4, 0.2, 0.1, 0.05]
    levels = ANALYSIS.analyse(tone(pitch, amplitudes), pitch)
    assert levels.shape == (len(ANALYSIS.grid), PARTIALS + BANDS)
    np.testing.assert_allclose(
        decibels(levels[MIDDLE, :4]), np.tile(decibels(np.log(amplitudes)), (levels[MIDDLE].shape[0], 1)), atol=0.8
    )
    assert decibels(levels[MIDDLE, 4:PARTIALS] - np.log(PARTIAL_FLOOR)).max() < 12  # near the floor, -66 dB below 0.3
    assert decibels(levels[MIDDLE, PARTIALS:] - np.log(ANALYSIS.noise_floor)).mean() < 3


def test_a_sample_out_of_tune_is_measured_where_it_is():
    levels = ANALYSIS.analyse(tone(60, [0.4, 0.2], detune=2 ** (30 / 1200)), 60)  # thirty cents
    np.testing.assert_allclose(decibels(levels[MIDDLE, :2]).mean(axis=0), decibels(np.log([0.4, 0.2])), atol=0.3)


def test_white_noise_is_noise_of_its_density(rng):
    deviation = 0.1
    levels = ANALYSIS.analyse(rng.normal(0, deviation, LENGTH), 60)
    densities = decibels(levels[MIDDLE, PARTIALS + 40 :])
    # Partials take a part of it, and the mean logarithm of noise lies 2.5 dB below the logarithm of its mean power.
    assert -5 < densities.mean() - decibels(np.log(deviation)) < 0
    assert np.exp(levels[MIDDLE, :30]).max() < 2 * deviation


def test_partials_above_the_highest_repeat_the_last():
    count = ANALYSIS.partials_of(midi_to_hz(83))
    assert count == int(0.49375 * RATE_HZ // midi_to_hz(83)) == 7
    levels = ANALYSIS.analyse(tone(83, [0.4] * count), 83)
    np.testing.assert_array_equal(levels[:, count:PARTIALS], np.tile(levels[:, count - 1 : count], PARTIALS - count))


@pytest.mark.parametrize("pitch", [0, 9, 118, 119, 127])
def test_any_midi_pitch_can_be_analysed(rng, pitch):
    """NSynth has notes from 9 to 127, whose first partial is beyond half the rate."""
    sound = 0.3 * np.sin(2 * np.pi * 6000 * np.arange(LENGTH) / RATE_HZ)
    levels = ANALYSIS.analyse(sound, pitch)
    assert np.isfinite(levels).all()
    if pitch >= 119:
        loudest = levels[MIDDLE, PARTIALS:].mean(axis=0).argmax()
        assert ANALYSIS.band_centres_hz[loudest] == pytest.approx(6000, rel=0.03)
        np.testing.assert_allclose(levels[:, :PARTIALS], np.log(PARTIAL_FLOOR), atol=1e-3)


def test_silence_is_at_the_floor():
    levels = ANALYSIS.analyse(np.zeros(LENGTH), 60)
    np.testing.assert_allclose(levels[:, :PARTIALS], np.log(PARTIAL_FLOOR), atol=1e-3)
    np.testing.assert_allclose(levels[:, PARTIALS:], np.tile(np.log(ANALYSIS.noise_floor), (len(levels), 1)), atol=1e-3)


def test_the_grid_is_dense_where_sounds_begin():
    analysis = HarmonicAnalysis(64000, RATE_HZ)  # NSynth's
    steps = np.diff(analysis.grid)
    assert analysis.grid[0] == 0
    assert analysis.grid[-1] == analysis.frames - 1 == 1000
    assert steps[:31].tolist() == 31 * [1]
    assert set(steps[32:143]) == {2}
    assert steps[150:].max() == 4
    np.testing.assert_allclose(analysis.interpolation.sum(axis=1), 1, atol=1e-6)
    line = analysis.grid * 0.5  # what is linear in time comes back
    np.testing.assert_allclose(analysis.interpolation @ line, np.arange(analysis.frames) * 0.5, atol=1e-3)


@pytest.mark.parametrize(("rate_hz", "hop"), [(8000, 32), (16000, 64), (44100, 128), (48000, 256)])
def test_frames_are_four_milliseconds_apart(rate_hz, hop):
    assert HarmonicAnalysis(rate_hz, rate_hz).hop_samples == hop


def test_channels_are_side_by_side():
    left, right = tone(60, [0.4]), tone(60, [0.0, 0.2])
    levels = HarmonicAnalysis(LENGTH, RATE_HZ).analyse_all(np.stack([left, right], axis=1)[None], [60])
    assert levels.shape == (1, len(ANALYSIS.grid), 2 * (PARTIALS + BANDS))
    np.testing.assert_array_equal(levels[0, :, : PARTIALS + BANDS], ANALYSIS.analyse(left, 60))
    np.testing.assert_array_equal(levels[0, :, PARTIALS + BANDS :], ANALYSIS.analyse(right, 60))
