"""How sounds begin and end: attack, decay, DC, and what clicks at the edges."""

from typing import NamedTuple

import numpy as np

ATTACK_WINDOW_S, ATTACK_HOP_S = 0.005, 0.001  # of the root mean square that is the envelope
ATTACK_FROM, ATTACK_TO = 0.1, 0.9  # of the envelope's maximum
FRAME_S = 0.01  # of the level that decays
DECAY_AT = 0.7  # of a clip: the notes' keys are released after three quarters


class Envelope(NamedTuple):
    """What `measure_envelope` finds for each clip, float `(count,)`; NaN for silence but for `dc` and `edges`.

    Attributes:
        attack_ms: see `attack_ms`.
        decay_db: level at 70 % of the clip, in decibels relative to the largest.
        dc: mean of the samples, its size.
        edges: the first or the last sample, the larger of both; samples of a clip that ends before its sound does are not 0.
    """

    attack_ms: np.ndarray
    decay_db: np.ndarray
    dc: np.ndarray
    edges: np.ndarray


def attack_ms(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return how long each sound takes from a tenth to nine tenths of its envelope's maximum, in milliseconds, `(count,)`.

    The envelope is the root mean square of windows of 5 ms, one each millisecond. Both levels are taken where they are first
    reached. Of a silent sound it is NaN.

    Args:
        audio: float `(count, samples)`.
        sample_rate_hz: samples per second.

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
    """Measure how clips begin and end; the decay by the level in frames of 10 ms.

    Args:
        audio: float `(count, samples)`, at least 0.1 s.
        sample_rate_hz: samples per second.

    Returns:
        An `Envelope`.

    Raises:
        ValueError: the clips are shorter, or not `(count, samples)`.
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
