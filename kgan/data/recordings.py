"""A recording before it is decoded, and the one way from it to clips."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from kgan.audio.files import conform, read_audio
from kgan.data.sounds import to_int16


@dataclass(frozen=True)
class Recording:
    """One recording of a source.

    Attributes:
        name: what it is called in ids and in the list of what was skipped.
        content: a path, which may be remote, the bytes of a sound file, or float samples `(samples,)` with `sample_rate_hz`;
            also a function that returns samples.
        labels: an integer for each kind of label.
        sample_rate_hz: of samples; a file states its own.
    """

    name: str
    content: Path | bytes | np.ndarray | Callable[[], np.ndarray]
    labels: dict[str, int] = field(default_factory=dict)
    sample_rate_hz: int | None = None


@dataclass(frozen=True)
class Clipping:
    """How recordings become clips of one length.

    Attributes:
        length_samples, sample_rate_hz, channels: of a clip.
        slicing: `"all"` cuts a recording from its start to its end, `"first"` takes its first clip, `"random"` one at a place
            that depends on `seed` and the recording's name alone.
        overlap: share of a clip that the next one repeats, in [0, 1), for `"all"`.
        pad_end: whether the last clip is filled up with zeros, when it is at least half sound or the only one. Without it,
            what does not fill a clip is left out.
        silence_db: clips whose peak, before it is normalised, is below it are left out; None keeps all.
        normalize: whether each recording's peak is brought to full scale.
        seed: of random slicing.
    """

    length_samples: int = 16384
    sample_rate_hz: int = 16000
    channels: int = 1
    slicing: Literal["all", "first", "random"] = "all"
    overlap: float = 0.0
    pad_end: bool = True
    silence_db: float | None = -80.0
    normalize: bool = True
    seed: int = 0

    def clips(self, recording):
        """Return the clips of a recording, int16 `(count, samples[, channels])`, at least one.

        Raises:
            ValueError: there are none; the message, such as "is silent", follows the recording's name in a list.
        """
        content = recording.content() if callable(recording.content) else recording.content
        if isinstance(content, np.ndarray):
            audio = conform(content, recording.sample_rate_hz, self.sample_rate_hz, self.channels)
        else:
            if not isinstance(content, bytes | Path):
                content = content.read_bytes()
            source = io.BytesIO(content) if isinstance(content, bytes) else content
            audio = read_audio(source, self.sample_rate_hz, self.channels)
        floor = 0.0 if self.silence_db is None else 10 ** (self.silence_db / 20)
        peak = np.abs(audio).max()
        if peak < floor:
            raise ValueError("is silent")
        if self.normalize and peak > 0:
            audio, floor = audio / peak, floor / peak
        clips = self._sliced(to_int16(audio), recording.name)
        if not len(clips):
            raise ValueError("is shorter than a clip")
        clips = clips[np.abs(clips.astype(np.int32)).max(axis=(1, 2)) >= floor * 32768]
        if not len(clips):
            raise ValueError("is silent where clips are taken; a last part shorter than half a clip is none")
        return clips[:, :, 0] if self.channels == 1 else clips

    def _sliced(self, audio, name):
        """Cut int16 `(samples, channels)` into `(count, length_samples, channels)`."""
        length = self.length_samples
        if self.slicing == "random":
            spare = max(len(audio) - length, 0)
            start = int(hashlib.sha256(f"{self.seed}/{name}".encode()).hexdigest(), 16) % (spare + 1)
            audio = audio[start : start + length]
        elif self.slicing == "first":
            audio = audio[:length]
        hop = max(1, round(length * (1.0 - self.overlap)))
        count = max(0, (len(audio) - length) // hop + 1)
        covered = (count - 1) * hop + length if count else 0
        rest = len(audio) - covered  # beyond the last whole clip
        if self.pad_end and (not count or (rest > 0 and len(audio) - count * hop >= length / 2)):
            count += 1
            audio = np.pad(audio, ((0, (count - 1) * hop + length - len(audio)), (0, 0)))
        starts = range(0, count * hop, hop)
        return np.stack([audio[start : start + length] for start in starts]) if count else audio[:0].reshape(0, length, 1)


@dataclass(frozen=True)
class Filter:
    """Which labelled recordings to take; None takes all.

    Attributes:
        families, sources: names, as in the source's `label_names`.
        pitches: lowest and highest MIDI pitch.
        velocities: MIDI velocities.
    """

    families: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    pitches: tuple[int, int] | None = None
    velocities: tuple[int, ...] | None = None

    def accepts(self, labels, label_names):
        """Return whether labels, integers by kind, pass. A recording without a label that is asked for does not."""

        def named(kind, chosen):
            return chosen is None or (kind in labels and kind in label_names and label_names[kind][labels[kind]] in chosen)

        return (
            named("family", self.families)
            and named("source", self.sources)
            and (self.pitches is None or self.pitches[0] <= labels.get("pitch", -1) <= self.pitches[1])
            and (self.velocities is None or labels.get("velocity") in self.velocities)
        )
