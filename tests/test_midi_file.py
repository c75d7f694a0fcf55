from pathlib import Path

import mido
import numpy as np
import pretty_midi
import pytest

from kgan.errors import InputError
from kgan.midi_file import read_midi

PRELUDE = Path(__file__).parent.parent / "scripts" / "prelude.mid"


def event(*data, after=0):
    """Return the bytes of a message that comes so many ticks after the one before."""
    return bytes([*mido.midifiles.meta.encode_variable_int(after), *data])


def on(pitch, after=0, velocity=100, channel=0):
    return event(0x90 | channel, pitch, velocity, after=after)


def off(pitch, after=0, channel=0):
    return event(0x80 | channel, pitch, 0, after=after)


def program(number, channel=0):
    return event(0xC0 | channel, number)


def control(number, value, after=0, channel=0):
    return event(0xB0 | channel, number, value, after=after)


def meta(kind, data, after=0):
    return event(0xFF, kind, len(data), *data, after=after)


def tempo(beat_us, after=0):
    return meta(0x51, beat_us.to_bytes(3, "big"), after)


def end(after=0):
    return meta(0x2F, b"", after)


def chunk(data, mark=b"MTrk", length=None):
    return mark + (len(data) if length is None else length).to_bytes(4, "big") + data


def header(count, form=1, division=480):
    return chunk(b"".join(number.to_bytes(2, "big") for number in (form, count, division)), b"MThd")


def midi(*tracks, **options):
    return header(len(tracks), **options) + b"".join(map(chunk, tracks))


def read(tmp_path, content):
    (tmp_path / "some.mid").write_bytes(content)
    return read_midi(tmp_path / "some.mid")


def times(tmp_path, content):
    """Return (pitch, start, end) of each note in the order of onsets and pitches; at 480 ticks a beat, a tick is 1/960 s."""
    notes, _ = read(tmp_path, content)
    return sorted(((note.pitch, note.start_s, note.end_s) for note in notes), key=lambda note: (note[1], note[0]))


def assert_as_pretty_midi(path):
    notes, programs = read_midi(path)
    peers = [each for each in pretty_midi.PrettyMIDI(str(path)).instruments if not each.is_drum]
    assert programs == [each.program for each in peers]
    for i, peer in enumerate(peers):
        found = sorted((note.pitch, note.start_s, note.end_s, note.velocity) for note in notes if note.instrument == i)
        expected = sorted((note.pitch, note.start, note.end, note.velocity) for note in peer.notes)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    assert len(notes) == sum(len(each.notes) for each in peers) > 0


def random_midi(seed):
    """Return a valid file: tempo changes on the first track, several programs, no key struck while it is down."""
    rng = np.random.default_rng(seed)
    file = mido.MidiFile(type=1, ticks_per_beat=int(rng.choice([96, 220, 480, 960])))
    for number in range(3):
        messages = []
        for _ in range(0 if number else 5):
            messages.append((rng.integers(5000), mido.MetaMessage("set_tempo", tempo=int(rng.integers(200_000, 1_500_000)))))
        for channel in map(int, rng.choice(16, 3, replace=False)):
            messages.append((0, mido.Message("program_change", channel=channel, program=int(rng.integers(128)))))
            for pitch in map(int, rng.choice(128, 6, replace=False)):
                moves = np.cumsum(rng.integers(1, 900, 8))
                for struck, released in zip(moves[::2], moves[1::2], strict=True):
                    velocity = int(rng.integers(1, 128))
                    messages.append((struck, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)))
                    messages.append((released, mido.Message("note_off", channel=channel, note=pitch)))
        messages.sort(key=lambda each: each[0])
        ticks = np.diff([0, *(tick for tick, _ in messages)])
        file.tracks.append([message.copy(time=int(after)) for after, (_, message) in zip(ticks, messages, strict=True)])
    return file


def test_the_prelude_is_read_as_by_pretty_midi_and_without_a_word(capsys):
    assert_as_pretty_midi(PRELUDE)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("seed", range(20))
def test_valid_files_are_read_as_by_pretty_midi(tmp_path, seed):
    random_midi(seed).save(tmp_path / "some.mid")
    assert_as_pretty_midi(tmp_path / "some.mid")


def test_tempo_changes_count_on_every_track(tmp_path):
    first = tempo(1_000_000, after=960) + end()  # from 1 s on, a beat is 1 s
    second = on(60) + off(60, after=480) + tempo(250_000, after=960) + on(62) + off(62, after=480) + end()
    third = on(64, after=960) + off(64, after=960) + end()
    expected = [(60, 0.0, 0.5), (64, 1.0, 2.25), (62, 2.0, 2.25)]  # ticks 0 to 480, 960 to 1920, 1440 to 1920
    assert times(tmp_path, midi(first, second, third)) == expected
    assert times(tmp_path, midi(third, second, first)) == expected


def test_of_two_tempos_at_once_the_last_counts(tmp_path):
    track = tempo(1_000_000) + tempo(250_000) + on(60) + off(60, after=480) + end()
    assert times(tmp_path, midi(track)) == [(60, 0.0, 0.25)]


@pytest.mark.parametrize("data", [b"\x00\x00\x00", b"\x07", b""])
def test_a_tempo_that_is_none_is_said_and_changes_nothing(tmp_path, capsys, data):
    track = tempo(250_000) + meta(0x51, data) + on(60) + off(60, after=480) + end()
    assert times(tmp_path, midi(track)) == [(60, 0.0, 0.25)]
    assert capsys.readouterr().out == "Left out: 1 tempo changes in some.mid that give no tempo.\n"


def test_smpte_time_is_in_frames_whatever_the_tempo(tmp_path):
    track = tempo(1_000_000) + on(60, after=500) + off(60, after=1000) + end()
    assert times(tmp_path, midi(track, division=(256 - 25) << 8 | 40)) == [(60, 0.5, 1.5)]
    ((_, start_s, end_s),) = times(tmp_path, midi(track, division=(256 - 29) << 8 | 100))  # 29.97 frames of 100 ticks
    assert (start_s, end_s) == pytest.approx((500 * 1001 / 3_000_000, 1500 * 1001 / 3_000_000))


def test_a_note_without_its_end_lasts_until_its_track_ends(tmp_path, capsys):
    first = on(60) + on(64, after=480) + off(64, after=480) + end(after=960)
    second = on(67) + off(67, after=9600) + end()
    assert times(tmp_path, midi(first, second)) == [(60, 0.0, 2.0), (67, 0.0, 10.0), (64, 0.5, 1.0)]
    assert capsys.readouterr().out == ""


def test_a_key_that_is_struck_again_ends_its_note_and_the_next_release_the_new_one(tmp_path):
    track = on(60) + on(60, after=480) + off(60, after=480) + off(60, after=480) + end()
    assert times(tmp_path, midi(track)) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]


def test_a_release_that_comes_late_in_the_same_tick_is_that_of_the_note_before(tmp_path):
    track = on(60) + on(60, after=480) + off(60) + off(60, after=480) + end()
    assert times(tmp_path, midi(track)) == [(60, 0.0, 0.5), (60, 0.5, 1.0)]


def test_keys_of_other_channels_and_tracks_are_others(tmp_path):
    first = on(60) + on(60, after=480, channel=1) + off(60, after=480) + off(60, after=480, channel=1) + end()
    second = on(60, after=240) + off(60, after=480) + end()
    assert times(tmp_path, midi(first, second)) == [(60, 0.0, 1.0), (60, 0.25, 0.75), (60, 0.5, 1.5)]


def test_a_note_of_no_length_is_a_note_and_a_release_without_one_is_nothing(tmp_path, capsys):
    track = off(72) + on(60, after=480) + off(60) + off(60, after=480) + end()
    assert times(tmp_path, midi(track)) == [(60, 0.5, 0.5)]
    assert capsys.readouterr().out == ""


def test_a_strike_of_no_velocity_is_a_release_and_the_status_runs_on_past_other_messages(tmp_path):
    sysex = event(0xF0, 3, 0x41, 0x10, 0xF7, after=120) + event(0xF7, 2, 0x01, 0x02, after=120)
    others = meta(0x01, b"words") + event(0xF8)  # and a clock
    track = on(60) + event(60, 0, after=480) + others + event(62, 90) + sysex + event(62, 0, after=240) + end()
    notes, _ = read(tmp_path, midi(track))
    assert [note[:5] for note in notes] == [(0, 60, 100, 0.0, 0.5), (0, 62, 90, 0.5, 1.0)]


def test_messages_that_do_not_matter_take_their_time_and_need_not_be_right(tmp_path, capsys):
    others = [
        meta(0x59, bytes([40, 7])),  # a key of 40 sharps
        meta(0x54, bytes([0xFF])),  # an SMPTE offset at no frame rate
        meta(0x58, b""),  # a time signature of nothing
        meta(0x20, b""),  # a prefix for no channel
        meta(0x03, "Prélude".encode("latin-1")),
        meta(0x01, "前奏曲".encode("shift_jis")),
        meta(0x60, b"of a kind that is not known"),
        event(0xF8),  # a clock
        event(0xF2, 0, 0),  # a place in the song
    ]
    late = b"".join(bytes([*event(after=60), *other[1:]]) for other in others)
    assert times(tmp_path, midi(late + on(60) + off(60, after=480) + end())) == [(60, 9 / 16, 17 / 16)]
    assert capsys.readouterr().out == ""


def test_instruments_are_programs_on_channels_of_tracks(tmp_path):
    first = program(5) + on(60) + off(60, after=240) + program(40) + on(62) + off(62, after=240) + end()
    second = program(6, channel=1) + on(64) + on(65, channel=1) + off(65, 480, channel=1) + off(64, after=480) + end()
    notes, programs = read(tmp_path, midi(first, second))
    assert {(note.pitch, note.instrument) for note in notes} == {(60, 0), (62, 1), (65, 2), (64, 3)}
    assert programs == [5, 40, 6, 5]  # the second track gives none for its first channel


def test_sixteen_channels_of_one_track_are_sixteen_instruments_but_for_drums(tmp_path, capsys):
    struck = b"".join(program(100 + i, channel=i) + on(60 + i, channel=i) for i in range(16))
    released = b"".join(off(60 + i, after=480, channel=i) for i in range(16))
    notes, programs = read(tmp_path, midi(struck + released + end(), form=0))
    assert programs == [100 + i for i in range(16) if i != 9]
    assert [note.end_s for note in notes] == [(i + 1) / 2 for i in range(16) if i != 9]
    assert capsys.readouterr().out == "Left out: 1 notes of drums, which have no pitch.\n"


def test_a_program_is_that_of_the_onset(tmp_path):
    notes, programs = read(tmp_path, midi(program(5) + on(60) + program(40) + off(60, after=480) + end()))
    assert (programs, len(notes)) == ([5], 1)


def test_the_pedal_of_any_track_holds_the_notes_of_its_channel(tmp_path):
    keys = on(60) + on(62, channel=1) + off(60, after=480) + off(62, channel=1) + on(60, after=960) + off(60, after=96) + end()
    pedal = control(64, 64, after=240) + control(64, 63, after=1680) + end(after=960)
    assert times(tmp_path, midi(keys, pedal)) == [(60, 0.0, 1.5), (62, 0.0, 0.5), (60, 1.5, 2.0)]
    port = meta(0x21, b"\x01")  # its channels are others
    assert times(tmp_path, midi(keys, port + pedal)) == [(60, 0.0, 0.5), (62, 0.0, 0.5), (60, 1.5, 1.6)]


def test_a_pedal_that_is_never_released_holds_until_the_track_ends(tmp_path):
    track = control(64, 127) + on(60) + off(60, after=480) + end(after=480)
    assert times(tmp_path, midi(track)) == [(60, 0.0, 1.0)]


@pytest.mark.parametrize(
    ("number", "ends_s"),
    [(120, (1.0, 1.0)), (121, (1.0, 2.0)), (123, (2.0, 2.0)), (124, (2.0, 2.0))],  # sound off, pedal up, keys up
)
def test_messages_to_a_whole_channel_end_its_notes(tmp_path, number, ends_s):
    track = control(64, 127) + on(60) + on(62) + off(60, after=480) + control(number, 0, after=480)
    track += control(64, 0, after=960) + off(62) + end()
    assert times(tmp_path, midi(track)) == [(60, 0.0, ends_s[0]), (62, 0.0, ends_s[1])]


def test_keys_that_are_released_together_end_without_a_pedal(tmp_path):
    assert times(tmp_path, midi(on(60) + control(123, 0, after=480) + end(after=480))) == [(60, 0.0, 0.5)]


def test_tracks_of_format_2_follow_each_other_each_at_its_own_tempo(tmp_path):
    first = tempo(1_000_000) + program(5) + control(64, 127) + on(60) + off(60, after=480) + end(after=480)
    second = on(62, after=480) + off(62, after=480) + end()
    notes, programs = read(tmp_path, midi(first, second, form=2))
    assert [note[:5] for note in notes] == [(0, 60, 100, 0.0, 2.0), (1, 62, 100, 2.5, 3.0)]
    assert programs == [5, 0]


TRACK = on(60) + off(60, after=480) + end()
OTHER = on(64, after=480) + off(64, after=480) + end()
STRANGE = chunk(b"\x01MT\x90\x3c", b"XFIH")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (header(2) + chunk(TRACK, length=len(TRACK) + 5) + chunk(OTHER), ""),
        (header(2) + chunk(TRACK, length=len(TRACK) + 8 + len(OTHER)) + chunk(OTHER), ""),  # up to the end of the file
        (header(2) + chunk(TRACK, length=len(TRACK) - 5) + chunk(OTHER), ""),
        (header(2) + chunk(TRACK, length=0) + chunk(OTHER, length=2**32 - 1), ""),
        (header(2) + chunk(TRACK[:-4]) + chunk(OTHER[:-4]), ""),  # without messages at their ends
        (header(2) + chunk(TRACK[:-4]) + STRANGE + chunk(OTHER), "Left out: 13 bytes in some.mid that belong to no track."),
        (midi(TRACK, OTHER) + b"garbage", "Left out: 7 bytes in some.mid that belong to no track."),
        (midi(TRACK, OTHER) + bytes(100), ""),  # padding
        (header(1) + chunk(TRACK) + chunk(OTHER), ""),
        (
            header(3) + chunk(TRACK) + chunk(OTHER),
            "Cut short: some.mid ends after track 2 of 3; what comes before is played.",
        ),
        (
            b"MThd\0\0\0\x0a\0\1\0\2\1\xe0more" + chunk(TRACK) + chunk(OTHER),
            "Left out: 4 bytes in some.mid that belong to no track.",
        ),
        (b"RIFF\xff\0\0\0RMIDdata\xff\0\0\0" + midi(TRACK, OTHER), ""),
    ],
)
def test_tracks_are_found_whatever_lengths_and_counts_say(tmp_path, capsys, content, said):
    assert times(tmp_path, content) == [(60, 0.0, 0.5), (64, 0.5, 1.0)]
    lines = capsys.readouterr().out.splitlines()
    assert lines == [said] * bool(said)


@pytest.mark.parametrize(
    ("broken", "because"),
    [
        (b"\x00\xf4\x00" + off(60, after=480), "0xF4 is no status"),
        (meta(0x01, b"")[:-1] + b"\x7f", "a message is longer than its track"),
        (event(0xF0, 0xFF, 0xFF, 0xFF, 0x7F), "a message is longer than its track"),
        (b"\xff\xff\xff\xff\x7f" + off(60), "a number has more than 4 bytes"),
    ],
)
def test_a_track_that_breaks_off_is_played_up_to_there_and_the_others_whole(tmp_path, capsys, broken, because):
    content = midi(on(60) + off(60, after=480) + on(62) + meta(0x01, b"", after=480) + broken, OTHER)
    assert times(tmp_path, content) == [(60, 0.0, 0.5), (62, 0.5, 1.0), (64, 0.5, 1.0)]
    line = f"Cut short: track 1 of some.mid breaks off, because {because}; what comes before is played.\n"
    assert capsys.readouterr().out == line


def test_a_data_byte_without_a_status_breaks_a_track_off(tmp_path, capsys):
    assert times(tmp_path, midi(event(60, 100) + end(), event(60, 100) + end(), OTHER)) == [(64, 0.5, 1.0)]
    line = "Cut short: track 1 of some.mid breaks off, because a data byte has no status before it; so do 1 more; what"
    assert capsys.readouterr().out.startswith(line)


def test_a_track_without_length_or_end_ends_where_the_next_begins(tmp_path, capsys):
    content = header(2) + chunk(TRACK[:-4], length=9999) + chunk(OTHER)
    assert times(tmp_path, content) == [(60, 0.0, 0.5), (64, 0.5, 1.0)]
    assert "track 1 of some.mid breaks off, because it has no end" in capsys.readouterr().out


def test_data_bytes_that_are_too_large_are_clipped_and_counted(tmp_path, capsys):
    notes, _ = read(tmp_path, midi(event(0x90, 200, 100) + on(60, velocity=250) + off(60, after=480) + end()))
    assert {(note.pitch, note.velocity) for note in notes} == {(127, 100), (60, 127)}
    assert capsys.readouterr().out == "Clipped: 2 data bytes in some.mid to 127, the largest value that they can have.\n"


def test_what_is_not_performed_is_counted_by_kinds(tmp_path, capsys):
    quiet = event(0xE0, 0, 64) + control(0, 3) + control(101, 0) + control(6, 2)  # no bend; a bank; a parameter and its value
    loud = event(0xE0, 1, 64) * 3 + event(0xA0, 60, 9) + event(0xD0, 9) + control(7, 90) + control(10, 0) + control(1, 5) * 2
    drums = on(36, channel=9) + control(7, 90, channel=9)
    assert times(tmp_path, midi(quiet + TRACK)) == [(60, 0.0, 0.5)]
    assert capsys.readouterr().out == ""
    assert times(tmp_path, midi(loud + drums + TRACK)) == [(60, 0.0, 0.5)]
    assert capsys.readouterr().out.splitlines() == [
        "Left out: 1 notes of drums, which have no pitch.",
        "Left out: 3 pitch bends in some.mid, which the generator cannot make.",
        "Left out: 2 messages of aftertouch in some.mid, which the generator cannot make.",
        "Left out: 4 changes of controllers in some.mid, such as volume or pan. Only the sustain pedal is performed.",
    ]


def wheel(value, after=0, channel=0):
    return event(0xE0 | channel, value + 8192 & 127, value + 8192 >> 7, after=after)


def parameter(high, low, numbers=(101, 100)):
    return control(numbers[0], high) + control(numbers[1], low)


@pytest.mark.parametrize(
    ("track", "expected"),  # semitones within each of the first four beats
    [
        (wheel(4096) + wheel(0, after=480) + wheel(-8192, after=480), [1, 0, -2, -2]),
        (parameter(0, 0) + control(6, 12) + wheel(4096, after=480) + wheel(0, after=960), [0, 6, 6, 0]),
        (wheel(-8192) + parameter(0, 0) + control(6, 1, after=480) + control(38, 50, after=480), [-2, -1, -1.5, -1.5]),
        (parameter(0, 0) + control(38, 50) + control(6, 7) + wheel(-8192), [-7] * 4),  # a coarse value is whole
        (parameter(0, 1) + control(6, 12) + wheel(4096), [1] * 4),  # another parameter, that of tuning
        (parameter(0, 0) + parameter(127, 127) + control(6, 12) + wheel(4096), [1] * 4),  # none
        (parameter(0, 0) + parameter(0, 0, (99, 98)) + control(6, 12) + wheel(4096), [1] * 4),
        (parameter(0, 0) + control(6, 4) + wheel(4096) + control(121, 0, after=480) + wheel(4096, after=480), [2, 0, 2, 2]),
        (wheel(4096, channel=1) + parameter(0, 0) + control(6, 12, channel=1), [0] * 4),
        (wheel(4096, channel=9), [0] * 4),
    ],
)
def test_bends_of_a_channel(tmp_path, capsys, track, expected):
    keys = on(60) + off(60, after=1920) + end()
    (tmp_path / "bent.mid").write_bytes(midi(keys, track + end()))
    ((note,), _) = read_midi(tmp_path / "bent.mid", bends=True)
    np.testing.assert_allclose(note.bend(np.array([0.25, 0.75, 1.25, 1.75])), expected)
    assert capsys.readouterr().out == ""


def test_bends_keep_to_their_part_of_a_file_of_format_2_and_to_its_tempo(tmp_path):
    first = tempo(1_000_000) + wheel(8191) + on(60) + off(60, after=480) + end()
    second = on(62) + wheel(-8192, after=480) + off(62, after=480) + end()
    (tmp_path / "two.mid").write_bytes(midi(first, second, form=2))
    notes, _ = read_midi(tmp_path / "two.mid", bends=True)
    times_s = np.array([0.5, 1.25, 1.75])
    np.testing.assert_allclose(notes[0].bend(times_s), 2 * 8191 / 8192)
    np.testing.assert_allclose(notes[1].bend(times_s), [0, 0, -2])


def test_of_a_cut_file_what_comes_before_is_played(tmp_path, capsys):
    whole = midi(TRACK, OTHER, TRACK)
    for length in (5, 7):  # of the second track: a strike, and how long after it the release comes
        content = whole[: -len(TRACK) - 8 - len(OTHER) + length]
        assert times(tmp_path, content) == [(60, 0.0, 0.5), (64, 0.5, 0.5)]
        assert capsys.readouterr().out == "Cut short: some.mid ends within track 2 of 3; what comes before is played.\n"
    assert times(tmp_path, whole[:-1]) == [(60, 0.0, 0.5), (60, 0.0, 0.5), (64, 0.5, 1.0)]
    assert capsys.readouterr().out == "Cut short: some.mid ends within track 3; what comes before is played.\n"


def test_every_beginning_of_a_file_is_played_or_refused_with_the_reason(tmp_path, capsys):
    content = PRELUDE.read_bytes()
    whole = {(note.pitch, note.start_s) for note in read(tmp_path, content)[0]}
    played, counts = 0, []
    for length in range(0, len(content), 7):
        try:
            notes, _ = read(tmp_path, content[:length])
        except InputError as error:
            assert any(reason in str(error) for reason in ("empty", "no header", "its header", "within track 1"))  # noqa: PT017
            assert not played
            continue
        found = {(note.pitch, note.start_s) for note in notes}
        last_s = max(start_s for _, start_s in found)
        assert {note for note in whole if note[1] < last_s} <= found <= whole
        assert capsys.readouterr().out == "Cut short: some.mid ends within track 1; what comes before is played.\n"
        played += 1
        counts.append(len(notes))
    assert played > 190
    assert counts == sorted(counts)
    assert counts[-1] == len(whole)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Standard MIDI File. Received: {} (it is empty)."),
        (b"RIFF of another kind", "Standard MIDI File. Received: {} (it has no header, MThd)."),
        (midi(TRACK)[:9], "Standard MIDI File. Received: {} (it ends within its header, after 9 of 14 bytes)."),
        (midi(TRACK)[:14], "Standard MIDI File. Received: {} (no track, MTrk, follows its header)."),
        (midi(TRACK, form=3), "Standard MIDI File. Received: {} (it has format 3, where 0, 1 and 2 are known)."),
        (midi(TRACK, division=0), "Standard MIDI File. Received: {} (its time has no unit: 0 ticks per beat or frame)."),
        (midi(TRACK, division=0xE700), "Standard MIDI File. Received: {} (its time has no unit: 0 ticks per beat or frame)."),
        (
            midi(TRACK, division=0xC028),
            "Received: {} (its time is in 64 frames per second, where SMPTE has 24, 25, 29 (29.97) and 30).",
        ),
        (midi(TRACK)[:24], "notes to play. Received: {} with none (some.mid ends within track 1)."),
        (midi(end(), TRACK)[:28], "notes to play. Received: {} with none (some.mid ends after track 1 of 2)."),
        (midi(end(), TRACK)[:30], "notes to play. Received: {} with none (some.mid ends within track 2)."),
        (midi(end()), "notes to play. Received: {} with none."),
        (midi(b""), "notes to play. Received: {} with none."),
        (midi(on(36, channel=9) + end()), "notes to play. Received: {} with drums alone."),
    ],
)
def test_what_has_no_notes_is_refused_with_the_reason(tmp_path, content, reason):
    with pytest.raises(InputError) as raised:
        read(tmp_path, content)
    assert str(raised.value).endswith(reason.format(tmp_path / "some.mid"))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"one that can be read. Received: .*no.mid \(No such file or directory\)"):
        read_midi(tmp_path / "no.mid")
    with pytest.raises(InputError, match=r"one that can be read. Received: .* \(Is a directory\)"):
        read_midi(tmp_path)
