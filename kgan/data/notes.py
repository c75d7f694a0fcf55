"""The built-in set: notes of General MIDI instruments, with the same labels as NSynth.

90 instruments of all 11 families, 48 pitches and 2 velocities: 8,640 notes, rendered once and cached. The labels give the
pitch that sounds: programs whose samples sound at another pitch than the key (glockenspiel, guitar harmonics, fifths) are left
out, and the organs, which add the octave below, are played an octave higher.

Reference for the labels: Engel et al. 2017, "Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders".
https://arxiv.org/abs/1704.01279
"""

import hashlib
import importlib.util
import io
from pathlib import Path

import filelock
import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from tqdm import tqdm

from kgan.data.sounds import Sounds, taken, to_int16
from kgan.errors import InputError
from kgan.files import cache_folder, remove_unfinished, whole_folder

VERSION = 1  # of the cache: increase it when a rendered byte changes
FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal"
)  # in NSynth's order  # fmt: skip
SOURCES = ("acoustic", "electronic", "synthetic")
PITCHES = range(36, 84)  # MIDI, C2 to B5
VELOCITIES = (50, 100)
HELD = 0.75  # share of a clip after which the key is released; NSynth's is 3 s of 4 s
SPLITS = ("train", "valid", "test")

PROGRAMS = {  # General MIDI, counted from 0
    "bass": (32, 33, 34, 35, 36, 37, 38, 39),
    "brass": (56, 57, 58, 59, 60, 61, 62, 63),
    "flute": (72, 73, 74, 75, 76, 79),
    "guitar": (24, 25, 26, 27, 28, 29, 30, 104, 105, 106, 107),
    "keyboard": (0, 1, 2, 3, 4, 5, 6, 7),
    "mallet": (10, 11, 12, 108, 114),
    "organ": (16, 17, 18, 19, 20),
    "reed": (22, 64, 66, 68, 69, 70, 71, 109, 111),
    "string": (40, 41, 42, 43, 44, 45, 46, 48, 49, 50, 51, 110),
    "synth_lead": (80, 81, 82, 83, 84, 87, 88, 89, 90, 92, 93, 94, 95),
    "vocal": (52, 53, 54, 85, 91),
}
ELECTRONIC = {2, 4, 5, 7, 16, 17, 18, 26, 27, 28, 29, 30, 33, 34, 35, 36, 37}
SYNTHETIC = {38, 39, 50, 51, 54, 62, 63, 85, 91, *PROGRAMS["synth_lead"]}
SOUNDS_AN_OCTAVE_BELOW_ITS_KEY = {16, 17, 18, 19}

_TICKS_PER_S = 960
_GAP_S = 0.1  # silence between notes, for the ringing of the resampler


def load_notes(
    split: str = "train",
    sample_rate_hz: int = 16000,
    length_samples: int = 16384,
    channels: int = 1,
    cache_dir: str | Path | None = None,
) -> Sounds:
    """Load the built-in notes. If they are not in the cache, they are rendered first (a minute, with a progress bar).

    All velocities of one instrument and pitch are in the same split, because they are near copies after peak normalisation.

    Args:
        split: `"train"` (80 %), `"valid"` or `"test"` (10 % each).
        sample_rate_hz: samples per second.
        length_samples: samples of each note; the key is released after three quarters. At 16 kHz, 64000 are NSynth's 4 s.
        channels: 1 or 2.
        cache_dir: folder of the cache; by default `$KGAN_CACHE`, else the user's cache folder.

    Returns:
        `Sounds`, peak-normalised, with the labels `pitch`, `velocity`, `family`, `source` and `instrument` (the name of the
        General MIDI program), and ids such as `bass_synthetic_038-060-100`.

    Raises:
        InputError: the split is unknown, or this platform has no MIDI renderer.
    """
    import pretty_midi  # takes a second

    if split not in SPLITS:
        raise InputError(f"`split` must be one of {', '.join(SPLITS)}. Received: {split!r}.")
    root = Path(cache_dir).expanduser() if cache_dir else cache_folder()
    folder = root / f"notes-v{VERSION}-{sample_rate_hz}hz-{length_samples}x{channels}"
    if not folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / ".lock"):  # one process renders, others wait for it
            remove_unfinished(root)
            if not folder.exists():
                _render_all(folder, sample_rate_hz, length_samples, channels)
    notes = _notes()
    chosen = np.flatnonzero([_split_of(note) == split for note in notes])
    columns = np.array([notes[i] for i in chosen], np.int32).T
    labels = dict(zip(("instrument", "family", "source", "pitch", "velocity"), columns, strict=True))
    return Sounds(
        audio=taken(np.load(folder / "audio.npy", mmap_mode="r"), chosen),
        sample_rate_hz=sample_rate_hz,
        ids=[_note_id(*notes[i]) for i in chosen],
        labels=labels,
        label_names={"family": list(FAMILIES), "source": list(SOURCES), "instrument": list(pretty_midi.INSTRUMENT_MAP)},
    )


def _notes():
    """Return (instrument, family, source, pitch, velocity) of every note, in the order of the cache."""
    return [
        (program, FAMILIES.index(family), _source_of(program), pitch, velocity)
        for family, programs in PROGRAMS.items()
        for program in programs
        for pitch in PITCHES
        for velocity in VELOCITIES
    ]


def _source_of(program):
    name = "electronic" if program in ELECTRONIC else "synthetic" if program in SYNTHETIC else "acoustic"
    return SOURCES.index(name)


def _note_id(program, family, source, pitch, velocity):
    return f"{FAMILIES[family]}_{SOURCES[source]}_{program:03d}-{pitch:03d}-{velocity:03d}"


def _split_of(note):
    program, _, _, pitch, _ = note
    bucket = int(hashlib.sha256(f"{program}-{pitch}".encode()).hexdigest(), 16) % 10
    return SPLITS[max(0, bucket - 7)]


def _render_all(folder, sample_rate_hz, length_samples, channels):
    if importlib.util.find_spec("midirenderer") is None:
        raise InputError(
            "The built-in notes need the package `midirenderer`, which has no wheel for this platform. Train on a folder of"
            " your own sounds with --data FOLDER, or render the notes on another machine and copy its cache."
        )
    programs = [program for family in PROGRAMS.values() for program in family]
    per_program = len(PITCHES) * len(VELOCITIES)
    clip_shape = (length_samples,) if channels == 1 else (length_samples, channels)
    rendered = joblib.Parallel(n_jobs=-1, return_as="generator")(
        joblib.delayed(_render_program)(program, sample_rate_hz, length_samples, channels) for program in programs
    )
    with (
        whole_folder(folder) as scratch,
        # Written in order, not through a memory map: a full disk must raise an error, not end the process.
        (scratch / "audio.npy").open("wb") as file,
        tqdm(total=len(programs) * per_program, desc="Rendering the built-in notes (once)", unit="note") as bar,
    ):
        header = {"descr": "<i2", "fortran_order": False, "shape": (bar.total, *clip_shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for notes in rendered:
            file.write(notes.astype("<i2").tobytes())
            bar.update(per_program)
    get_reusable_executor().shutdown()  # idle workers would keep memory and pipes for minutes


def _render_program(program, sample_rate_hz, length_samples, channels):
    """Return int16 `(pitches * velocities, samples[, channels])`, each note at full scale."""
    import midirenderer
    import soundfile
    import soxr

    soundfont = Path(importlib.util.find_spec("pretty_midi").origin).with_name("TimGM6mb.sf2")
    clip_s = length_samples / sample_rate_hz
    slot_ticks = round((clip_s + _GAP_S) * _TICKS_PER_S)
    wav = midirenderer.render_wave_from(soundfont.read_bytes(), _midi_of(program, clip_s, slot_ticks))
    stereo, rendered_rate_hz = soundfile.read(io.BytesIO(wav), dtype="float32")
    stereo = soxr.resample(stereo, rendered_rate_hz, sample_rate_hz)
    slot_samples = slot_ticks / _TICKS_PER_S * sample_rate_hz
    starts = [round(i * slot_samples) for i in range(len(PITCHES) * len(VELOCITIES))]
    clips = np.stack([stereo[start : start + length_samples] for start in starts])  # (notes, samples, 2)
    clips = clips.mean(axis=2) if channels == 1 else clips
    peaks = np.abs(clips).reshape(len(clips), -1).max(axis=1)
    return to_int16(clips / peaks.reshape(-1, *[1] * (clips.ndim - 1)))


def _midi_of(program, clip_s, slot_ticks):
    """Return a MIDI file that plays every pitch and velocity of a program, dry, one note per slot."""
    import mido

    transposition = 12 if program in SOUNDS_AN_OCTAVE_BELOW_ITS_KEY else 0
    held_ticks, clip_ticks = round(HELD * clip_s * _TICKS_PER_S), round(clip_s * _TICKS_PER_S)
    reverb, chorus, all_sound_off = 91, 93, 120
    events = [
        (0, mido.Message("program_change", program=program)),
        (0, mido.Message("control_change", control=reverb, value=0)),
        (0, mido.Message("control_change", control=chorus, value=0)),
    ]
    start = 0
    for pitch in PITCHES:
        for velocity in VELOCITIES:
            key = pitch + transposition
            events.append((start, mido.Message("note_on", note=key, velocity=velocity)))
            events.append((start + held_ticks, mido.Message("note_off", note=key)))
            events.append((start + clip_ticks, mido.Message("control_change", control=all_sound_off, value=0)))
            start += slot_ticks
    events.append((start, mido.MetaMessage("end_of_track")))
    track = mido.MidiTrack()
    now = 0
    for tick, message in events:
        track.append(message.copy(time=tick - now))
        now = tick
    # At the default 120 beats per minute, 480 ticks a beat are 960 a second.
    midi = mido.MidiFile(type=0, ticks_per_beat=_TICKS_PER_S // 2)
    midi.tracks.append(track)
    file = io.BytesIO()
    midi.save(file=file)
    return file.getvalue()
