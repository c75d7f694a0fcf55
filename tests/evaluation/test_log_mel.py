import librosa
import numpy as np
import pytest

from kgan.evaluation.log_mel import OFFSET, LogMel


@pytest.mark.parametrize(("fft_samples", "rate_hz"), [(1024, 16000), (2048, 16000), (1024, 8000)])
def test_it_agrees_with_librosa(rng, fft_samples, rate_hz):
    audio = rng.uniform(-1, 1, (2, 16384)).astype(np.float32)
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
    np.testing.assert_allclose(found, np.log(mel.transpose(0, 2, 1) + OFFSET), atol=0.01)


def test_silence_is_the_floor():
    np.testing.assert_allclose(LogMel(16000, 1024)(np.zeros((1, 4096), np.float32)), np.log(OFFSET), rtol=1e-6)
