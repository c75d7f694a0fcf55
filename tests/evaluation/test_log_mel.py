import keras
import librosa
import numpy as np
import pytest

from kgan.evaluation.log_mel import FLOOR_DB, OFFSET, LogMel


@pytest.mark.parametrize(("fft_samples", "rate_hz"), [(1024, 16000), (2048, 16000), (1024, 8000)])
def test_it_agrees_with_librosa(rng, fft_samples, rate_hz):
    audio = rng.uniform(-1, 1, (2, 16384)).astype(np.float32) * [[1.0], [0.01]]
    high_hz = min(7800.0, rate_hz / 2)
    mel = librosa.feature.melspectrogram(
        y=audio,
        sr=rate_hz,
        n_fft=fft_samples,
        hop_length=128,
        n_mels=128,
        fmin=40,
        fmax=high_hz,
        htk=True,
        norm=None,
        power=1.0,
        pad_mode="reflect",
    )
    found = LogMel(rate_hz, fft_samples)(audio).numpy()
    assert found.shape == (2, 129, 128)
    floor = 1e-3 * mel.max(axis=(1, 2), keepdims=True) + OFFSET  # of each clip by itself
    np.testing.assert_allclose(found, np.log(mel + floor).transpose(0, 2, 1), atol=0.01)


def test_the_floor_is_60_db_below_the_strongest_bin_of_the_clip():
    """A tone, then silence: an empty bin is log(1.001 / 0.001) below the strongest, however loud the tone is."""
    time_s = np.arange(16384) / 16000
    tone = np.where(time_s < 0.5, np.sin(2 * np.pi * 1000 * time_s), 0.0)
    levels = LogMel(16000, 1024)(np.stack([tone, 0.01 * tone]).astype(np.float32)).numpy()
    assert FLOOR_DB == -60.0
    ranges = levels.max(axis=(1, 2)) - levels.min(axis=(1, 2))
    np.testing.assert_allclose(ranges, np.log(1.001 / 0.001), atol=0.01)
    np.testing.assert_allclose((levels[0] - levels[1]).max(), np.log(100.0), rtol=1e-3)  # how loud it is stays


def test_what_lies_70_db_below_a_tone_hardly_counts(rng):
    tone = np.sin(2 * np.pi * 1000 * np.arange(16384) / 16000)
    quiet = tone + 10 ** (-70 / 20) * rng.normal(0.0, np.sqrt(0.5), 16384)
    levels = LogMel(16000, 2048)(np.stack([tone, quiet]).astype(np.float32)).numpy()
    assert np.median(np.abs(levels[0] - levels[1])) < 0.1  # without a floor it is 8


def test_silence_is_the_offset():
    np.testing.assert_allclose(LogMel(16000, 1024)(np.zeros((1, 4096), np.float32)), np.log(OFFSET), rtol=1e-6)


def test_it_is_made_anew_from_its_config(rng):
    layer = LogMel(8000, 512, hop_samples=64, bins=40, low_hz=100.0, high_hz=3000.0, name="levels")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert again.get_config() == layer.get_config()
    audio = rng.uniform(-1, 1, (2, 2048)).astype(np.float32)
    np.testing.assert_array_equal(again(audio), layer(audio))
