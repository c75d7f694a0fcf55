"""Reads the notes of a Standard MIDI File, in seconds. Broken files are read as far as possible; omissions are reported."""

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from kgan.errors import InputError
from kgan.files import as_path
from kgan.midi_tracks import SMPTE_FRAMES_PER_S, BrokenError, FileEndError, open_content, read_tracks

BEAT_US = 500_000  # microseconds per beat until the file sets a tempo: 120 beats per minute
DRUMS = 9  # channel 10, counted from 1
PEDAL, PEDAL_DOWN = 64, 64  # controller of the sustain pedal, and its smallest value that holds notes
ALL_SOUND_OFF, RESET_CONTROLLERS, ALL_NOTES_OFF = 120, 121, 123  # controllers above 123 also release all keys
DATA, DATA_FINE, PARAMETER_FINE, PARAMETER = 6, 38, 100, 101  # controllers that set a registered parameter
OTHER_PARAMETERS = (98, 99)  # controllers that select parameters that are not registered
BEND_RANGE = (0, 0)  # the registered parameter of the pitch bend range: semitones and cents
USUAL_RANGE, WHOLE_BEND = 2.0, 8192  # default range of a pitch bend in semitones, and the value of a whole bend
UNHEARD = {0, 32, DATA, DATA_FINE, *range(96, 102), *range(120, 128)}  # controllers that select banks, parameters and modes
LINES = {  # messages about what is left out, with the number and the file
    "drums": "Left out: {} notes of drums, which have no pitch.",
    "bends": "Left out: {} pitch bends in {}, which the generator cannot make.",
    "touches": "Left out: {} messages of aftertouch in {}, which the generator cannot make.",
    "controllers": "Left out: {} changes of controllers in {}, such as volume or pan. Only the sustain pedal is performed.",
    "tempo": "Left out: {} tempo changes in {} that give no tempo.",
    "clipped": "Clipped: {} data bytes in {} to 127, the largest value that they can have.",
    "bytes": "Left out: {} bytes in {} that belong to no track.",
}


class Note(NamedTuple):
    """A note. Instruments are numbered from 0."""

    instrument: int
    pitch: int
    velocity: int
    start_s: float
    end_s: float
    bend: Callable = np.zeros_like  # from times in seconds, `(n,)`, to the pitch bend of its channel in semitones


class _Struck(NamedTuple):
    """A struck note. Times are in ticks."""

    instrument: tuple  # (track, channel, program)
    pitch: int
    velocity: int
    start: int
    end: int | None = None
    is_down: bool = True  # False if only the pedal holds it
    is_again: bool = False  # its key was still down from the previous note


def read_midi(path, bends=False):
    """Read the notes of a Standard MIDI File. The console reports what is left out, one line for each kind.

    - Tempo changes apply to all tracks. The tracks of format 2 are played one after another.
    - An instrument is a program on a channel of a track. The sustain pedal holds all notes of its channel. A track that sets
      no program for a channel uses the one that another track set.
    - A pitch bend applies to its channel. Its range is two semitones unless the file sets another (registered parameter 0).
    - Striking a key again ends the previous note, and the next release ends the new one. A note that is never ended, or that
      is held by a pedal that is never released, lasts until the end of its track.
    - Tracks are found by their mark MTrk, so their lengths and their number may be wrong. A track that breaks off is played
      up to that point.

    Args:
        path: Path of the file. The MIDI data may be inside another file, as in RIFF's RMID.
        bends: Whether pitch bends are performed; otherwise they are reported as left out.

    Returns:
        A list of `Note`, without drums, in the order of onsets, and the General MIDI programs of the instruments, from 0.

    Raises:
        InputError: The file cannot be read, is not a Standard MIDI File, or has no notes except drums.
    """
    content, name, left_out = _content(path), as_path(path).name, Counter()
    try:
        source, form, count, division = open_content(content)
        tracks = read_tracks(source, left_out)
    except BrokenError as error:
        raise InputError(f"A MIDI file must be a Standard MIDI File. Received: {path} ({error}).") from error
    notes, programs = _notes(tracks, form, division, left_out)
    if bends:
        del left_out["bends"]
    for kind, line in LINES.items():
        if left_out[kind]:
            tqdm.write(line.format(left_out[kind], name))
    cuts = _cuts(tracks, count, name)
    if not notes:
        found = ("drums alone" if left_out["drums"] else "none") + (f" ({cuts})" if cuts else "")
        raise InputError(f"A MIDI file must have notes to play. Received: {path} with {found}.")
    if cuts:
        tqdm.write(f"Cut short: {cuts}; what comes before is played.")
    return notes, programs


def _content(path):
    """Return the bytes of a file."""
    try:
        return as_path(path).read_bytes()
    except OSError as error:
        raise InputError(f"A MIDI file must be one that can be read. Received: {path} ({error.strerror}).") from error


def _cuts(tracks, count, name):
    """Describe what is missing from a file whose header states `count` tracks; "" if nothing is."""
    is_cut, of = isinstance(tracks[-1].fault, FileEndError), f" of {count}" if count > len(tracks) else ""
    whole = tracks[:-1] if is_cut else tracks
    broken = [f"track {i} of {name} breaks off, because {each.fault}" for i, each in enumerate(whole, 1) if each.fault]
    cuts = broken[:1] + ([f"so do {len(broken) - 1} more"] if broken[1:] else [])
    if is_cut or of:
        cuts.append(f"{name} ends {'within' if is_cut else 'after'} track {len(tracks)}{of}")
    return "; ".join(cuts)


def _notes(tracks, form, division, left_out):
    """Return the notes in the order of onsets, and the programs of the instruments."""
    numbered, struck, start_s = list(enumerate(tracks)), [], 0.0
    for part in [[each] for each in numbered] if form == 2 else [numbered]:
        messages = sorted(((each.time, i, each) for i, track in part for each in track.messages), key=lambda each: each[0])
        seconds, player = _clock([each for *_, each in messages], division, left_out), _Player(left_out)
        for _, track, message in messages:
            player.play(track, message)
        player.finish({i: track.end for i, track in part})
        bends = {channel: _bend(changes, seconds, start_s) for channel, changes in player.bends.items()}
        for note in player.notes:
            bend = bends.get(note.instrument[1], np.zeros_like)
            struck.append((note, start_s + seconds(note.start), start_s + seconds(note.end), bend))
        start_s += seconds(max(track.end for _, track in part))
    struck.sort(key=lambda each: each[0].instrument[0])  # in the order of the tracks
    numbers = {instrument: i for i, instrument in enumerate(dict.fromkeys(note.instrument for note, *_ in struck))}
    notes = [Note(numbers[note.instrument], note.pitch, note.velocity, *others) for note, *others in struck]
    return sorted(notes, key=lambda note: note.start_s), [program for _, _, program in numbers]


def _clock(messages, division, left_out):
    """Return the function from ticks to seconds for a division and the tempo changes among the messages."""
    if division >= 0x8000:
        ticks_per_s = SMPTE_FRAMES_PER_S[256 - (division >> 8)] * (division & 0xFF)
        return lambda tick: tick / ticks_per_s
    changes = [(each.time, each.tempo) for each in messages if each.type == "set_tempo"]
    left_out["tempo"] += sum(not tempo for _, tempo in changes)
    starts, beats_us = np.transpose([(0, BEAT_US), *(change for change in changes if change[1])])
    ticks_s = beats_us / 1e6 / division
    starts_s = np.concatenate([[0.0], np.cumsum(np.diff(starts) * ticks_s[:-1])])

    def seconds(tick):
        i = np.searchsorted(starts, tick, side="right") - 1
        return float(starts_s[i] + (tick - starts[i]) * ticks_s[i])

    return seconds


def _bend(changes, seconds, start_s):
    """Return the function from times in seconds to semitones for a channel's changes `(tick, semitones)`."""
    times_s = np.array([start_s + seconds(tick) for tick, _ in changes])
    semitones = np.array([0.0, *(semitones for _, semitones in changes)])
    return lambda time_s: semitones[np.searchsorted(times_s, time_s, side="right")]


class _Player:
    """Plays messages in order. Channels are shared by all tracks; a key belongs to one track."""

    def __init__(self, left_out):
        self.ports, self.programs, self.pedals, self.sounding = {}, {}, {}, {}
        self.wheels, self.ranges, self.parameters = {}, {}, {}  # by channel
        self.notes, self.bends, self.left_out = [], defaultdict(list), left_out

    def play(self, track, message):
        """Play a message of a track."""
        if message.type == "midi_port":
            self.ports[track] = message.port
        if message.is_meta:
            return
        channel = (self.ports.get(track, 0), message.channel)
        if message.channel == DRUMS:
            self.left_out["drums"] += message.type == "note_on" and message.velocity > 0
        elif message.type == "note_on" and message.velocity:
            self._strike((track, channel, message.note), message)
        elif message.type in ("note_on", "note_off"):
            self._release((track, channel, message.note), message.time)
        elif message.type == "program_change":
            self.programs[track, channel] = self.programs[None, channel] = message.program
        elif message.type == "control_change":
            self._control(channel, message)
            self.left_out["controllers"] += message.control not in (PEDAL, *UNHEARD)
        elif message.type == "pitchwheel":
            self.left_out["bends"] += message.pitch != 0
            self.wheels[channel] = message.pitch / WHOLE_BEND
            self._bend(channel, message.time)
        else:
            self.left_out["touches"] += 1

    def finish(self, ends):
        """End notes that still sound at the ends of their tracks, `{track: ticks}`."""
        for key in list(self.sounding):
            self._end(key, ends[key[0]])

    def _strike(self, key, message):
        track, channel, pitch = key
        before = self.sounding.get(key)
        if before:
            self._end(key, message.time)
        program = self.programs.get((track, channel), self.programs.get((None, channel), 0))
        is_again = before is not None and before.is_down
        self.sounding[key] = _Struck((track, channel, program), pitch, message.velocity, message.time, is_again=is_again)

    def _release(self, key, time):
        note = self.sounding.get(key)
        if note is None or not note.is_down:
            return
        if note.is_again and note.start == time:  # a late release of the previous note
            self.sounding[key] = note._replace(is_again=False)
        elif self.pedals.get(key[1]):
            self.sounding[key] = note._replace(is_down=False)
        else:
            self._end(key, time)

    def _bend(self, channel, time):
        self.bends[channel].append((time, self.wheels.get(channel, 0.0) * self.ranges.get(channel, USUAL_RANGE)))

    def _set_parameter(self, channel, message):
        """Handle the controllers that select and set a parameter. Only the pitch bend range has an effect."""
        if message.control in (PARAMETER, PARAMETER_FINE):
            high, low = self.parameters.get(channel, (None, None))
            self.parameters[channel] = (message.value, low) if message.control == PARAMETER else (high, message.value)
        elif message.control in OTHER_PARAMETERS:
            self.parameters[channel] = (None, None)
        elif message.control in (DATA, DATA_FINE) and self.parameters.get(channel) == BEND_RANGE:
            semitones = int(self.ranges.get(channel, USUAL_RANGE))
            self.ranges[channel] = message.value if message.control == DATA else semitones + message.value / 100
            self._bend(channel, message.time)

    def _control(self, channel, message):
        self._set_parameter(channel, message)
        if message.control == RESET_CONTROLLERS:
            self.wheels[channel], self.parameters[channel] = 0.0, (None, None)
            self._bend(channel, message.time)
        keys = [key for key in self.sounding if key[1] == channel]
        if message.control in (PEDAL, ALL_SOUND_OFF, RESET_CONTROLLERS):
            self.pedals[channel] = message.control == PEDAL and message.value >= PEDAL_DOWN
        if message.control == ALL_SOUND_OFF or message.control >= ALL_NOTES_OFF:
            for key in keys:
                self._release(key, message.time)
        for key in keys:
            if key in self.sounding and not self.sounding[key].is_down and not self.pedals.get(channel):
                self._end(key, message.time)

    def _end(self, key, time):
        self.notes.append(self.sounding.pop(key)._replace(end=time))
