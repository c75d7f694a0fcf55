"""How sounds begin and end: attack, decay, DC, and what clicks at the edges."""

from typing import NamedTuple

import numpy as np

FRAME_S = 0.01
ATTACK_FROM, ATTACK_TO = 0.1, 0.9  # of the largest frame
DECAY_AT = 0.7  # of a clip: the notes' keys are released after three quarters


class Envelope(NamedTuple):
    """What `measure_envelope` finds for each clip, float `(count,)`; NaN for silence but for `dc` and `edges`.

    Attributes:
        attack_s: seconds from where the level first is a tenth of its largest to where it first is nine tenths.
        decay_db: level at 70 % of the clip, in decibels relative to the largest.
        dc: mean of the samples, its size.
        edges: the first or the last sample, the larger of both; samples of a clip that ends before its sound does are not 0.
    """

    attack_s: np.ndarray
    decay_db: np.ndarray
    dc: np.ndarray
    edges: np.ndarray


def measure_envelope(audio, sample_rate_hz):
    """Measure the envelopes of clips, by the level in frames of 10 ms.

    Args:
        audio: float `(count, samples)`, at least 0.1 s.
        sample_rate_hz: samples per second.

    Returns:
        An `Envelope`.

    Raises:
        ValueError: the clips are shorter, or not `(count, samples)`.

    Reference: Peeters et al. 2011, "The Timbre Toolbox", section II.B: attack by the effort between two thresholds.
    """
    audio = np.asarray(audio, np.float64)
    frame_samples = round(FRAME_S * sample_rate_hz)
    if audio.ndim != 2 or audio.shape[1] < 10 * frame_samples:
        raise ValueError(f"`audio` must be (count, samples) of at least {10 * frame_samples}. Received: {audio.shape}")
    frames = audio[:, : audio.shape[1] // frame_samples * frame_samples].reshape(len(audio), -1, frame_samples)
    levels = np.sqrt(np.square(frames).mean(axis=2))
    largest = levels.max(axis=1, keepdims=True)
    relative = np.divide(levels, largest, out=np.full_like(levels, np.nan), where=largest > 0)
    attack_frames = (relative >= ATTACK_TO).argmax(axis=1) - (relative >= ATTACK_FROM).argmax(axis=1)
    silent = np.isnan(relative[:, 0])
    return Envelope(
        attack_s=np.where(silent, np.nan, attack_frames * FRAME_S),
        decay_db=20 * np.log10(np.maximum(relative[:, int(DECAY_AT * levels.shape[1])], 1e-5)),
        dc=np.abs(audio.mean(axis=1)),
        edges=np.abs(audio[:, [0, -1]]).max(axis=1),
    )
