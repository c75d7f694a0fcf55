"""Pitch scores: whether sounds have a clear pitch, and whether it is the requested one."""

import numpy as np
from scipy.special import entr

from kgan.audio.pitch import CLEAR_HARMONICITY, estimate_pitch, midi_to_hz

IN_TUNE_CENTS = 50.0
HIGHEST_HZ = 2100.0  # highest fundamental to search for, if no pitch was requested


def pitch_accuracy(probabilities: np.ndarray, pitches: np.ndarray) -> float:
    """Return the share of sounds in which a classifier finds the requested pitch.

    Args:
        probabilities: `(count, 128)`, one for each MIDI pitch.
        pitches: requested MIDI pitches, `(count,)`.

    Returns:
        The share, from 0 to 1.

    Reference: Engel et al. 2019, "GANSynth", section 4. https://arxiv.org/abs/1902.08710
    """
    return float(np.mean(np.argmax(probabilities, axis=1) == np.asarray(pitches)))


def pitch_entropy(probabilities: np.ndarray) -> float:
    """Return the mean entropy, in nats, of a classifier's pitch predictions: 0 if it is certain of each.

    Args:
        probabilities: `(count, 128)`, one for each MIDI pitch.

    Returns:
        The entropy, from 0 to log 128.

    Reference: Engel et al. 2019, "GANSynth", section 4. https://arxiv.org/abs/1902.08710
    """
    return float(entr(np.asarray(probabilities, np.float64)).sum(axis=1).mean())


def pitchedness(audio, sample_rate_hz, pitches=None):
    """Return pitch scores from the autocorrelation of sounds, without a classifier.

    Args:
        audio: float `(count, samples)`, at least 0.128 s.
        sample_rate_hz: samples per second.
        pitches: requested MIDI pitches, `(count,)`; None if there are none.

    Returns:
        A dictionary: `harmonicity` is the median, `pitched` the share of sounds with a harmonicity above 0.9, and `in_tune` the
        share within 50 cents of `pitches`.
    """
    found = _found(audio, sample_rate_hz, pitches)
    scores = {
        "harmonicity": float(np.median(found.harmonicity)),
        "pitched": float(np.mean(found.harmonicity > CLEAR_HARMONICITY)),
    }
    if pitches is not None:
        scores["in_tune"] = float(np.mean(_is_near(found.frequency_hz, pitches)))
    return scores


def in_tune(audio, sample_rate_hz, pitches):
    """Return whether each sound is within 50 cents of its pitch, bool `(count,)`; for the arguments see `pitchedness`."""
    return _is_near(_found(audio, sample_rate_hz, pitches).frequency_hz, pitches)


def _found(audio, sample_rate_hz, pitches):
    high_hz = HIGHEST_HZ if pitches is None else max(HIGHEST_HZ, 1.1 * midi_to_hz(max(pitches)))
    return estimate_pitch(audio, sample_rate_hz, high_hz=min(high_hz, sample_rate_hz / 2))


def _is_near(frequency_hz, pitches):
    cents = 1200 * np.log2(frequency_hz / 440) - 100 * (np.asarray(pitches) - 69)
    return np.abs(cents) < IN_TUNE_CENTS  # False for the NaN of a silent sound
