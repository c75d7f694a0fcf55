"""Sound files: find, decode, write."""

import csv
import errno
import io
import os
import warnings
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr

from kgan.files import as_path, whole_file, whole_folder

# What libsndfile decodes, and after it what audioread adds where ffmpeg or the system can.
EXTENSIONS = {
    ".aif", ".aifc", ".aiff", ".au", ".avr", ".caf", ".flac", ".ircam", ".mp3", ".oga", ".ogg", ".opus", ".paf", ".pvf",
    ".rf64", ".sd2", ".sf", ".snd", ".svx", ".voc", ".w64", ".wav", ".wavex",
    ".aac", ".ac3", ".m4a", ".mp2", ".mp4", ".webm", ".wma",
}  # fmt: skip
BLOCK_FRAMES = 2**20
SYSTEM_ERRORS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}  # of the machine, not of a file
RATES_HZ = (1000, 768000)  # beyond them a file's header is damaged, and resampling would fill the memory


def find_audio(folder):
    """Return the sound files in a folder and below, sorted, hidden ones left out."""
    folder = as_path(folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_audio(file, sample_rate_hz, channels=1):
    """Decode a file to float32 `(samples, channels)` at a rate, resampled by soxr and mixed down or copied up.

    What libsndfile decodes is read in blocks: two hours of stereo at 44.1 kHz take 2 GiB on the way to clips at 16 kHz.

    Args:
        file: a path, or a binary file object of a format that libsndfile decodes.

    Raises:
        ValueError: the file cannot be decoded, is empty, or holds NaN or infinity. The message is for a list of such files.
        OSError: the machine fails: too many files are open, or a disk is broken.
    """
    try:
        with soundfile.SoundFile(os.fsencode(file) if isinstance(file, str | Path) else file) as sound:
            if not RATES_HZ[0] <= sound.samplerate <= RATES_HZ[1]:
                raise ValueError(f"states {sound.samplerate} samples per second")
            resampler = soxr.ResampleStream(sound.samplerate, sample_rate_hz, channels, dtype="float32", quality="HQ")
            parts = []
            for block in sound.blocks(BLOCK_FRAMES, dtype="float32", always_2d=True):
                parts.append(resampler.resample_chunk(_with_channels(block, channels)))
            parts.append(resampler.resample_chunk(np.empty((0, channels), np.float32), last=True))
            audio = np.concatenate(parts)
    except MemoryError:
        raise
    except soundfile.LibsndfileError as error:
        audio = _decoded_by_audioread(file, sample_rate_hz, channels, error.error_string)
    except Exception as error:  # whatever else is wrong with it, one bad file must not end the run
        raise ValueError(f"cannot be decoded: {error}") from error
    return _checked(audio)


def conform(audio, from_hz, to_hz, channels):
    """Bring float samples, `(samples,)` or `(samples, channels)`, to a rate and a number of channels.

    Raises:
        ValueError: there are none, or one is NaN or infinite.
    """
    audio = np.asarray(audio, np.float32)
    audio = _with_channels(audio[:, None] if audio.ndim == 1 else audio, channels)
    return _checked(soxr.resample(audio, from_hz, to_hz) if from_hz != to_hz else audio)


def _with_channels(audio, channels):
    """Mix `(samples, channels)` down to one and copy it up, unless there are as many as asked for."""
    if audio.shape[1] == channels:
        return audio
    return np.repeat(audio.mean(axis=1, keepdims=True), channels, axis=1)


def _checked(audio):
    if not len(audio):
        raise ValueError("holds no samples")
    if not np.isfinite(audio).all():
        raise ValueError("holds NaN or infinite samples")
    return audio


def _decoded_by_audioread(file, sample_rate_hz, channels, reason):
    """Decode what libsndfile could not, for the `reason` that it gave, by what else the system has."""
    if not isinstance(file, str | Path):
        raise ValueError(f"cannot be decoded: {reason}")
    try:
        open(file, "rb").close()
    except OSError as error:
        if error.errno in SYSTEM_ERRORS:
            raise
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # librosa tells of every file that it hands on
            audio, _ = librosa.load(file, sr=sample_rate_hz, mono=False)
    except Exception as error:
        raise ValueError(f"cannot be decoded: {str(error).strip() or reason}") from error
    return _with_channels(np.atleast_2d(audio).T, channels)


def write_wav(path, audio, sample_rate_hz):
    """Write float audio, `(samples,)` or `(samples, channels)` in [-1, 1], as a 16-bit WAV, whole or not at all."""
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(audio, -1.0, 1.0), sample_rate_hz, subtype="PCM_16", format="WAV")
    with whole_file(path) as scratch:
        scratch.write_bytes(encoded.getvalue())


def write_sounds(folder, audio, sample_rate_hz, latents, contact_sheet_png, labels=None):
    """Write `0000.wav`..., `latents.npy` and `contact_sheet.png` into a new folder, all of them or none.

    With labels, `{kind: (count,)}`, also `labels.csv` with a line for each file, which `evaluate` and training read.

    Raises:
        OSError: the folder exists and is not empty, or cannot be written.
    """
    with whole_folder(folder) as scratch:
        digits = max(4, len(str(len(audio) - 1)))
        files = [f"{i:0{digits}d}.wav" for i in range(len(audio))]
        for file, clip in zip(files, audio, strict=True):
            write_wav(scratch / file, clip, sample_rate_hz)
        np.save(scratch / "latents.npy", latents)
        (scratch / "contact_sheet.png").write_bytes(contact_sheet_png)
        if labels:
            with (scratch / "labels.csv").open("w", newline="", encoding="utf-8") as table:
                writer = csv.writer(table)
                writer.writerow(["file", *labels])
                writer.writerows(zip(files, *labels.values(), strict=True))
