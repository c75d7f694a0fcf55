import librosa
import numpy as np
import pytest

from kgan.audio.pitch import estimate_pitch

RATE_HZ = 16000
TIME_S = np.arange(16384) / RATE_HZ


def cents(frequency_hz, reference_hz):
    return 1200 * np.log2(frequency_hz / reference_hz)


@pytest.mark.parametrize("harmonics", [1, 6])
def test_tones_within_a_cent_over_six_octaves(harmonics):
    reference_hz = librosa.midi_to_hz(np.arange(24, 96))
    parts = [
        np.where(k * reference_hz < 7000, 1 / k, 0)[:, None] * np.sin(2 * np.pi * k * reference_hz[:, None] * TIME_S + k)
        for k in range(1, harmonics + 1)
    ]
    found = estimate_pitch(sum(parts), RATE_HZ)
    assert np.abs(cents(found.frequency_hz, reference_hz)).max() < 1.0
    assert found.harmonicity.min() > 0.98


def test_noise_is_not_harmonic(rng):
    assert estimate_pitch(rng.normal(size=(20, 16384)), RATE_HZ).harmonicity.max() < 0.3


def test_harmonicity_is_the_periodic_share_of_the_energy(rng):
    tone = np.sqrt(2) * np.sin(2 * np.pi * 220 * TIME_S)
    noise = rng.normal(size=(20, 16384))
    for share in (0.5, 0.8):
        found = estimate_pitch(np.sqrt(share) * tone + np.sqrt(1 - share) * noise, RATE_HZ)
        assert np.abs(found.harmonicity.mean() - share) < 0.05


def test_agrees_with_librosa_yin_on_a_gliding_tone():
    frequency_hz = 200 * 2 ** (0.05 * TIME_S)
    audio = np.sin(2 * np.pi * np.cumsum(frequency_hz) / RATE_HZ)
    yin_hz = np.median(librosa.yin(audio, fmin=60, fmax=1000, sr=RATE_HZ))
    assert abs(cents(estimate_pitch(audio[None], RATE_HZ).frequency_hz[0], yin_hz)) < 10


def test_silence_has_no_pitch():
    found = estimate_pitch(np.zeros((1, 4096)), RATE_HZ)
    assert np.isnan(found.frequency_hz[0])
    assert found.harmonicity[0] == 0


def test_too_short_or_of_another_shape():
    for shape in ((1, 100), (4096,)):
        with pytest.raises(ValueError, match="at least 2048 samples"):
            estimate_pitch(np.zeros(shape), RATE_HZ)
