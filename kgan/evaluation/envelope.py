"""Unsteadiness of a sound's level while it is held."""

import math

import numpy as np

from kgan.evaluation.log_mel import LogMel

HELD_FROM, HELD_TO = 0.2, 0.7  # share of a clip: after the attack, and before the release at three quarters
LEVEL_WINDOW_S, LEVEL_HOP_S = 0.064, 0.016  # four periods of the lowest built-in note, to average over its own beating
STRONGEST_BANDS = 6
BATCH_SIZE = 64
DB_PER_NEPER = 20.0 / math.log(10.0)


def level_noise_db(audio: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Return how much the level of each sound jumps from frame to frame while it is held, in decibels, `(count,)`.

    It is the `unsteadiness_db` of the mel bands in the frames between 20 and 70 % of the clip, 64 ms long and 16 ms apart.

    Args:
        audio: float `(count, samples)`, at least 0.128 s.
        sample_rate_hz: samples per second.

    Returns:
        Decibels, float64 `(count,)`.
    """
    window, hop = round(LEVEL_WINDOW_S * sample_rate_hz), round(LEVEL_HOP_S * sample_rate_hz)
    log_mel = LogMel(sample_rate_hz, window, hop)
    begin, end = (share * audio.shape[1] / hop for share in (HELD_FROM, HELD_TO))
    held = slice(math.ceil(begin), math.floor(end) + 1)
    batches = (log_mel(audio[start : start + BATCH_SIZE]).numpy() for start in range(0, len(audio), BATCH_SIZE))
    return np.concatenate([unsteadiness_db(DB_PER_NEPER * levels[:, held].astype(np.float64)) for levels in batches])


def unsteadiness_db(levels_db):
    """Return the median absolute second difference over frames of the levels of the six strongest bands, `(count,)`.

    It is 0 for a level that is constant or changes at a constant rate, and almost 0 for a slow vibrato.

    Args:
        levels_db: `(count, frames, bands)` in decibels, at least three frames. The strongest bands are those with the highest
            mean level.
    """
    strongest = np.argsort(levels_db.mean(axis=1), axis=1)[:, np.newaxis, -STRONGEST_BANDS:]
    jumps = np.diff(np.take_along_axis(levels_db, strongest, axis=2), n=2, axis=1)
    return np.median(np.abs(jumps), axis=(1, 2))
