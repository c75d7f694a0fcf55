"""Measures how sounds begin and end: attack, decay, DC, and clicks at the edges."""

from typing import NamedTuple

import numpy as np

ATTACK_WINDOW_S, ATTACK_HOP_S = 0.005, 0.001  # of the envelope, a root mean square
ATTACK_FROM, ATTACK_TO = 0.1, 0.9  # fractions of the envelope's maximum
FRAME_S = 0.01  # frame of the level for the decay
DECAY_AT = 0.7  # fraction of a clip; the keys of notes are released after three quarters


class Envelope(NamedTuple):
    """The result of `measure_envelope` for each clip, float `(count,)`. For silence, all but `dc` and `edges` are NaN.

    Attributes:
        attack_ms: See `attack_ms`.
        decay_db: Level at 70 % of the clip, in decibels relative to the largest level.
        dc: Absolute value of the mean of the samples.
        edges: The larger absolute value of the first and the last sample. It is not 0 if a clip breaks off.
    """

    attack_ms: np.ndarray
    decay_db: np.ndarray
    dc: np.ndarray
    edges: np.ndarray


def attack_ms(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return the time in which the envelope of each sound rises from 10 % to 90 % of its maximum, in milliseconds.

    The envelope is the root mean square of windows of 5 ms, one per millisecond. Each level counts where it is first
    reached. The result is NaN for a silent sound.

    Args:
        audio: float `(count, samples)`.
        sample_rate_hz: Sample rate.

    Returns:
        Milliseconds, float64 `(count,)`.

    Reference: Peeters et al. 2011, "The Timbre Toolbox", section II.B.
    """
    window, hop = round(ATTACK_WINDOW_S * sample_rate_hz), round(ATTACK_HOP_S * sample_rate_hz)
    energy = np.cumsum(np.square(np.asarray(audio, np.float64)), axis=1)
    energy = np.pad(energy, ((0, 0), (1, 0)))
    envelope = np.sqrt((energy[:, window::hop] - energy[:, :-window:hop]) / window)
    largest = envelope.max(axis=1, keepdims=True)
    begin, end = ((envelope >= share * largest).argmax(axis=1) for share in (ATTACK_FROM, ATTACK_TO))
    return np.where(largest[:, 0] > 0.0, (end - begin) * 1000.0 * hop / sample_rate_hz, np.nan)


def measure_envelope(audio, sample_rate_hz):
    """Measure how clips begin and end. The decay uses the levels of 10 ms frames.

    Args:
        audio: float `(count, samples)`, at least 0.1 s.
        sample_rate_hz: Sample rate.

    Returns:
        An `Envelope`.

    Raises:
        ValueError: The clips are shorter than 0.1 s, or not `(count, samples)`.
    """
    audio = np.asarray(audio, np.float64)
    frame_samples = round(FRAME_S * sample_rate_hz)
    if audio.ndim != 2 or audio.shape[1] < 10 * frame_samples:
        raise ValueError(f"`audio` must be (count, samples) of at least {10 * frame_samples}. Received: {audio.shape}")
    frames = audio[:, : audio.shape[1] // frame_samples * frame_samples].reshape(len(audio), -1, frame_samples)
    levels = np.sqrt(np.square(frames).mean(axis=2))
    largest = levels.max(axis=1, keepdims=True)
    relative = np.divide(levels, largest, out=np.full_like(levels, np.nan), where=largest > 0)
    return Envelope(
        attack_ms=attack_ms(audio, sample_rate_hz),
        decay_db=20 * np.log10(np.maximum(relative[:, int(DECAY_AT * levels.shape[1])], 1e-5)),
        dc=np.abs(audio.mean(axis=1)),
        edges=np.abs(audio[:, [0, -1]]).max(axis=1),
    )
