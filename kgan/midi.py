"""Performs MIDI files with a generator that was trained with the label `pitch`."""

import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import correlate
from tqdm import tqdm

from kgan.audio.notes import LONGEST_NOTE_S
from kgan.audio.pitch import midi_to_hz
from kgan.data.notes import HELD, PROGRAMS
from kgan.errors import InputError
from kgan.labels import ANY
from kgan.midi_file import read_midi
from kgan.synthesizer import BATCH_SIZE, Synthesizer, interpolate

LONGEST_S = 3600  # longest piece; it is mixed in memory
ANCHOR_S = 4.0  # time between the random latents of a path
STEPS = 16  # interpolation steps from one of them to the next, a quarter of a second each
RELEASE_S = 0.05  # fade-out of a note that is shorter than its clip
CROSSFADE_S = 0.05  # cross-fade at the joints of a note that is longer than its clip
BEND_S = 0.005  # largest time between the points of a pitch bend
STEADY = (0.35, 0.7)  # fractions of a clip: after the attack, and before the release of the key at `HELD`
STEADY_DB = 1.0  # a tone whose level falls by less than this over a loop is treated as not decaying


def perform(
    midi_path: str | Path,
    synthesizer: Synthesizer,
    labels: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Perform a MIDI file: every note is a sound of the generator that lasts as long as the note is held.

    - Each instrument of the file has its own timbre: the family of its General MIDI program, if the generator knows it.
      Other labels that are not requested are drawn once per instrument. The latent of an instrument glides to a new one
      every 4 s, and each note uses its value at the onset.
    - A note starts at the sample nearest to its onset. Velocity v is a gain of (v / 127)^2, which is 40 log10(v / 127) dB. If
      the generator has the label `velocity`, it gets the nearest value.
    - A note shorter than its clip fades out within 50 ms after the key is released. A longer note repeats the steady part
      of its clip, softer each time if the sound decays, and then ends as the clip does.
    - The sustain pedal holds notes until it is released or their key is struck again. Aftertouch, volume, pan and all other
      controllers are ignored, because the generator cannot make such sounds.
    - Notes outside the generator's pitches are transposed by octaves. Drums and pitch bends are left out.
    - A generator over harmonic plus noise plays every pitch and pitch bend, and holds every note without repetition.
    - A file that is truncated or broken is played as far as it can be read, see `kgan.midi_file.read_midi`.
    - Lines on the console report how much is left out or transposed, and where a file breaks off.
    - A mix that exceeds full scale is scaled down to it as a whole.

    Args:
        midi_path: Path of a Standard MIDI File.
        synthesizer: `Synthesizer` of a GAN conditioned on pitch.
        labels: Further requested labels, `{kind: value}`.
        seed: Random seed of the latents and labels.
        progress: Whether to show a progress bar.

    Returns:
        float32 `(samples,)` or `(samples, channels)` in [-1, 1], from time 0 of the file to the end of the last sound.

    Raises:
        InputError: The generator has no pitches, or its pitches are names; it was not trained on a label; the file cannot be
            read, is not MIDI, has no notes to play or lasts more than an hour.

    References:
        The MIDI Manufacturers Association, "Downloadable Sounds Level 1", 1.1b: the concave transform of velocity. Dannenberg
        2006, "The Interpretation of MIDI Velocity", ICMC, finds the square in synthesizers too.
        https://quod.lib.umich.edu/i/icmc/bbp2372.2006.042

    Example:
        >>> audio = perform("prelude.mid", synthesizer, {"family": 6}, seed=7)
        >>> write_wav("prelude.wav", audio, synthesizer.sample_rate_hz)
    """
    if "pitch" not in synthesizer.labels.kinds:
        raise InputError(
            "A MIDI file needs a generator that was trained with the label pitch, such as by `--preset fast`. Received: one"
            f" with {', '.join(synthesizer.labels.kinds) or 'no labels'}."
        )
    if "pitch" in synthesizer.labels.names:
        first = synthesizer.labels.names["pitch"][0]
        raise InputError(
            f"A MIDI file needs pitches that are MIDI numbers. Received: a generator whose pitches are names, {first} first."
        )
    if "pitch" in (labels or {}):
        raise InputError(f"The pitches are those of the MIDI file. Received: pitch {labels['pitch']} beside it.")
    notes, programs = read_midi(midi_path, bends=synthesizer.plays)
    last_s = max(note.end_s for note in notes)
    if last_s > LONGEST_S:
        raise InputError(f"A MIDI file must last an hour at most. Received: {midi_path} of {last_s:.0f} s.")
    instruments = len(programs)
    if not synthesizer.plays:
        notes = _in_range(notes, synthesizer.labels, midi_path)
    known = {"velocity"} & set(synthesizer.labels.kinds) - set(synthesizer.labels.names) - set(labels or {})
    velocities = synthesizer.labels.values["velocity"] if known else None
    labels = labels or {}
    families = {} if "instrument" in labels else _families(programs, synthesizer.labels)  # an instrument implies a family
    chosen = synthesizer.chosen_labels(instruments, families | labels, seed)
    paths = _latent_paths(synthesizer, instruments, max(note.start_s for note in notes), seed)
    rate_hz, mix, samples = synthesizer.sample_rate_hz, None, 0
    for first in tqdm(range(0, len(notes), BATCH_SIZE), "Performing", unit="batch", disable=not progress):
        batch = notes[first : first + BATCH_SIZE]
        latents = np.stack([paths[note.instrument, int(note.start_s / ANCHOR_S * STEPS)] for note in batch])
        asked = {kind: values[[note.instrument for note in batch]] for kind, values in chosen.items()}
        if velocities is not None:
            struck = np.array([note.velocity for note in batch])
            asked["velocity"] = velocities[np.abs(struck[:, None] - velocities).argmin(axis=1)]
        sounds = (_played if synthesizer.plays else _looped)(synthesizer, batch, latents, asked)
        for note, sound in zip(batch, sounds, strict=True):
            if mix is None:
                longest = round(max(note.end_s for note in notes) * rate_hz) + 2 * round(synthesizer.clip_s * rate_hz) + rate_hz
                mix = np.zeros((longest, *sound.shape[1:]), np.float32)
            start = round(note.start_s * rate_hz)
            end = start + len(sound)
            mix[start:end] += (note.velocity / 127) ** 2 * sound
            samples = max(samples, end)
    mix = mix[:samples]
    return mix / max(1.0, np.abs(mix).max())


def _played(synthesizer, notes, latents, labels):
    """Yield the sound of each note, including its release, from a generator that plays any duration."""
    for i, note in enumerate(notes):
        own = {kind: values[i] for kind, values in labels.items()} | {"pitch": note.pitch}
        duration_s = min(max(note.end_s - note.start_s, 0.0) + (1 - HELD) * synthesizer.clip_s, LONGEST_NOTE_S)
        bend = note.bend(np.linspace(note.start_s, note.start_s + duration_s, math.ceil(duration_s / BEND_S) + 1))
        bend = bend if np.ptp(bend) else bend[:1]
        yield synthesizer.play(latents[i : i + 1], own, duration_s=duration_s, bend_semitones=bend)[0]


def _looped(synthesizer, notes, latents, labels):
    """Yield the sound of each note from a generator of clips: cut, or with the steady part repeated."""
    clips = synthesizer.generate(latents, {**labels, "pitch": np.array([note.pitch for note in notes])})
    for note, clip in zip(notes, clips, strict=True):
        rate_hz = synthesizer.sample_rate_hz
        held = max(1, round(note.end_s * rate_hz) - round(note.start_s * rate_hz))
        sound = _lasting(clip.reshape(len(clip), -1), held, rate_hz, midi_to_hz(note.pitch))
        yield sound.reshape(-1, *clip.shape[1:])


def _families(programs, labels):
    """Return `{"family": (instruments,)}`: the families of the programs, `ANY` for a family that the generator lacks."""
    if "family" not in labels.kinds:
        return {}
    known = {name: value for value, name in enumerate(labels.names.get("family", ())) if value in labels.values["family"]}
    values = {program: known.get(name, ANY) for name, members in PROGRAMS.items() for program in members}
    return {"family": np.array([values.get(program, ANY) for program in programs], np.int32)}


def _in_range(notes, labels, path):
    """Return notes with pitches of the generator. Other notes are transposed by octaves to the nearest pitch, or left out."""
    nearest = {}
    for pitch in {note.pitch for note in notes}:
        octaves = [int(value) for value in labels.values["pitch"] if (value - pitch) % 12 == 0]
        nearest[pitch] = min(octaves, key=lambda value: abs(value - pitch), default=None)
    transposed = sum(nearest[note.pitch] not in (note.pitch, None) for note in notes)
    missing = sum(nearest[note.pitch] is None for note in notes)
    if missing == len(notes):
        raise InputError(f"A note must have a pitch {labels.listed('pitch')}, or an octave of it. Received: none in {path}.")
    if transposed:
        tqdm.write(
            f"Transposed by octaves: {transposed} of {len(notes)} notes. The generator has pitches {labels.listed('pitch')}."
        )
    if missing:
        tqdm.write(f"Left out: {missing} of {len(notes)} notes, because no octave of them is in the generator's range.")
    return [note._replace(pitch=nearest[note.pitch]) for note in notes if nearest[note.pitch] is not None]


def _latent_paths(synthesizer, instruments, last_s, seed):
    """Return paths of gliding latents, `(instruments, steps, latent_dim)`, that reach beyond `last_s`."""
    anchors = int(last_s / ANCHOR_S) + 2
    latents = synthesizer.latents(instruments * anchors, seed).reshape(instruments, anchors, -1)
    paths = [
        [interpolate(start, end, STEPS + 1, synthesizer.latent_distribution)[:-1] for start, end in pairwise(each)]
        for each in latents
    ]
    return np.reshape(paths, (instruments, -1, latents.shape[2]))


def _lasting(clip, held, rate_hz, frequency_hz):
    """Return the sound of a clip, `(n, channels)`, whose key is released after `held` samples."""
    sound = clip[: held + round(RELEASE_S * rate_hz)]
    if held > HELD * len(clip):
        sound = _sustained(clip, held, round(CROSSFADE_S * rate_hz), round(rate_hz / frequency_hz))
    fade = min(round(RELEASE_S * rate_hz), len(sound) - held)
    return np.concatenate([sound[:-fade], sound[-fade:] * (1.0 - _rise(fade))])  # no click, even if the clip breaks off


def _sustained(clip, held, fade, period):
    """Return a clip whose steady part repeats, so that its release begins `held` samples after the onset.

    Joints are cross-faded where the waveforms correlate best, so they are whole periods apart, even if the sound is out of
    tune. A decaying sound continues to decay: each repeat is softer by the fall of the level over one repeat.

    Args:
        clip: `(n, channels)`.
        held: Samples that the key is held, more than in the clip.
        fade: Samples of a cross-fade.
        period: Samples of a period. The clip's release is taken at most one period early.
    """
    clip = clip.astype(np.float64)  # precision for FFTs of quiet parts beside loud parts
    first, last, released = (round(share * len(clip)) for share in (*STEADY, HELD))
    fade = min(fade, (last - first) // 4)
    end = clip[last - fade : last]
    loop = clip[first + _likest(end, clip[first : (first + last) // 2]) : last]
    fall = _softer(end, loop[:fade])
    fall = 1.0 if fall > 10 ** (-STEADY_DB / 20) else fall
    again = np.concatenate([_crossfaded(end, fall * loop[:fade]), fall * loop[fade:-fade]])
    times = -(-(held - last + fade) // len(again))
    repeats = fall ** np.arange(times)[:, None, None] * again  # (times, samples, channels)
    sound = np.concatenate([clip[: last - fade], repeats.reshape(-1, clip.shape[1])])[:held]
    end = sound[-fade:]
    earliest = max(0, released - period - fade)
    release = clip[earliest + _likest(end, clip[earliest:released]) :]
    release = _softer(end, release[:fade]) * release
    return np.concatenate([sound[:-fade], _crossfaded(end, release[:fade]), release[fade:]])


def _likest(part, where):
    """Return the offset at which `where`, `(m, channels)`, correlates best with `part`, `(n, channels)`."""
    energy = correlate(where**2, np.ones_like(part), mode="valid")
    return int(np.argmax(correlate(where, part, mode="valid") / np.sqrt(np.maximum(energy, 1e-9))))


def _softer(end, start):
    """Return the gain, at most 1, that makes `start` as soft as `end`."""
    return float(np.sqrt(min(1.0, np.sum(end**2) / max(np.sum(start**2), 1e-9))))


def _crossfaded(end, start):
    """Cross-fade from `end` to `start`, both `(n, channels)`, with constant power.

    The fade is linear for equal sounds, has equal power for uncorrelated sounds, and lies between these by the correlation.

    Reference: Fink, Holters and Zölzer 2016, "Signal-matched power-complementary cross-fading and dry-wet mixing", DAFx-16.
    """
    correlation = np.sum(end * start) / max(np.sqrt(np.sum(end**2) * np.sum(start**2)), 1e-9)
    rise = _rise(len(end))
    power = rise**2 + (1.0 - rise) ** 2 + 2.0 * np.clip(correlation, 0.0, 1.0) * rise * (1.0 - rise)
    return ((1.0 - rise) * end + rise * start) / np.sqrt(power)


def _rise(samples):
    """Return a raised cosine from 0 towards 1, `(samples, 1)`."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(samples)[:, None] / samples)
