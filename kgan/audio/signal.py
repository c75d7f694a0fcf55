"""Basic functions for signals."""

import numpy as np
import soxr

from kgan.errors import InputError

SILENT_PEAK = 1e-3  # -60 dB below full scale
HIGHEST_RATE_HZ = 384_000


def mono(audio):
    """Return mono audio `(count, samples)`: the mean of the channels of `(count, samples, channels)`."""
    return audio if audio.ndim == 2 else audio.mean(axis=2)


def checked_rate_hz(rate_hz):
    """Return a valid sample rate for resampling, an integer.

    Raises:
        InputError: It is not an integer from 1 to 384,000.
    """
    if not isinstance(rate_hz, int | np.integer) or not 1 <= rate_hz <= HIGHEST_RATE_HZ:
        raise InputError(f"`sample_rate_hz` must be an integer from 1 to {HIGHEST_RATE_HZ:,}. Received: {rate_hz}.")
    return int(rate_hz)


def resampled(audio, from_hz, to_hz):
    """Return a sound, `(samples,)` or `(samples, channels)`, resampled by soxr.

    If a peak between the original samples then exceeds full scale, the whole sound is scaled down to it.
    """
    if from_hz == to_hz:
        return audio
    audio = soxr.resample(audio, from_hz, to_hz)
    return audio / max(1.0, np.abs(audio).max(initial=0.0))


def edge_window(samples, fade_samples):
    """Return gains, float32 `(samples,)`: 1, with the rise and fall of a Hann window at the beginning and end."""
    rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade_samples) / fade_samples)
    gains = np.ones(samples, np.float32)
    gains[:fade_samples], gains[-fade_samples:] = rise, rise[::-1]
    return gains


def hz_to_mel(frequency_hz):
    """Return the frequency in HTK's mel: 1127 ln(1 + f / 700)."""
    return 1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0)


def mel_to_hz(mel):
    return 700.0 * np.expm1(np.asarray(mel) / 1127.0)
