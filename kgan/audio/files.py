"""Sound files: find, decode, write."""

import io
from pathlib import Path

import librosa
import numpy as np
import soundfile

from kgan.files import whole_file, whole_folder

# What libsndfile decodes, and what audioread adds where ffmpeg or the system can.
EXTENSIONS = {
    ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".rf64", ".snd", ".w64",
    ".wav",
}  # fmt: skip


def find_audio(folder):
    """Return the sound files in a folder and below, sorted, hidden ones left out."""
    folder = Path(folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_audio(path, sample_rate_hz, channels=1):
    """Decode a file to float32 `(samples, channels)` at a rate, resampled by soxr and mixed down or copied up.

    Raises:
        ValueError: the file cannot be decoded, is empty, or holds NaN or infinity. The message is for a list of such files.
    """
    try:
        audio, _ = librosa.load(path, sr=sample_rate_hz, mono=False)
    except Exception as error:  # decoders raise whatever their back end does, and one bad file must not end the run
        raise ValueError(f"cannot be decoded: {str(error).strip() or type(error).__name__}") from error
    audio = np.atleast_2d(audio).T  # (samples, channels)
    if not len(audio):
        raise ValueError("holds no samples")
    if audio.shape[1] != channels:
        audio = np.repeat(audio.mean(axis=1, keepdims=True), channels, axis=1)
    return audio


def write_wav(path, audio, sample_rate_hz):
    """Write float audio, `(samples,)` or `(samples, channels)` in [-1, 1], as a 16-bit WAV, whole or not at all."""
    encoded = io.BytesIO()
    soundfile.write(encoded, np.clip(audio, -1.0, 1.0), sample_rate_hz, subtype="PCM_16", format="WAV")
    with whole_file(path) as scratch:
        scratch.write_bytes(encoded.getvalue())


def write_sounds(folder, audio, sample_rate_hz, latents, contact_sheet_png):
    """Write `0000.wav`..., `latents.npy` and `contact_sheet.png` into a new folder, all of them or none.

    Raises:
        OSError: the folder exists and is not empty, or cannot be written.
    """
    with whole_folder(folder) as scratch:
        digits = max(4, len(str(len(audio) - 1)))
        for i, clip in enumerate(audio):
            write_wav(scratch / f"{i:0{digits}d}.wav", clip, sample_rate_hz)
        np.save(scratch / "latents.npy", latents)
        (scratch / "contact_sheet.png").write_bytes(contact_sheet_png)
