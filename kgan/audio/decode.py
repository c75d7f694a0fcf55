"""Decodes sound files of any format.

libsndfile decodes uncompressed formats. FFmpeg, which PyAV includes, decodes compressed formats and those that libsndfile
does not know.
"""

import errno
import io
import re
from dataclasses import dataclass, field

import av
import numpy as np
import soxr

from kgan.audio.decoders import Inexact, decode_by_ffmpeg, decode_by_libsndfile, decode_repaired_wav
from kgan.audio.parts import parts_of

SYSTEM_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}  # faults of the machine, not of a file
RATES_HZ = (1000, 768000)  # outside this range the header is damaged, and resampling would fill the memory
CANCELLED = 10 ** (-30 / 20)  # channels cancel each other if the peak of their mix relative to theirs is below this
EMPTY = "holds no samples"
MALFORMED = "Supported file format but file is malformed"  # libsndfile's message; FFmpeg may still read most of the file

# The side of each channel by the number of channels, in the order of WAV files: left, right, or centre, which is in both.
SIDES = {3: "LRC", 4: "LRLR", 5: "LRCLR", 6: "LRCCLR", 7: "LRCCCLR", 8: "LRCCLRLR"}


@dataclass(frozen=True)
class Decoded:
    """The content of a sound file.

    Attributes:
        audio: float32 `(samples, channels)` at the requested rate.
        file_rate_hz: Sample rate of the file.
        remarks: Missing or damaged parts, such as "is cut short: 2.00 s of 4.00 s are there"; empty for an intact file.
    """

    audio: np.ndarray
    file_rate_hz: int
    remarks: list[str] = field(default_factory=list)


def read_audio(file, sample_rate_hz, channels=1):
    """Decode a file, resample it with soxr, and mix it to one or two channels.

    A file that consists of several concatenated files, as from internet radio, is read to its end. Mono is the mean of all
    channels; stereo is the mean of the channels on each side. Decoding two hours of stereo at 44.1 kHz to 16 kHz needs 2 GiB.

    Args:
        file: Path or binary file object.
        sample_rate_hz: Sample rate of the result.
        channels: 1 or 2.

    Returns:
        `Decoded`.

    Raises:
        ValueError: The file cannot be read or decoded, is empty, holds NaN or infinity, or its channels cancel each other. The
            message, such as "holds no samples", is meant to follow the name of the file.
        OSError: The system fails: too many files are open, or a disk is broken.
    """
    try:
        if hasattr(file, "read"):
            return _read(file, sample_rate_hz, channels)
        with open(file, "rb") as opened:
            return _read(opened, sample_rate_hz, channels)
    except OSError as error:
        if error.errno in SYSTEM_ERRORS:
            raise
        raise ValueError(f"cannot be read: {error.strerror or error}") from error


def conform(audio, from_hz, to_hz, channels):
    """Convert float samples, `(samples,)` or `(samples, channels)`, to a rate and number of channels, as `read_audio` does.

    Raises:
        ValueError: There are no samples, one is NaN or infinite, or the channels cancel each other.
    """
    audio = np.asarray(audio, np.float32)
    blocks = [(from_hz, audio[:, None] if audio.ndim == 1 else audio)]
    return _checked(*_conformed(blocks, to_hz, channels)).audio


def _read(file, sample_rate_hz, channels):
    file = file if file.seekable() else io.BytesIO(file.read())
    parts = parts_of(file)
    if len(parts) == 1:
        return _decoded(file, sample_rate_hz, channels)
    found, remarks = [], []
    for number, part in enumerate(parts, 1):
        try:
            found.append(_decoded(part, sample_rate_hz, channels))
            told = found[-1].remarks
        except ValueError as error:
            told = [str(error)]
        remarks += [f"{each}, in part {number} of {len(parts)}" for each in told]
    if not found:
        raise ValueError(remarks[0])
    return Decoded(np.concatenate([each.audio for each in found]), found[0].file_rate_hz, remarks)


def _decoded(file, sample_rate_hz, channels):
    """Return the result of the first decoder that finds samples."""
    decoders = [decode_by_libsndfile, decode_repaired_wav, decode_by_ffmpeg]
    start = file.read(4)
    if not start:
        raise ValueError("is empty")
    if re.match(rb"fLaC|ID3|\xff[\xe0-\xff]", start):  # libsndfile stops at damage, or prints messages
        decoders.reverse()
    reasons = []
    for decode in decoders:
        file.seek(0)
        remarks = []
        try:
            conformed = _conformed(decode(file, remarks), sample_rate_hz, channels)
        except MemoryError:
            raise
        except Inexact:
            continue
        except Exception as error:  # the next decoder may still read the file
            if isinstance(error, OSError) and not isinstance(error, av.FFmpegError) and error.errno in SYSTEM_ERRORS:
                raise
            reason = getattr(error, "error_string", "") or getattr(error, "strerror", "") or str(error)
            reasons.append(reason.strip().rstrip("."))
            continue
        if len(conformed[0]):
            malformed = [f"is damaged: {reason}" for reason in reasons[:1] if reason == MALFORMED]
            return _checked(*conformed, remarks or malformed)
        reasons.append(EMPTY)
    if EMPTY in reasons:
        raise ValueError(EMPTY)
    raise ValueError(f"cannot be decoded: {'; '.join(dict.fromkeys(reasons))}")


def _conformed(blocks, to_hz, channels):
    """Return audio `(samples, channels)` from pairs of rate and block, the last file rate, and whether channels cancel."""
    parts, resampler, from_hz, peak, mixed_peak = [np.empty((0, channels), np.float32)], None, None, 0.0, 0.0
    for rate_hz, block in blocks:
        if rate_hz != from_hz:
            parts.append(_rest(resampler, channels))
            if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
                raise ValueError(f"states {rate_hz} samples per second")
            from_hz, resampler = rate_hz, soxr.ResampleStream(rate_hz, to_hz, channels, dtype="float32", quality="HQ")
        mixed = _with_channels(block, channels)
        peak, mixed_peak = (max(old, np.abs(new).max(initial=0.0)) for old, new in ((peak, block), (mixed_peak, mixed)))
        parts.append(resampler.resample_chunk(mixed))
    return np.concatenate([*parts, _rest(resampler, channels)]), from_hz, mixed_peak < CANCELLED * peak


def _rest(resampler, channels):
    empty = np.empty((0, channels), np.float32)
    return resampler.resample_chunk(empty, last=True) if resampler else empty


def _with_channels(audio, channels):
    """Mix any number of channels to one or two, `(samples, channels)`."""
    if audio.shape[1] == channels:
        return audio
    if channels == 1 or audio.shape[1] == 1:
        return np.repeat(audio.mean(axis=1, keepdims=True), channels, axis=1)
    if audio.shape[1] not in SIDES:
        raise ValueError(f"has {audio.shape[1]} channels of unknown places; --data.channels 1 takes their mean")
    sides = SIDES[audio.shape[1]]
    return np.stack([audio[:, [at in side for at in sides]].mean(axis=1) for side in ("LC", "RC")], axis=1)


def _checked(audio, file_rate_hz, is_cancelled, remarks=()):
    if not len(audio):
        raise ValueError(EMPTY)
    if not np.isfinite(audio).all():
        raise ValueError("holds NaN or infinite samples")
    if is_cancelled:
        raise ValueError("has channels that cancel each other when mixed; --data.channels 2 keeps them apart")
    return Decoded(audio, file_rate_hz, list(remarks))
