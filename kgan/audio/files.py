"""Finds and writes sound files; `kgan.audio.decode` reads them."""

import csv
import io

import numpy as np
import soundfile

from kgan.audio.signal import resampled
from kgan.files import as_path, whole_file, whole_folder

EXTENSIONS = {
    ".aif", ".aifc", ".aiff", ".au", ".avr", ".caf", ".flac", ".ircam", ".mp3", ".oga", ".ogg", ".opus", ".paf", ".pvf",
    ".rf64", ".sd2", ".sf", ".snd", ".svx", ".voc", ".w64", ".wav", ".wave", ".wavex", ".bwf",
    ".3gp", ".aac", ".ac3", ".amr", ".ape", ".dts", ".eac3", ".m4a", ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp4", ".mpc",
    ".mpga", ".spx", ".tta", ".webm", ".wma", ".wv",
}  # fmt: skip


def find_audio(folder):
    """Return the sorted sound files in a folder and its subfolders, and the unreadable paths, `{path: reason}`.

    Links are followed unless they lead back to a parent folder. Hidden files and folders are skipped.
    """
    folder = as_path(folder)
    files, left_out = [], {}
    _search(folder, (folder.resolve(),), files, left_out)
    return sorted(files), left_out


def _search(folder, above, files, left_out):
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        left_out[folder] = f"cannot be read: {error.strerror}"
        return
    for path in paths:
        is_sound = path.suffix.lower() in EXTENSIONS
        if path.name.startswith("."):
            continue
        try:
            path.stat()
        except OSError as error:
            left_out[path] = f"cannot be read: {error.strerror}"
            continue
        if path.is_dir():
            if (real := path.resolve()) not in above:
                _search(path, (*above, real), files, left_out)
        elif is_sound and path.is_file():
            files.append(path)
        elif is_sound:
            left_out[path] = "is no regular file"


def write_wav(path, audio, sample_rate_hz, file_rate_hz=None):
    """Write float audio, `(samples,)` or `(samples, channels)` in [-1, 1], atomically as a 16-bit WAV file.

    If `file_rate_hz` differs, the audio is resampled to it, see `kgan.audio.signal.resampled`.
    """
    file_rate_hz = file_rate_hz or sample_rate_hz
    audio = np.clip(resampled(audio, sample_rate_hz, file_rate_hz), -1.0, 1.0)
    encoded = io.BytesIO()
    soundfile.write(encoded, audio, file_rate_hz, subtype="PCM_16", format="WAV")
    with whole_file(path) as scratch:
        scratch.write_bytes(encoded.getvalue())


def wav_names(count):
    """Return the names of `count` files: `0000.wav`, `0001.wav`, ..., with more digits if needed."""
    digits = max(4, len(str(count - 1)))
    return [f"{i:0{digits}d}.wav" for i in range(count)]


def write_sounds(folder, audio, sample_rate_hz, latents, contact_sheet_png, labels=None, file_rate_hz=None):
    """Write `0000.wav`..., `latents.npy` and `contact_sheet.png` to a new folder, all of them or none.

    With labels, `{kind: count texts}`, also write `labels.csv` with a line per file, which `evaluate` and training read.
    For `file_rate_hz` see `write_wav`.

    Raises:
        OSError: The folder exists and is not empty, or cannot be written.
    """
    with whole_folder(folder) as scratch:
        files = wav_names(len(audio))
        for file, clip in zip(files, audio, strict=True):
            write_wav(scratch / file, clip, sample_rate_hz, file_rate_hz)
        np.save(scratch / "latents.npy", latents)
        (scratch / "contact_sheet.png").write_bytes(contact_sheet_png)
        if labels:
            with (scratch / "labels.csv").open("w", newline="", encoding="utf-8") as table:
                writer = csv.writer(table)
                writer.writerow(["file", *labels])
                writer.writerows(zip(files, *labels.values(), strict=True))
