import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from tqdm import tqdm

FULL_SCALE = 32768.0  # int16 sample of amplitude 1.0, as libsndfile reads PCM16
PITCHES = 128  # number of MIDI pitches
ALIGNMENT_BYTES = 64  # alignment that lets TensorFlow use memory without a copy


@dataclass(frozen=True, repr=False)
class Sounds:
    """Clips of one length in memory, with the labels of their source.

    Attributes:
        audio: int16 `(count, samples)`, or `(count, samples, channels)` for several channels.
        sample_rate_hz: samples per second.
        ids: a name for each clip.
        labels: int32 `(count,)` for each kind of label, such as `pitch` (MIDI) or `family`.
        label_names: for a label that numbers names, the names in order.
        skipped: `{file: reason}` of the files that were left out.
        remarks: `{file: remark}` of files that are incomplete or damaged.
    """

    audio: np.ndarray
    sample_rate_hz: int
    ids: list[str]
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    label_names: dict[str, list[str]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)

    def __len__(self):
        return len(self.audio)

    def __repr__(self):
        seconds = self.audio.shape[1] / self.sample_rate_hz
        labels = f", labels {', '.join(self.labels)}" if self.labels else ""
        skipped = f", {len(self.skipped)} skipped" if self.skipped else ""
        return f"<Sounds: {len(self)} clips of {seconds:.3g} s at {self.sample_rate_hz} Hz{labels}{skipped}>"

    def waveforms(self, indices: slice | Sequence[int] | np.ndarray = slice(None)) -> np.ndarray:
        """Return clips as floating-point numbers.

        Args:
            indices: numbers of the clips or a slice; all clips by default.

        Returns:
            float32 `(count, samples[, channels])` in [-1, 1).
        """
        return self.audio[indices].astype(np.float32) / FULL_SCALE

    def subset(self, indices: Sequence[int] | np.ndarray) -> "Sounds":
        """Return only the clips with these numbers, in the order of `indices`.

        Args:
            indices: numbers of the clips, which may repeat.

        Returns:
            `Sounds` with a copy of the clips, and the same `skipped` and `remarks`.
        """
        return replace(
            self,
            audio=taken(self.audio, indices),
            ids=[self.ids[i] for i in indices],
            labels={kind: values[indices] for kind, values in self.labels.items()},
        )

    def relabelled(self, labels: Mapping[str, np.ndarray], label_names: Mapping[str, list[str]] | None = None) -> "Sounds":
        """Return the same clips with other labels.

        Args:
            labels: int32 `(count,)` for each kind of label.
            label_names: the names that they number; None for none.

        Returns:
            `Sounds` that share the audio with these.
        """
        return replace(self, labels=labels, label_names=label_names or {})

    @functools.cached_property
    def _tensor(self):
        import tensorflow as tf

        # Without `init_scope`, a tensor that is created while a graph is traced would belong to that graph only.
        with tf.init_scope(), tf.device("CPU:0"):
            if self.audio.flags.carray and self.audio.ctypes.data % ALIGNMENT_BYTES == 0:
                return tf.experimental.dlpack.from_dlpack(self.audio.__dlpack__())  # the same memory, not a copy
            return tf.constant(self.audio)

    def gather(self, indices):
        """Return clips as an int16 tensor, given an int64 tensor of numbers."""
        import tensorflow as tf

        return tf.gather(self._tensor, indices)

    def batches(self, size: int = 320) -> Iterator[np.ndarray]:
        """Yield all clips once, in order, with a progress bar.

        Args:
            size: clips in a batch; the last one may have fewer.

        Yields:
            float32 `(size, samples[, channels])` in [-1, 1), see `waveforms`.
        """
        for start in tqdm(range(0, len(self), size), "Measuring the sounds", unit="batch", leave=False):
            yield self.waveforms(slice(start, start + size))


def has_pitches(sounds):
    """Return whether all sounds have a label `pitch` that is a MIDI pitch."""
    pitches = sounds.labels.get("pitch")
    return pitches is not None and "pitch" not in sounds.label_names and pitches.min() >= 0 and pitches.max() < PITCHES


def empty_clips(shape):
    """Return an int16 array of undefined values whose memory TensorFlow can share."""
    size_bytes = 2 * math.prod(shape)
    buffer = np.empty(size_bytes + ALIGNMENT_BYTES, np.uint8)
    start = -buffer.ctypes.data % ALIGNMENT_BYTES
    return buffer[start : start + size_bytes].view(np.int16).reshape(shape)


def taken(clips, indices):
    """Return int16 clips by number, in memory that TensorFlow can share."""
    indices = np.arange(len(clips))[indices]
    chosen = empty_clips((len(indices), *clips.shape[1:]))
    return np.take(clips, indices, axis=0, out=chosen, mode="clip")  # "raise" would copy; the line above raised


def to_int16(audio):
    """Round float audio to int16; samples beyond full scale are clipped."""
    return np.clip(np.round(np.asarray(audio) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
