import librosa
import mido
import numpy as np
import pretty_midi
import pytest
import scipy.signal
import soundfile

from kgan.audio.pitch import estimate_pitch
from kgan.cli import main
from kgan.errors import InputError
from kgan.labels import Labels
from kgan.midi import perform
from kgan.serving.saved_model import export_saved_model
from kgan.synthesizer import Synthesizer
from tests.serving.test_saved_model import config_yaml

RATE_HZ, CLIP = 16000, 16000
FAMILIES = ["bass", "brass", "flute", "guitar", "keyboard"]


class Player(Synthesizer):
    """Sines of the pitch asked for, which sound until three quarters of the clip and fade out; `asked` holds what was."""

    def __init__(self, decay_db_per_s=0.0, labels=None):
        self.sample_rate_hz, self.latent_dim, self.latent_distribution = RATE_HZ, 4, "normal"
        self.labels = labels or Labels({"pitch": range(48, 73)})
        self.decay_db_per_s, self.asked, self.clip_s = decay_db_per_s, [], CLIP / RATE_HZ

    def generate(self, latents, labels=None, progress=False):
        t = np.arange(CLIP) / RATE_HZ
        level = 10 ** (-self.decay_db_per_s * t / 20) * np.clip(t / 0.01, 0, 1) * np.clip((0.85 - t) / 0.1, 0, 1)
        self.asked += [
            dict(zip(labels, values, strict=True)) | {"latents": x}
            for x, *values in zip(latents, *labels.values(), strict=True)
        ]
        frequencies_hz = pretty_midi.note_number_to_hz(labels["pitch"])
        return (0.5 * level * np.sin(2 * np.pi * frequencies_hz[:, None] * t)).astype(np.float32)


class Playing(Player):
    """Sines of any pitch and duration."""

    plays = True

    def play(self, latents, labels, duration_s, bend_semitones):
        self.asked.append(labels | {"duration_s": duration_s, "bend_semitones": bend_semitones})
        time_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
        return 0.5 * np.sin(2 * np.pi * pretty_midi.note_number_to_hz(labels["pitch"]) * time_s)[None]


def midi_file(path, notes, program=0, is_drum=False, pedal=()):
    """Write notes (pitch, velocity, start, end), in seconds."""
    midi = pretty_midi.PrettyMIDI(resolution=960)
    instrument = pretty_midi.Instrument(program, is_drum)
    instrument.notes = [pretty_midi.Note(velocity, pitch, start, end) for pitch, velocity, start, end in notes]
    instrument.control_changes = [pretty_midi.ControlChange(64, value, time) for time, value in pedal]
    midi.instruments.append(instrument)
    midi.write(str(path))
    return path


def performed(tmp_path, notes, player=None, **options):
    return perform(midi_file(tmp_path / "some.mid", notes, **options), player or Player())


def level(audio, start_s, end_s):
    return np.sqrt(np.square(audio[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]).mean())


def pitch_of(audio):
    return 69 + 12 * np.log2(estimate_pitch(audio[None], RATE_HZ).frequency_hz[0] / 440)


def test_notes_begin_where_the_file_says_and_end_within_50_ms(tmp_path):
    audio = performed(tmp_path, [(60, 127, 0.5, 0.8), (67, 127, 1.5, 1.7)])
    assert np.abs(audio[: round(0.5 * RATE_HZ)]).max() == 0
    assert level(audio, 0.52, 0.8) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert np.abs(audio[round(0.851 * RATE_HZ) : round(1.5 * RATE_HZ)]).max() == 0
    assert len(audio) == round(1.75 * RATE_HZ)
    assert pitch_of(audio[8000:12800]) == pytest.approx(60, abs=0.05)
    assert pitch_of(audio[24000:27200]) == pytest.approx(67, abs=0.05)


def test_a_generator_that_plays_holds_notes_of_any_pitch_as_long_as_their_keys(tmp_path):
    player = Playing(labels=Labels({"pitch": [60, 60], "velocity": [50, 100]}))
    audio = performed(tmp_path, [(60, 127, 0.0, 0.3), (90, 60, 1.0, 4.0)], player)
    release_s = 0.25 * CLIP / RATE_HZ
    assert [(each["pitch"], each["velocity"]) for each in player.asked] == [(60, 100), (90, 50)]
    assert [each["duration_s"] for each in player.asked] == pytest.approx([0.3 + release_s, 3.0 + release_s], abs=1e-3)
    assert len(audio) == pytest.approx((4.0 + release_s) * RATE_HZ, abs=20)
    assert pitch_of(audio[round(1.2 * RATE_HZ) : round(3.8 * RATE_HZ)]) == pytest.approx(90, abs=0.05)
    asked = Playing(labels=Labels({"pitch": [60, 60], "velocity": [50, 100]}))
    perform(midi_file(tmp_path / "other.mid", [(60, 127, 0.0, 0.3)]), asked, {"velocity": 50})
    assert asked.asked[0]["velocity"] == 50


RANGE_12 = [("control_change", {"control": control, "value": value}) for control, value in ((101, 0), (100, 0), (6, 12))]


def bent_file(path, *messages):
    """Write a file of one track: (seconds, type, attributes) of its messages, in order."""
    track, ticks = mido.MidiTrack(), 0
    for time_s, kind, attributes in messages:
        track.append(mido.Message(kind, time=round(960 * time_s) - ticks, **attributes))
        ticks = round(960 * time_s)
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    file.save(path)
    return path


def wheel(time_s, value, channel=0):
    return time_s, "pitchwheel", {"pitch": value, "channel": channel}


def key(time_s, kind, channel=0, note=60):
    return time_s, kind, {"note": note, "velocity": 127, "channel": channel}


@pytest.mark.parametrize(
    ("messages", "before", "after"),
    [
        ([key(0, "note_on"), wheel(1, 4096), key(2, "note_off")], 60, 61),
        ([*((0, *each) for each in RANGE_12), key(0, "note_on"), wheel(1, -4096), key(2, "note_off")], 60, 54),
        ([key(0, "note_on"), wheel(1, 4096, channel=1), key(2, "note_off")], 60, 60),
        ([wheel(0, 2048), key(0.5, "note_on"), wheel(1.5, 0), key(2.5, "note_off")], 60.5, 60),
    ],
    ids=["one semitone", "a range of twelve", "of another channel", "before the note"],
)
def test_a_pitch_bend_is_that_of_its_channel(tmp_path, capsys, playing, messages, before, after):
    audio = perform(bent_file(tmp_path / "bent.mid", *messages), playing)
    start_s = next(time_s for time_s, kind, _ in messages if kind == "note_on")
    for pitch, from_s in ((before, start_s + 0.1), (after, start_s + 1.1)):
        part = audio[round(from_s * RATE_HZ) : round((from_s + 0.8) * RATE_HZ)]
        assert pitch_of(part) == pytest.approx(pitch, abs=0.1)  # ten cents
    assert "Left out" not in capsys.readouterr().out


def test_a_bend_is_a_curve_of_points_5_ms_apart_and_one_point_where_it_is_steady(tmp_path):
    player = Playing()
    messages = [key(0, "note_on"), key(1, "note_off"), wheel(1.5, 4096), key(2, "note_on", note=64), wheel(2.5, 8191)]
    perform(bent_file(tmp_path / "bent.mid", *messages, key(3, "note_off", note=64), wheel(4, 0)), player)
    first, second = (each["bend_semitones"] for each in player.asked)
    assert first.tolist() == [0.0]
    time_s = np.linspace(0, 1.25, len(second))
    assert time_s[1] <= 0.005
    np.testing.assert_allclose(second, np.where(time_s < 0.5, 1.0, 2 * 8191 / 8192))


def test_a_generator_of_clips_leaves_bends_out_and_says_so(tmp_path, capsys):
    path = bent_file(tmp_path / "bent.mid", key(0, "note_on"), wheel(0.2, 4096), key(0.8, "note_off"))
    assert pitch_of(perform(path, Player())[4800:12000]) == pytest.approx(60, abs=0.05)
    assert capsys.readouterr().out == "Left out: 1 pitch bends in bent.mid, which the generator cannot make.\n"


def test_velocity_is_a_gain_of_its_square(tmp_path):
    audio = performed(tmp_path, [(60, 127, 0.0, 0.5), (60, 64, 1.0, 1.5)])
    assert 20 * np.log10(level(audio, 1.1, 1.4) / level(audio, 0.1, 0.4)) == pytest.approx(40 * np.log10(64 / 127), abs=0.05)


@pytest.mark.parametrize("pitch", [48, 61, 72])
def test_a_long_note_is_sustained_at_its_pitch_and_level_without_clicks(tmp_path, pitch):
    audio = performed(tmp_path, [(pitch, 127, 0.0, 6.0)])
    frequency_hz = pretty_midi.note_number_to_hz(pitch)
    assert len(audio) == pytest.approx(6.25 * RATE_HZ, abs=0.02 * RATE_HZ)  # the clip's own quarter of release
    for start_s in range(6):
        assert level(audio, start_s + 0.1, start_s + 0.9) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)
        assert pitch_of(audio[start_s * RATE_HZ + 1600 : (start_s + 1) * RATE_HZ]) == pytest.approx(pitch, abs=0.02)
    steepest = 2 * np.pi * frequency_hz / RATE_HZ * 0.5
    assert np.abs(np.diff(audio)).max() < 1.1 * steepest
    held = audio[1600 : 6 * RATE_HZ - 1600].astype(np.float64)
    sos = scipy.signal.butter(8, [0.8 * frequency_hz, 1.25 * frequency_hz], "bandstop", fs=RATE_HZ, output="sos")
    assert (
        np.square(scipy.signal.sosfiltfilt(sos, held)[800:-800]).mean() < 1e-4 * np.square(held).mean()
    )  # no buzz of the loop


def test_a_long_note_of_a_sound_that_decays_goes_on_decaying(tmp_path):
    audio = performed(tmp_path, [(60, 127, 0.0, 3.0)], Player(decay_db_per_s=12.0))
    fall_db = 20 * np.log10(level(audio, 2.4, 2.9) / level(audio, 0.4, 0.9))
    assert fall_db == pytest.approx(-24.0, abs=3.0)


def test_the_pedal_holds_notes_until_it_is_up_or_the_key_is_struck_again(tmp_path):
    held = performed(tmp_path, [(60, 127, 0.0, 0.2), (72, 127, 2.5, 2.6)], pedal=[(0.1, 127), (0.5, 0)])
    assert level(held, 0.3, 0.5) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert np.abs(held[round(0.56 * RATE_HZ) : round(2.5 * RATE_HZ)]).max() == 0
    struck = performed(tmp_path, [(60, 127, 0.0, 0.2), (60, 127, 0.4, 0.6), (72, 127, 2.5, 2.6)], pedal=[(0.1, 127), (0.7, 0)])
    assert level(struck, 0.46, 0.7) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)  # the second alone


def test_what_the_generator_has_no_pitch_for_is_an_octave_off_and_said(tmp_path, capsys):
    player = Player()
    performed(tmp_path, [(36, 100, 0, 0.5), (60, 100, 0, 0.5), (97, 100, 0, 0.5)], player)
    assert [each["pitch"] for each in player.asked] == [48, 60, 61]
    assert "Transposed by octaves: 2 of 3 notes. The generator has pitches from 48 to 72." in capsys.readouterr().out


def test_each_instrument_sounds_as_its_program_s_family_unless_told(tmp_path):
    columns = {"pitch": np.repeat([60, 64], 5), "family": np.tile(range(5), 2)}
    labels = Labels(columns, names={"family": FAMILIES})
    midi = pretty_midi.PrettyMIDI()
    for program, pitch in ((73, 60), (24, 64)):  # a flute and a guitar
        midi.instruments.append(pretty_midi.Instrument(program))
        midi.instruments[-1].notes = [pretty_midi.Note(100, pitch, 0.1 * i, 0.1 * i + 0.1) for i in range(2)]
    midi.write(str(tmp_path / "two.mid"))
    player = Player(labels=labels)
    perform(tmp_path / "two.mid", player)
    assert {(each["pitch"], each["family"]) for each in player.asked} == {(60, 2), (64, 3)}
    told = Player(labels=labels)
    perform(tmp_path / "two.mid", told, {"family": 1})
    assert {each["family"] for each in told.asked} == {1}
    named = Player(labels=Labels(columns | {"instrument": columns["family"]}, names={"family": FAMILIES}))
    perform(tmp_path / "two.mid", named, {"instrument": 4})
    assert {(each["family"], each["instrument"]) for each in named.asked} == {(4, 4)}  # not that of the program


def test_latents_glide_and_each_instrument_has_its_own(tmp_path):
    player = Player()
    performed(tmp_path, [(60, 100, 0.25 * i, 0.25 * i + 0.1) for i in range(64)], player)
    latents = np.array([each["latents"] for each in player.asked])
    steps = np.linalg.norm(np.diff(latents, axis=0), axis=1)
    across = np.linalg.norm(latents[::16][1:] - latents[::16][:-1], axis=1)  # from one of the path's latents to the next
    assert (steps > 0).all()
    assert steps.max() < across.max() / 8
    again = Player()
    performed(tmp_path, [(60, 100, 0.25 * i, 0.25 * i + 0.1) for i in range(64)], again)
    np.testing.assert_array_equal(latents, [each["latents"] for each in again.asked])


def test_a_loud_mix_is_brought_down_as_a_whole(tmp_path):
    chord = [(pitch, 127, 0.0, 0.5) for pitch in (60, 60 + 12, 64, 67)] + [(60, 127, 1.0, 1.5)]
    audio = performed(tmp_path, chord)
    assert np.abs(audio).max() == pytest.approx(1.0)
    alone = performed(tmp_path, chord[4:])
    np.testing.assert_allclose(audio[16000:] / level(audio, 1.1, 1.4), alone[16000:] / level(alone, 1.1, 1.4), atol=1e-5)


def test_what_cannot_be_performed_is_refused(tmp_path, capsys):
    with pytest.raises(InputError, match=r"trained with the label pitch.*Received: one with class"):
        perform(tmp_path / "no.mid", Player(labels=Labels({"class": [0, 1]})))
    with pytest.raises(InputError, match=r"can be read. Received: .*no.mid"):
        perform(tmp_path / "no.mid", Player())
    (tmp_path / "bad.mid").write_bytes(b"RIFF of another kind")
    with pytest.raises(InputError, match=r"Standard MIDI File. Received: .*bad.mid \(it has no header, MThd\)"):
        perform(tmp_path / "bad.mid", Player())
    with pytest.raises(InputError, match="with drums alone"):
        performed(tmp_path, [(40, 100, 0, 1)], is_drum=True)
    assert "Left out: 1 notes of drums" in capsys.readouterr().out
    with pytest.raises(InputError, match="pitches are those of the MIDI file. Received: pitch 60"):
        perform(midi_file(tmp_path / "one.mid", [(60, 100, 0, 1)]), Player(), {"pitch": 60})
    with pytest.raises(InputError, match=r"an hour at most. Received: .*of 3601 s"):
        performed(tmp_path, [(60, 100, 3600, 3601)])


def test_pitches_that_are_names_are_not_those_of_midi(tmp_path):
    player = Player(labels=Labels({"pitch": [0, 1]}, names={"pitch": ["C4", "D4"]}))
    rule = "A MIDI file needs pitches that are MIDI numbers. Received: a generator whose pitches are names, C4 first."
    with pytest.raises(InputError, match=rule):
        perform(midi_file(tmp_path / "one.mid", [(60, 100, 0, 1)]), player)


def test_a_tempo_on_a_later_track_and_a_note_without_its_end_are_heard(tmp_path):
    file = mido.MidiFile(ticks_per_beat=480)
    note = mido.Message("note_on", note=60, velocity=127, time=480)
    file.tracks.append([note, mido.MetaMessage("end_of_track", time=240)])
    file.tracks.append([mido.MetaMessage("set_tempo", tempo=1_000_000)])  # a beat is a second
    file.save(tmp_path / "slow.mid")
    audio = perform(tmp_path / "slow.mid", Player())
    assert np.abs(audio[:RATE_HZ]).max() == 0
    assert level(audio, 1.02, 1.5) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert len(audio) == round(1.55 * RATE_HZ)


def test_the_command_plays_a_cut_file_and_refuses_an_empty_one(tmp_path, conditional, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    export_saved_model(conditional[0], config_yaml("normal"), tmp_path / "model")
    whole = midi_file(tmp_path / "tune.mid", [(60, 100, 0, 0.3), (62, 100, 0.3, 0.6)]).read_bytes()
    (tmp_path / "cut.mid").write_bytes(whole[:-2])
    assert main(["generate", "model", "--midi", "cut.mid", "--out", "out"]) == 0
    assert "Cut short: cut.mid ends within track 2; what comes before is played.\n" in capsys.readouterr().out
    assert (tmp_path / "out" / "cut.wav").exists()
    (tmp_path / "empty.mid").touch()
    assert main(["generate", "model", "--midi", "empty.mid"]) == 2
    assert "A MIDI file must be a Standard MIDI File. Received: empty.mid (it is empty)." in capsys.readouterr().err


def test_the_command_writes_notes_and_pieces_at_any_sample_rate(tmp_path, playing, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export_saved_model(playing, config_yaml("normal", 8192), tmp_path / "model")
    at_44100 = ["--seed", "3", "--family", "flute", "--sample-rate", "44100"]
    note = ["--pitch", "60.5", "--duration", "1.3", "--count", "1"]
    assert main(["generate", "model", *note, *at_44100, "--out", "note"]) == 0
    audio, rate_hz = soundfile.read("note/0000.wav")
    assert (rate_hz, len(audio)) == (44100, round(1.3 * 44100))
    fundamental_hz = estimate_pitch(audio[None, 4410:44100], rate_hz).frequency_hz[0]
    assert 69 + 12 * np.log2(fundamental_hz / 440) == pytest.approx(60.5, abs=0.05)
    sound = playing.play(count=1, seed=3, labels={"pitch": 60.5, "family": 1}, duration_s=1.3)[0]
    expected = librosa.resample(sound, orig_sr=RATE_HZ, target_sr=44100, res_type="soxr_hq")
    np.testing.assert_allclose(audio, expected, atol=1e-4)
    midi_file(tmp_path / "tune.mid", [(60, 100, 0, 0.3), (62, 100, 0.3, 0.6)])
    assert main(["generate", "model", "--midi", "tune.mid", *at_44100, "--out", "tune"]) == 0
    audio, rate_hz = soundfile.read("tune/tune.wav")
    piece = perform("tune.mid", playing, {"family": 1}, seed=3)
    assert rate_hz == 44100
    expected = librosa.resample(piece.astype(np.float32), orig_sr=RATE_HZ, target_sr=44100, res_type="soxr_hq")
    np.testing.assert_allclose(audio, expected, atol=1e-4)


def test_the_command_writes_the_piece_and_its_picture(tmp_path, conditional, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    export_saved_model(conditional[0], config_yaml("normal"), tmp_path / "model")
    midi_file(tmp_path / "tune.mid", [(60, 100, 0, 0.3), (62, 100, 0.3, 0.6)])
    assert main(["generate", "model", "--midi", "tune.mid", "--out", "out", "--family", "flute", "--seed", "3"]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tune.wav", "tune.png"}
    audio, _ = soundfile.read(tmp_path / "out" / "tune.wav")
    expected = perform("tune.mid", conditional[0], {"family": 2}, seed=3)
    np.testing.assert_allclose(audio, expected, atol=2e-4)
    assert main(["generate", "model", "--midi", "tune.mid", "--pitch", "60,62"]) == 2
    assert "one value of each label. Received: 2 of pitch" in capsys.readouterr().err
