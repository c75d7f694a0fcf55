"""What is said of any signal."""

import numpy as np

SILENT_PEAK = 1e-3  # -60 dB below full scale


def mono(audio):
    """Return `(count, samples)`: the mean of the channels of audio that has them, `(count, samples, channels)`."""
    return audio if audio.ndim == 2 else audio.mean(axis=2)


def edge_window(samples, fade_samples):
    """Return gains, float32 `(samples,)`: 1, but for half a Hann window's rise at the beginning and fall at the end."""
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade_samples) / fade_samples)
    gains = np.ones(samples, np.float32)
    gains[:fade_samples], gains[-fade_samples:] = rise, rise[::-1]
    return gains


def hz_to_mel(frequency_hz):
    """Return HTK's mel: 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0)


def mel_to_hz(mel):
    return 700.0 * np.expm1(np.asarray(mel) / 1127.0)
