"""Estimates fundamental frequency and harmonicity by autocorrelation, fast enough for thousands of clips."""

from typing import NamedTuple

import numpy as np

FRAME_S = 0.128  # three and a half periods of the lowest fundamental
OCTAVE_COST = 0.02  # prefers the shorter of two periods with near-equal peaks, because multiples of a period also peak
CLEAR_HARMONICITY = 0.9  # smallest share of a clear note's energy that repeats from period to period
UPSAMPLING = 4  # of the autocorrelation, so that the period of a high note has enough lags


class Pitch(NamedTuple):
    """The result of `estimate_pitch` for each clip.

    Attributes:
        frequency_hz: Fundamental frequency, float `(batch,)`; NaN for a silent clip.
        harmonicity: Share of the energy that repeats from period to period, `(batch,)` in [0, 1]: near 1 for a steady
            note, below 0.5 for noise, 0 for silence.
    """

    frequency_hz: np.ndarray
    harmonicity: np.ndarray


def midi_to_hz(pitch):
    """Return the frequency of a MIDI pitch, which may be fractional."""
    return 440.0 * 2.0 ** ((pitch - 69.0) / 12.0)


def estimate_pitch(audio, sample_rate_hz, low_hz=27.5, high_hz=2100.0):
    """Estimate pitch and harmonicity of clips as medians over the louder half of their frames.

    Args:
        audio: Mono clips, float `(batch, samples)`, at least 0.128 s.
        sample_rate_hz: Sample rate.
        low_hz, high_hz: Range of fundamental frequencies.

    Returns:
        A `Pitch`.

    Raises:
        ValueError: The clips are shorter than a frame or not `(batch, samples)`.

    Reference: Boersma 1993, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise
        ratio of a sampled sound", Proceedings of the Institute of Phonetic Sciences 17: the autocorrelation of a
        windowed frame divided by that of the window.
    """
    audio = np.asarray(audio, np.float64)
    frame_samples = round(FRAME_S * sample_rate_hz)
    if audio.ndim != 2 or audio.shape[1] < frame_samples:
        raise ValueError(f"`audio` must be (batch, samples) with at least {frame_samples} samples. Received: {audio.shape}")
    return Pitch(*np.array([_clip_pitch(clip, sample_rate_hz, frame_samples, low_hz, high_hz) for clip in audio]).T)


def _clip_pitch(clip, sample_rate_hz, frame_samples, low_hz, high_hz):
    frames = np.lib.stride_tricks.sliding_window_view(clip, frame_samples)[:: frame_samples // 2]
    levels = frames.std(axis=1)
    if levels.max() < 1e-6:
        return np.nan, 0.0
    frames = frames[levels >= np.median(levels)]
    correlation = _normalised_autocorrelation(frames)  # (frames, lags)
    lags = np.arange(correlation.shape[1]) / UPSAMPLING
    shortest, longest = sample_rate_hz / high_hz, min(sample_rate_hz / low_hz, 0.75 * frame_samples)
    inside = correlation[:, 1:-1]
    peaks = (inside > correlation[:, :-2]) & (inside >= correlation[:, 2:])
    peaks &= (lags[1:-1] >= shortest) & (lags[1:-1] <= longest)
    strength = np.where(peaks, inside - OCTAVE_COST * np.log2(np.maximum(lags[1:-1], 1.0) / shortest), -np.inf)
    best = strength.argmax(axis=1)
    rows = np.arange(len(best))
    found = np.isfinite(strength[rows, best])
    if not found.any():
        return np.nan, 0.0
    left, centre, right = (correlation[rows, best + i] for i in range(3))
    curvature = left - 2 * centre + right
    offset = np.divide(left - right, 2 * curvature, out=np.zeros_like(left), where=curvature != 0)
    periods = (best + 1 + offset) / UPSAMPLING
    return np.median(sample_rate_hz / periods[found]), np.median(np.clip(np.where(found, centre, 0.0), 0.0, 1.0))


def _normalised_autocorrelation(frames):
    """Return the autocorrelation divided by that of the window, 1 at lag 0, at `UPSAMPLING` lags per sample."""
    window = np.hanning(frames.shape[1] + 2)[1:-1]
    frames = (frames - frames.mean(axis=1, keepdims=True)) * window
    correlation, window_correlation = (_autocorrelation(x) for x in (frames, window[None]))
    correlation = correlation / np.maximum(correlation[:, :1], 1e-12)
    return correlation / np.maximum(window_correlation / window_correlation[:, :1], 1e-3)


def _autocorrelation(x):
    size = 2 * x.shape[1]
    power = np.abs(np.fft.rfft(x, size)) ** 2
    return np.fft.irfft(power, size * UPSAMPLING)[:, : x.shape[1] * UPSAMPLING]
