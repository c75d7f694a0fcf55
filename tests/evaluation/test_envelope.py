import librosa
import numpy as np
import pytest

from kgan.evaluation import level_noise_db
from kgan.evaluation.envelope import unsteadiness_db

RATE_HZ = 16000
TIME_S = np.arange(16384) / RATE_HZ
TONE = np.sin(2 * np.pi * 1000 * TIME_S)


def test_unsteadiness_by_hand():
    """Bands that stay, fall by 2 dB a frame, and alternate by 3 dB: second differences of 0, 0 and 6 dB."""
    frames = np.arange(9.0)
    still, falling, alternating = np.zeros(9), -2.0 * frames, 3.0 * (frames % 2)
    levels = np.stack([np.stack([band] * 7, axis=1) for band in (still, falling, alternating)])
    np.testing.assert_allclose(unsteadiness_db(levels), [0.0, 0.0, 6.0])
    mixed = np.stack([still] * 2 + [alternating + 20.0] * 4 + [5.0 * alternating - 50.0] * 9, axis=1)  # the quiet nine are out
    np.testing.assert_allclose(unsteadiness_db(mixed[np.newaxis]), [6.0])


def test_level_noise_agrees_with_librosa_s_spectrogram(rng):
    audio = TONE * (1.0 + 0.3 * rng.normal(size=16384)) + np.sin(2 * np.pi * 300 * TIME_S)
    mel = librosa.feature.melspectrogram(
        y=audio, sr=RATE_HZ, n_fft=1024, hop_length=256, n_mels=128, fmin=40, fmax=7800, htk=True, norm=None, power=1.0
    )
    levels_db = 20.0 * np.log10(mel + 1e-3 * mel.max() + 1e-6)
    held = levels_db[:, 13:45]  # 20 % of 16,384 samples is the place of frame 12.8, 70 % that of 44.8
    strongest = held[np.argsort(held.mean(axis=1))[-6:]]
    expected = np.median(np.abs(strongest[:, 2:] - 2.0 * strongest[:, 1:-1] + strongest[:, :-2]))
    assert expected > 0.1
    assert level_noise_db(audio[np.newaxis].astype(np.float32), RATE_HZ)[0] == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("count", [1, 65])
def test_a_held_or_decaying_tone_is_steady_and_one_with_steps_is_not(count):
    held = TONE
    decaying = TONE * 10.0 ** (-20.0 * TIME_S / 20.0)  # by 20 dB a second
    stepped = TONE * np.where(np.arange(16384) // 512 % 2, 1.0, 0.5)  # 6 dB up and down, every other frame
    late = TONE * np.where((np.arange(16384) // 512 % 2 == 0) & (TIME_S > 0.8), 0.5, 1.0)  # after the key is released
    found = level_noise_db(np.repeat(np.stack([held, decaying, stepped, late]), count, axis=0).astype(np.float32), RATE_HZ)
    still, falling, jumping, released = found.reshape(4, count).T[0]
    assert still < 0.01
    assert falling < 0.05
    assert released < 0.01
    assert jumping > 1.0
    np.testing.assert_allclose(found.reshape(4, count), np.tile(found.reshape(4, count)[:, :1], count), atol=1e-3)
