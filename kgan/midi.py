"""MIDI files performed by a generator that was trained with the label pitch."""

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

LONGEST_S = 3600  # of a piece, which is mixed in memory
ANCHOR_S = 4.0  # between the latents that a path goes through
STEPS = 16  # from one of them to the next: a quarter of a second each
RELEASE_S = 0.05  # fade of a note that ends before its clip does
CROSSFADE_S = 0.05  # of the joints in a note that lasts longer than its clip
BEND_S = 0.005  # between the points of a bend, at most
STEADY = (0.35, 0.7)  # of a clip: behind the attack, and before the key is released at `HELD`
STEADY_DB = 1.0  # a fall of less than this from one end of a loop to the other is that of a tone that does not decay


def perform(
    midi_path: str | Path,
    synthesizer: Synthesizer,
    labels: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> np.ndarray:
    """Perform a MIDI file: every note is a sound of the generator, made to last as long as it is held.

    - Each instrument of the file has a timbre of its own: the family that its General MIDI program belongs to, where the
      generator knows it; other labels that were not asked for are drawn once. Its latent glides, through a new one every 4 s,
      and a note sounds as the latent is at its onset.
    - A note starts at the sample nearest to its onset. Velocity v is a gain of (v / 127)^2, 40 log10(v / 127) dB,
      and the nearest label `velocity` where the generator has labels of that kind.
    - A note shorter than its clip fades out within 50 ms after the key is released. A longer one repeats its clip's steady
      part, softer each time where the sound decays, and then ends as the clip does.
    - The sustain pedal holds notes until it is released or their key is struck again. Aftertouch, volume, pan and all other
      controllers are left out: the generator makes no such sounds.
    - Notes that the generator has no pitch for are transposed by octaves; drums and pitch bends are left out.
    - A generator over harmonic plus noise plays every pitch and pitch bend, and every note as long as it is held; nothing is
      repeated.
    - A file that is cut short or broken is played as far as it can be read: see `kgan.midi_file.read_midi`.
    - A line on the console says how much is left out or transposed, and where a file breaks off.
    - A mix that is louder than full scale is brought down to it, as a whole.

    Args:
        midi_path: a Standard MIDI File.
        synthesizer: a `Synthesizer` of a GAN conditioned on pitch.
        labels: further labels to ask for, `{kind: value}`.
        seed: of the latents and the labels drawn.
        progress: whether to show a bar.

    Returns:
        float32 `(samples,)` or `(samples, channels)` in [-1, 1], from the file's first second to the end of the last sound.

    Raises:
        InputError: the generator does not know pitches, or by names alone; a label is not one that it was trained on; the
            file cannot be read, is not MIDI, has no note to play or lasts more than an hour.

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
    families = {} if "instrument" in labels else _families(programs, synthesizer.labels)  # an instrument has its own
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
    """Yield the sound of each note as a generator plays it that can: as long as it is held, and its release."""
    for i, note in enumerate(notes):
        own = {kind: values[i] for kind, values in labels.items()} | {"pitch": note.pitch}
        duration_s = min(max(note.end_s - note.start_s, 0.0) + (1 - HELD) * synthesizer.clip_s, LONGEST_NOTE_S)
        bend = note.bend(np.linspace(note.start_s, note.start_s + duration_s, math.ceil(duration_s / BEND_S) + 1))
        bend = bend if np.ptp(bend) else bend[:1]
        yield synthesizer.play(latents[i : i + 1], own, duration_s=duration_s, bend_semitones=bend)[0]


def _looped(synthesizer, notes, latents, labels):
    """Yield the sound of each note of a generator that makes clips: cut, or its steady part repeated."""
    clips = synthesizer.generate(latents, {**labels, "pitch": np.array([note.pitch for note in notes])})
    for note, clip in zip(notes, clips, strict=True):
        rate_hz = synthesizer.sample_rate_hz
        held = max(1, round(note.end_s * rate_hz) - round(note.start_s * rate_hz))
        sound = _lasting(clip.reshape(len(clip), -1), held, rate_hz, midi_to_hz(note.pitch))
        yield sound.reshape(-1, *clip.shape[1:])


def _families(programs, labels):
    """Return `{"family": (instruments,)}`: the values of the programs' families, `ANY` for one that the generator lacks."""
    if "family" not in labels.kinds:
        return {}
    known = {name: value for value, name in enumerate(labels.names.get("family", ())) if value in labels.values["family"]}
    values = {program: known.get(name, ANY) for name, members in PROGRAMS.items() for program in members}
    return {"family": np.array([values.get(program, ANY) for program in programs], np.int32)}


def _in_range(notes, labels, path):
    """Return notes of pitches that the generator has, those of others transposed to the nearest octave that it has."""
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
        tqdm.write(f"Left out: {missing} of {len(notes)} notes, of which the generator has no octave.")
    return [note._replace(pitch=nearest[note.pitch]) for note in notes if nearest[note.pitch] is not None]


def _latent_paths(synthesizer, instruments, last_s, seed):
    """Return `(instruments, steps, latent_dim)`, latents that glide until `last_s` and after."""
    anchors = int(last_s / ANCHOR_S) + 2
    latents = synthesizer.latents(instruments * anchors, seed).reshape(instruments, anchors, -1)
    paths = [
        [interpolate(start, end, STEPS + 1, synthesizer.latent_distribution)[:-1] for start, end in pairwise(each)]
        for each in latents
    ]
    return np.reshape(paths, (instruments, -1, latents.shape[2]))


def _lasting(clip, held, rate_hz, frequency_hz):
    """Return a clip, `(n, channels)`, as it sounds when its key is released after `held` samples."""
    sound = clip[: held + round(RELEASE_S * rate_hz)]
    if held > HELD * len(clip):
        sound = _sustained(clip, held, round(CROSSFADE_S * rate_hz), round(rate_hz / frequency_hz))
    fade = min(round(RELEASE_S * rate_hz), len(sound) - held)
    return np.concatenate([sound[:-fade], sound[-fade:] * (1.0 - _rise(fade))])  # also a clip that breaks off must not click


def _sustained(clip, held, fade, period):
    """Return a clip whose steady part repeats, so that its own release begins `held` samples after the onset.

    Joints are cross-faded where the waveform is most like that before it: by the correlation they are whole periods apart,
    also of a sound that is not in tune. A sound that decays goes on to: each time round it is softer by what it fell in one.

    Args:
        clip: `(n, channels)`.
        held: samples, more than the clip's own key was held.
        fade: samples of a joint.
        period: samples. The release is at most one early in the clip, and so late after `held`.
    """
    clip = clip.astype(np.float64)  # FFTs of quiet parts beside loud ones
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
    """Return the gain, 1 at most, that makes `start` as soft as `end`."""
    return float(np.sqrt(min(1.0, np.sum(end**2) / max(np.sum(start**2), 1e-9))))


def _crossfaded(end, start):
    """Return what fades from `end` to `start`, both `(n, channels)`, in the power that they have together.

    Linear for equal sounds, of equal power for unrelated ones, and between them as far as they correlate.

    Reference: Fink, Holters and Zölzer 2016, "Signal-matched power-complementary cross-fading and dry-wet mixing", DAFx-16.
    """
    correlation = np.sum(end * start) / max(np.sqrt(np.sum(end**2) * np.sum(start**2)), 1e-9)
    rise = _rise(len(end))
    power = rise**2 + (1.0 - rise) ** 2 + 2.0 * np.clip(correlation, 0.0, 1.0) * rise * (1.0 - rise)
    return ((1.0 - rise) * end + rise * start) / np.sqrt(power)


def _rise(samples):
    """Return a raised cosine, `(samples, 1)`, from 0 towards 1."""
    return 0.5 - 0.5 * np.cos(np.pi * np.arange(samples)[:, None] / samples)
