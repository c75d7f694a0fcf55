"""Encode a set of sounds once, for representations whose encoding is too slow for every iteration."""

import hashlib
import json

import filelock
import joblib
import numpy as np
from tqdm import tqdm

from kgan.audio.pitch import CLEAR_HARMONICITY, FRAME_S, estimate_pitch
from kgan.audio.signal import mono
from kgan.data.sounds import has_pitches
from kgan.errors import InputError
from kgan.files import cache_folder, whole_folder
from kgan.text import one_line

VERSION = 2  # of the cache: increase it when the analysis changes
CHUNK = 32  # sounds that a process analyses at a time
BATCH = 256  # sounds in memory at a time
HIGHEST_HZ = 4500.0  # highest fundamental to search for


def encode_all(sounds, representation, adapt=False):
    """Encode all sounds for the networks, float32 `(count, *example_shape)`.

    The analysis is kept in the user's cache folder. It is made once for each set, on all cores, with a progress bar.

    Args:
        sounds: `Sounds` or `ShardedSounds`.
        representation: a representation with `encodes_once`.
        adapt: whether the representation first learns its statistics from these sounds.

    Raises:
        InputError: the sounds lack a label that the representation needs.
    """
    levels = _Analysed(sounds, representation)
    if adapt:
        representation.fit(levels)
    return np.concatenate([representation.project(each) for each in levels])


class _Analysed:
    """The levels of all sounds as a sequence of batches, stored in a file of 16-bit floats."""

    def __init__(self, sounds, representation):
        if not has_pitches(sounds):
            raise InputError(
                "--repr harmonic needs the MIDI pitch of every sound. Received: sounds without; --repr melif needs none."
            )
        labels = [sounds.labels[kind] for kind in representation.label_kinds]
        digest = hashlib.sha256(f"{VERSION} {representation.analysis}".encode())
        for values in labels:
            digest.update(np.asarray(values, np.int64).tobytes())
        for start in range(0, len(sounds), BATCH):
            digest.update(sounds.waveforms(slice(start, start + BATCH)).tobytes())
        cache = cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        folder = cache / f"analysis-{digest.hexdigest()[:16]}"
        with filelock.FileLock(folder.with_suffix(".lock")):  # one process analyses, others wait for it
            if not folder.exists():
                _analyse(sounds, labels, representation, folder)
        self._levels = np.load(folder / "levels.npy", mmap_mode="r")
        off = json.loads((folder / "octaves_off.json").read_text(encoding="utf-8"))
        if off:
            found = f"{len(off):,} of {len(sounds):,} sounds are heard an octave or two off their label pitch, {off[0]} first"
            tqdm.write(one_line(f"Warning: {found}. Their labels are used."))

    def __len__(self):
        return -(-len(self._levels) // BATCH)

    def __getitem__(self, number):
        if not 0 <= number < len(self):
            raise IndexError(number)
        return self._levels[number * BATCH : (number + 1) * BATCH].astype(np.float32)


def _analyse(sounds, labels, representation, folder):
    starts = range(0, len(sounds), CHUNK)
    analysed = joblib.Parallel(n_jobs=-1, return_as="generator")(
        joblib.delayed(representation.analysis.analyse_all)(
            sounds.waveforms(slice(start, start + CHUNK)), *(values[start : start + CHUNK] for values in labels)
        )
        for start in starts
    )
    with (
        whole_folder(folder) as scratch,
        (scratch / "levels.npy").open("wb") as file,
        tqdm(total=len(sounds), desc="Analysing the sounds (once)", unit="sound") as bar,
    ):
        for levels in analysed:
            if bar.n == 0:
                header = {"descr": "<f2", "fortran_order": False, "shape": (len(sounds), *levels.shape[1:])}
                np.lib.format.write_array_header_1_0(file, header)
            file.write(levels.astype("<f2").tobytes())
            bar.update(len(levels))
        (scratch / "octaves_off.json").write_text(json.dumps(_octaves_off(sounds)), encoding="utf-8")


def _octaves_off(sounds):
    """Return the ids of sounds with a clear pitch that is one or more octaves off their label."""
    found = []
    for start in range(0, len(sounds), BATCH):
        audio = mono(sounds.waveforms(slice(start, start + BATCH)))
        if audio.shape[1] < FRAME_S * sounds.sample_rate_hz:
            return []
        pitch = estimate_pitch(audio, sounds.sample_rate_hz, high_hz=HIGHEST_HZ)
        semitones = (
            12 * np.log2(np.nan_to_num(pitch.frequency_hz, nan=440) / 440) + 69 - sounds.labels["pitch"][start : start + BATCH]
        )
        octaves = np.round(semitones / 12)
        off = (pitch.harmonicity > CLEAR_HARMONICITY) & (octaves != 0) & (np.abs(semitones - 12 * octaves) < 0.5)
        found += [str(sounds.ids[start + i]) for i in np.flatnonzero(off)]
    return found
