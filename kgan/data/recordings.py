"""Recordings before they are decoded, and how they are cut into clips."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from kgan.audio.decode import conform, read_audio
from kgan.data.sounds import FULL_SCALE, to_int16
from kgan.labels import UNKNOWN

OVERLOAD = 4.0  # times full scale; samples beyond it have another scale, such as integers


@dataclass(frozen=True)
class Recording:
    """One recording of a source.

    Attributes:
        name: name in ids and in the list of skipped recordings.
        content: a path, which may be remote; the bytes of a sound file; float samples `(samples,)` with `sample_rate_hz`; or a
            function that returns samples.
        labels: an integer for each kind of label; `UNKNOWN` if this recording lacks a label that others have.
        sample_rate_hz: sample rate of samples; a file has its own.
    """

    name: str
    content: Path | bytes | np.ndarray | Callable[[], np.ndarray]
    labels: dict[str, int] = field(default_factory=dict)
    sample_rate_hz: int | None = None


@dataclass(frozen=True)
class Clipping:
    """How recordings become clips of one length.

    Attributes:
        length_samples, sample_rate_hz, channels: format of a clip.
        slicing: `"all"` cuts the whole recording into clips, `"first"` takes its first clip, and `"random"` takes one clip at a
            position that depends only on `seed` and the recording's name.
        overlap: share of a clip that the next clip repeats, in [0, 1), for `"all"`.
        pad_end: whether to pad the last clip with zeros if it is at least half full or the only one. Otherwise, an incomplete
            clip is left out.
        silence_db: clips below this level before normalisation are left out. The level is half the difference between the
            highest and the lowest sample, so that a constant signal is silent, too. None keeps all clips.
        normalize: whether to scale each recording's peak to full scale.
        seed: seed of random slicing.
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
        """Return the clips of a recording, int16 `(count, samples[, channels])`, at least one, and remarks, see `Decoded`.

        Raises:
            ValueError: there are no clips. The message, such as "is silent", continues the recording's name in a list.
        """
        audio, remarks = self._read(recording)
        floor = 0.0 if self.silence_db is None else 10 ** (self.silence_db / 20)
        if _swing(audio[np.newaxis])[0] < floor:
            raise ValueError("is silent")
        peak = np.abs(audio).max()
        if self.normalize and peak > 0:
            audio, floor = audio / peak, floor / peak
        elif peak > OVERLOAD:
            raise ValueError(f"has samples of {peak:,.0f} times full scale; --data.normalize true brings them into range")
        elif peak > 1.0:
            remarks.append(f"is clipped: its peak is {peak:.2f} times full scale")
        clips = self._sliced(to_int16(audio), recording.name)
        if not len(clips):
            raise ValueError("is shorter than a clip")
        clips = clips[_swing(clips.astype(np.float32)) >= floor * FULL_SCALE]
        if not len(clips):
            raise ValueError("is silent where clips are taken; a last part shorter than half a clip is not used")
        return clips[:, :, 0] if self.channels == 1 else clips, remarks

    def _read(self, recording):
        content = recording.content() if callable(recording.content) else recording.content
        if isinstance(content, np.ndarray):
            return conform(content, recording.sample_rate_hz, self.sample_rate_hz, self.channels), []
        if not isinstance(content, bytes | Path):
            content = content.read_bytes()
        source = io.BytesIO(content) if isinstance(content, bytes) else content
        decoded = read_audio(source, self.sample_rate_hz, self.channels)
        return decoded.audio, decoded.remarks

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


def _swing(clips):
    """Return half the difference between the highest and lowest sample of each clip, `(count,)`, in its loudest channel."""
    return (clips.max(axis=1) - clips.min(axis=1)).max(axis=1) / 2


@dataclass(frozen=True)
class Filter:
    """Which recordings to use, by their labels; None uses all.

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
        """Return whether labels, integers by kind, pass. Recordings that lack a filtered label do not pass."""

        def named(kind, chosen):
            if chosen is None:
                return True
            value = labels.get(kind, UNKNOWN)
            return value != UNKNOWN and kind in label_names and label_names[kind][value] in chosen

        return (
            named("family", self.families)
            and named("source", self.sources)
            and (self.pitches is None or self.pitches[0] <= labels.get("pitch", -1) <= self.pitches[1])
            and (self.velocities is None or labels.get("velocity") in self.velocities)
        )
