"""Any folder of sounds."""

import warnings
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from kgan.audio.files import EXTENSIONS, find_audio, read_audio
from kgan.data.sounds import Sounds, to_int16
from kgan.errors import InputError

SILENCE = 1e-4  # -80 dB: a peak below it is no sound


def load_folder(path, sample_rate_hz=16000, length_samples=16384, channels=1):
    """Load every sound in a folder and below, resampled, at full scale, cut into clips of one length.

    A file is cut from its start; its last clip is padded with zeros, or left out when it would be more than half padding
    and is not the only one. Silent clips are left out. A file that cannot be used is skipped and named in `skipped`.

    Args:
        path: the folder.
        sample_rate_hz: samples per second of the clips.
        length_samples: samples of a clip.
        channels: 1 or 2.

    Returns:
        `Sounds` without labels; ids are the file's path within the folder and the clip's number, `kicks/808.wav#0`.

    Raises:
        InputError: there is no such folder, or no usable sound in it.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise InputError(f"The data must be the name of a set or an existing folder of sounds. Received: {path}.")
    files = find_audio(path)
    if not files:
        raise InputError(f"There are no sound files in {path}. Looked for: {' '.join(sorted(EXTENSIONS))}.")
    # Threads: decoding and resampling let go of Python's lock.
    clips_of_files = joblib.Parallel(n_jobs=-1, return_as="generator", prefer="threads")(
        joblib.delayed(_clips_of)(file, sample_rate_hz, length_samples, channels) for file in files
    )
    clips, ids, skipped = [], [], {}
    with warnings.catch_warnings(), tqdm(clips_of_files, f"Reading {path.name}", len(files), unit="file") as bar:
        warnings.simplefilter("ignore")  # librosa tells of every file that it hands on to audioread
        for file, result in zip(files, bar, strict=True):
            name = file.relative_to(path).as_posix()
            if isinstance(result, str):
                skipped[name] = result
            else:
                clips.extend(result)
                ids.extend(f"{name}#{i}" for i in range(len(result)))
    if not clips:
        name, reason = next(iter(skipped.items()))
        raise InputError(f"None of the {len(files)} sound files in {path} can be used; the first, {name}, {reason}.")
    return Sounds(np.stack(clips), sample_rate_hz, ids, skipped=skipped)


def _clips_of(file, sample_rate_hz, length_samples, channels):
    """Return the file's clips, or in words why there are none."""
    try:
        audio = read_audio(file, sample_rate_hz, channels)
    except ValueError as error:
        return str(error)
    peak = np.abs(audio).max()
    if peak < SILENCE:
        return "is silent"
    audio = to_int16(audio / peak)
    count, rest = divmod(len(audio), length_samples)
    if not count or rest >= length_samples / 2:
        audio = np.pad(audio, ((0, (-rest) % length_samples), (0, 0)))
    clips = audio[: len(audio) // length_samples * length_samples].reshape(-1, length_samples, channels)
    clips = clips[np.abs(clips).max(axis=(1, 2)) >= SILENCE * 32768]
    if not len(clips):
        return "holds sound in its last part alone, which is shorter than half a clip"
    return clips[:, :, 0] if channels == 1 else clips
