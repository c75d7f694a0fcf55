from dataclasses import dataclass, field

import numpy as np

FULL_SCALE = 32768.0  # int16 sample of amplitude 1.0, as libsndfile reads PCM16


@dataclass(frozen=True)
class Sounds:
    """Clips of one length in memory, with the labels that their source has.

    Attributes:
        audio: int16 `(count, samples)`, or `(count, samples, channels)` for more channels than one.
        sample_rate_hz: samples per second.
        ids: a name for each clip.
        labels: int32 `(count,)` for each kind of label, such as `pitch` (MIDI) or `family`.
        label_names: for a label that numbers names, the names in order.
        skipped: files left out, each with the reason.
    """

    audio: np.ndarray
    sample_rate_hz: int
    ids: list[str]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    label_names: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def __len__(self):
        return len(self.audio)

    def waveforms(self, indices=slice(None)):
        """Return float32 clips in [-1, 1)."""
        return self.audio[indices].astype(np.float32) / FULL_SCALE


def to_int16(audio):
    """Return float audio as int16, rounded; what is beyond full scale is clipped."""
    return np.clip(np.round(np.asarray(audio) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
