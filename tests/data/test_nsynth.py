"""NSynth's own formats, written here as they are published."""

import io
import json
import tarfile

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tensorflow_datasets as tfds

from kgan.audio.pitch import estimate_pitch
from kgan.cli import main
from kgan.data.load import load_sounds
from kgan.data.notes import FAMILIES, SOURCES
from kgan.data.nsynth import NSynthTFDSSource, NSynthTFRecordSource, note_labels
from kgan.data.prepare import prepare
from kgan.data.recordings import Clipping, Filter
from kgan.data.sources import find_source
from kgan.errors import InputError
from kgan.labels import Labels, renumbered

NAMES = [
    "bass_synthetic_033-022-050",
    "bass_synthetic_033-022-100",
    "guitar_acoustic_010-066-100",
    "synth_lead_synthetic_001-084-127",
    "vocal_acoustic_000-060-025",
]
QUALITIES = [
    "bright", "dark", "distortion", "fast_decay", "long_release", "multiphonic", "nonlinear_env", "percussive", "reverb",
    "tempo-synced",
]  # fmt: skip
NUMBERS = {"bass_synthetic_033": 417, "guitar_acoustic_010": 120, "synth_lead_synthetic_001": 980, "vocal_acoustic_000": 3}
FOUR_SECONDS = Clipping(length_samples=64000, normalize=False)


def note(number):
    """Return a sine of a pitch of its own, 64000 samples that int16 holds exactly."""
    time_s = np.arange(64000) / 16000
    return np.round(0.5 * np.sin(2 * np.pi * (200 + 100 * number) * time_s) * 32768).astype(np.float32) / 32768


def example_json(name):
    labels = note_labels(name)
    return {
        "note": 1, "note_str": name, "instrument": NUMBERS[name[:-8]], "instrument_str": name[:-8], "pitch": labels["pitch"],
        "velocity": labels["velocity"], "sample_rate": 16000, "instrument_family": labels["family"],
        "instrument_family_str": FAMILIES[labels["family"]], "instrument_source": labels["source"],
        "instrument_source_str": SOURCES[labels["source"]], "qualities": [0] * 10, "qualities_str": [],
    }  # fmt: skip


def write_extracted(folder, notes):
    """Write `{name: samples}` as the folder that is extracted from an archive."""
    (folder / "audio").mkdir(parents=True)
    (folder / "examples.json").write_text(json.dumps({name: example_json(name) for name in notes}))
    for name, samples in notes.items():
        soundfile.write(folder / "audio" / f"{name}.wav", samples, 16000, subtype="PCM_16")
    return folder


@pytest.fixture
def extracted(tmp_path):
    return write_extracted(tmp_path / "nsynth-test", {name: note(number) for number, name in enumerate(NAMES)})


@pytest.fixture
def archive(extracted, tmp_path):
    path = tmp_path / "nsynth-test.jsonwav.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(extracted, "nsynth-test")
    return path


@pytest.fixture
def tfrecord(tmp_path):
    path = tmp_path / "nsynth-test.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, name in enumerate(NAMES):
            features = {}
            for key, value in {**example_json(name), "audio": note(number).tolist()}.items():
                values = value if isinstance(value, list) else [value]
                if key == "qualities_str":
                    features[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[]))
                elif isinstance(values[0], str):
                    features[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[v.encode() for v in values]))
                elif isinstance(values[0], float):
                    features[key] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
                else:
                    features[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    return path


@pytest.fixture
def tfds_folder(tmp_path):
    """The set as TensorFlow Datasets prepares it, by its own writer, in the features that NSynth's builder states."""
    builder = tfds.builder("nsynth/gansynth_subset", data_dir=tmp_path / "tfds")
    numbered = {number: name for name, number in NUMBERS.items()}  # the builder reads all names from a file of NSynth's
    builder.info.features["instrument"]["label"].names = [numbered.get(i, f"other_{i}") for i in range(1006)]
    examples = []
    for number, name in enumerate(NAMES):
        labels = note_labels(name)
        family, source = FAMILIES[labels["family"]], SOURCES[labels["source"]]
        example = {
            "id": name,
            "audio": note(number),
            "pitch": labels["pitch"],
            "velocity": labels["velocity"],
            "instrument": {"label": name[:-8], "family": family, "source": source},
            "qualities": dict.fromkeys(QUALITIES, False),
        }
        examples.append((name, example))
    tfds.dataset_builders.store_as_tfds_dataset(
        name="nsynth",
        config="gansynth_subset",
        version=builder.version,
        features=builder.info.features,
        split_datasets={"train": examples},
        data_dir=tmp_path / "tfds",
    )
    return tmp_path / "tfds"


def assert_is_the_set(sounds, instruments):
    order = [[str(clip_id).partition("#")[0] for clip_id in sounds.ids].index(name) for name in NAMES]
    assert len(sounds) == 5
    np.testing.assert_array_equal(sounds.waveforms(np.array(order)), [note(number) for number in range(5)])
    for kind in ("family", "source", "pitch", "velocity"):
        assert sounds.labels[kind][order].tolist() == [note_labels(name)[kind] for name in NAMES]
    assert sounds.label_names == {"family": list(FAMILIES), "source": list(SOURCES), "instrument": instruments}
    assert [instruments[value] for value in sounds.labels["instrument"][order]] == [name[:-8] for name in NAMES]


def test_labels_by_hand():
    assert note_labels("synth_lead_synthetic_001-084-127") == {
        "family": 9, "source": 2, "pitch": 84, "velocity": 127
    }  # fmt: skip
    with pytest.raises(ValueError, match="is not named as a note of NSynth"):
        note_labels("drum_acoustic_001-084-127")


@pytest.mark.parametrize("form", ["extracted", "archive", "tfrecord"])
def test_the_official_archives(form, request):
    """Instruments are numbered in NSynth's order, where the archive states it, else by the alphabet."""
    in_order = sorted(NUMBERS) if form == "archive" else sorted(NUMBERS, key=NUMBERS.get)
    assert_is_the_set(load_sounds(str(request.getfixturevalue(form)), clipping=FOUR_SECONDS), in_order)


def test_tensorflow_datasets(tfds_folder, tmp_path, monkeypatch):
    source = NSynthTFDSSource("nsynth/gansynth_subset", "train", tfds_folder)
    assert len(source) == 5
    prepare(source, tmp_path / "out", FOUR_SECONDS)
    sounds = load_sounds(str(tmp_path / "out"), clipping=FOUR_SECONDS)
    assert_is_the_set(sounds, sounds.label_names["instrument"])
    assert len(sounds.label_names["instrument"]) == 1006
    assert sounds.label_names["instrument"][417] == "bass_synthetic_033"
    with pytest.raises(InputError, match=r"`split` of nsynth/gansynth_subset must be one of train\. Received: test"):
        NSynthTFDSSource("nsynth/gansynth_subset", "test", tfds_folder)
    with pytest.raises(InputError, match="NSynth comes as nsynth/full and nsynth/gansynth_subset"):
        NSynthTFDSSource("nsynth/half", "train", tfds_folder)


def test_a_download_that_cannot_be_had_says_what_to_do(tmp_path, monkeypatch):
    def offline(self, *_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    with pytest.raises(InputError) as error:
        NSynthTFDSSource("nsynth", "train", tmp_path)
    assert "could not be downloaded (ConnectionError)" in str(error.value)
    assert f"writes {tmp_path}/nsynth/full/" in str(error.value)
    assert "tfds.builder('nsynth/full')" in str(error.value)
    assert "nsynth-*.tfrecord file, nsynth-*.jsonwav.tar.gz, or the folder" in str(error.value)


def test_filters(archive):
    filters = Filter(families=("bass", "vocal"), pitches=(20, 60), velocities=(50, 25))
    sounds = load_sounds(str(archive), clipping=FOUR_SECONDS, filters=filters)
    assert [str(clip_id) for clip_id in sounds.ids] == [f"{NAMES[0]}#0", f"{NAMES[4]}#0"]
    sounds = load_sounds(str(archive), clipping=FOUR_SECONDS, filters=Filter(sources=("acoustic",)))
    assert [str(clip_id) for clip_id in sounds.ids] == [f"{NAMES[2]}#0", f"{NAMES[4]}#0"]


def test_four_seconds_are_cut_into_clips(extracted):
    sounds = load_sounds(str(extracted), clipping=Clipping(slicing="first", normalize=False))
    assert sounds.audio.shape == (5, 16384)
    np.testing.assert_array_equal(sounds.waveforms([0])[0], note(0)[:16384])
    assert len(load_sounds(str(extracted))) == 20  # 64000 samples are three clips and nine tenths of one


def test_a_note_without_its_file_is_named(extracted, tmp_path):
    (extracted / "audio" / f"{NAMES[2]}.wav").unlink()
    manifest = prepare(find_source(str(extracted)), tmp_path / "out", FOUR_SECONDS)
    assert manifest["clips"] == 4
    assert manifest["skipped"] == {NAMES[2]: "cannot be read: No such file or directory"}


def changed(path, number):
    """Write another note in place of one, as large as it was."""
    before = path.stat().st_size
    soundfile.write(path, note(number), 16000, subtype="PCM_16")
    assert path.stat().st_size == before


def test_a_note_that_is_replaced_in_place_is_read_anew(extracted):
    load_sounds(str(extracted), clipping=FOUR_SECONDS)
    changed(extracted / "audio" / f"{NAMES[3]}.wav", 9)
    sounds = load_sounds(str(extracted), clipping=FOUR_SECONDS)
    np.testing.assert_array_equal(sounds.waveforms([3])[0], note(9))
    np.testing.assert_array_equal(sounds.waveforms([4])[0], note(4))


def test_examples_json_that_is_edited_is_read_anew(extracted):
    assert load_sounds(str(extracted), clipping=FOUR_SECONDS).labels["pitch"].tolist() == [22, 22, 66, 84, 60]
    notes = {name: example_json(name) for name in NAMES[:3]}
    notes[NAMES[0]]["pitch"] = 23
    (extracted / "examples.json").write_text(json.dumps(notes))
    sounds = load_sounds(str(extracted), clipping=FOUR_SECONDS)
    assert sounds.labels["pitch"].tolist() == [23, 22, 66]
    assert sounds.skipped == dict.fromkeys(NAMES[3:], "is not named in examples.json")


def test_a_label_that_is_none_of_nsynth_s_is_an_error(extracted):
    for field, value in (("pitch", 128), ("velocity", -1), ("instrument_family", 11), ("pitch", "C4")):
        notes = {NAMES[0]: example_json(NAMES[0]) | {field: value}}
        (extracted / "examples.json").write_text(json.dumps(notes))
        with pytest.raises(InputError, match=f"{NAMES[0]} has {field} {value}"):
            find_source(str(extracted))


def test_an_archive_is_told_by_its_members(extracted, archive, tmp_path):
    """A copy is the same set, and another archive at its place is another one."""
    key = find_source(str(archive)).description
    copy = tmp_path / "elsewhere.tar.gz"
    copy.write_bytes(archive.read_bytes())
    assert find_source(str(copy)).description == key
    load_sounds(str(archive), clipping=FOUR_SECONDS)
    changed(extracted / "audio" / f"{NAMES[3]}.wav", 9)
    (extracted / "audio" / "drum.wav").write_bytes(b"no note")
    with tarfile.open(archive, "w:gz") as file:
        file.add(extracted, "nsynth-test")
    source = find_source(str(archive))
    assert source.description != key
    assert (len(source), source.left_out) == (5, {"nsynth-test/audio/drum.wav": "is not named as a note of NSynth"})
    sounds = load_sounds(str(archive), clipping=FOUR_SECONDS)
    np.testing.assert_array_equal(sounds.waveforms([list(sounds.ids).index(f"{NAMES[3]}#0")])[0], note(9))


def test_an_archive_is_damaged_wherever_it_is(archive, extracted, tmp_path):
    """tarfile takes a damaged header, or the end of the file, for the end of the archive, and checks no checksum of gzip."""
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    plain = tmp_path / "nsynth-test.jsonwav.tar"
    with tarfile.open(plain, "w") as file:
        file.add(extracted, "nsynth-test")
    with tarfile.open(plain) as file:
        second = file.getmembers()[-2]
    whole = plain.read_bytes()
    for path, damaged in (
        (archive, bytes(content)),
        (plain, whole[: second.offset]),  # between two members
        (plain, whole[: second.offset] + b"x" + whole[second.offset + 1 :]),  # in a header
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"{path.name} is damaged: .* Fetch it again"):
            find_source(str(path))
    plain.write_bytes(whole)
    assert len(find_source(str(plain))) == 5


def at_no_time(member):
    member.mtime = 0
    return member


def test_an_archive_of_other_contents_is_another_one(extracted, tmp_path):
    """Also where names, sizes and times are the same."""
    keys = []
    for number in (3, 9):
        changed(extracted / "audio" / f"{NAMES[3]}.wav", number)
        path = tmp_path / f"{number}.tar"
        with tarfile.open(path, "w") as file:
            file.add(extracted, "nsynth-test", filter=at_no_time)
        keys.append(find_source(str(path)).description)
    assert keys[0] != keys[1]


def test_a_tfrecord_that_is_replaced_is_read_anew(tfrecord):
    before = load_sounds(str(tfrecord), clipping=FOUR_SECONDS)
    records = list(tf.data.TFRecordDataset(str(tfrecord)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(tfrecord)) as writer:  # as large as before
        for record in reversed(records):
            writer.write(record)
    after = load_sounds(str(tfrecord), clipping=FOUR_SECONDS)
    np.testing.assert_array_equal(after.audio, before.audio[::-1])


@pytest.mark.parametrize("form", ["archive", "tfrecord"])
def test_a_damaged_archive_is_named(form, request, tmp_path):
    path = request.getfixturevalue(form)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"{path.name} is damaged: .* Fetch it again"):
        load_sounds(str(path), clipping=FOUR_SECONDS)


def test_what_is_none_of_nsynth_s(tmp_path, extracted):
    (tmp_path / "x.tar.gz").write_bytes(io.BytesIO(b"nothing").getvalue())
    with pytest.raises(InputError, match="must be in a tar archive"):
        find_source(str(tmp_path / "x.tar.gz"))
    (tmp_path / "x.zip").write_bytes(b"")
    with pytest.raises(InputError, match=r"must be NSynth's, \.tfrecord or \.tar\.gz"):
        find_source(str(tmp_path / "x.zip"))
    for text in ("[1]", "{}", "no json", '{"drum_1": {}}'):
        (extracted / "examples.json").write_text(text)
        with pytest.raises(InputError, match=r"examples\.json must"):
            find_source(str(extracted))
    record = tmp_path / "other.tfrecord"
    with tf.io.TFRecordWriter(str(record)) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(InputError, match="must have NSynth's features"):
        load_sounds(str(record))
    for field, value in (("instrument", "7"), ("instrument_str", 7), ("instrument_str", "")):
        (extracted / "examples.json").write_text(json.dumps({NAMES[0]: example_json(NAMES[0]) | {field: value}}))
        with pytest.raises(InputError, match="there is an instrument"):
            find_source(str(extracted))


def test_a_tfrecord_is_looked_through_once(tfrecord, monkeypatch):
    assert len(find_source(str(tfrecord))) == 5
    monkeypatch.setattr(NSynthTFRecordSource, "_look_through", None)
    assert find_source(str(tfrecord)).label_names["instrument"][0] == "vocal_acoustic_000"


def test_a_run_of_the_preset_fast_plays_the_instrument_and_the_pitch_that_it_is_asked_for(tmp_path, capsys):
    """Pitch, family, instrument and velocity are learned, and their names go into the run, the SavedModel and its card."""
    time_s = np.arange(64000) / 16000
    notes = {}
    for brightness, instrument in enumerate(("bass_synthetic_033", "guitar_acoustic_010", "vocal_acoustic_000")):
        for pitch in (60, 64):
            turns = 440 * 2 ** ((pitch - 69) / 12) * time_s
            partials = sum(np.sin(2 * np.pi * k * turns) * (brightness + 1) ** (1 - k) for k in (1, 2, 3))
            for velocity in (25, 127):
                notes[f"{instrument}-{pitch:03d}-{velocity:03d}"] = 0.3 * partials * np.exp(-time_s * velocity / 50)
    folder, run = write_extracted(tmp_path / "nsynth-train", notes), tmp_path / "run"
    options = ["--data", str(folder), "--data.slicing", "first", "--data.length_samples", "4096", "--run", str(run)]
    options += ["--steps", "2", "--representation.components", "4", "--network.dim", "8", "--training.batch_size", "4"]
    assert main(["train", "--preset", "fast", *options, "--training.preview_count", "2"]) == 0
    learned = "pitch (2 values), family (3 values), instrument (3 values), velocity (2 values)"
    assert learned in capsys.readouterr().out
    in_order = ["vocal_acoustic_000", "guitar_acoustic_010", "bass_synthetic_033"]
    assert json.loads((run / "run.json").read_text())["data"]["labels"]["names"]["instrument"] == in_order
    assert "instrument one of vocal" in (run / "saved_model" / "1" / "MODEL_CARD.md").read_text().replace("\\_", "_")
    asked = ["--instrument", "guitar_acoustic_010", "--pitch", "60", "--count", "1"]
    for source in (run, run / "saved_model"):
        out = tmp_path / f"out_{source.name}"
        assert main(["generate", str(source), *asked, "--label", "velocity=127", "--out", str(out)]) == 0
        header, row = (out / "labels.csv").read_text().split()
        assert dict(zip(header.split(","), row.split(","), strict=True)) == {
            "file": "0000.wav", "pitch": "60", "family": "guitar", "instrument": "guitar_acoustic_010", "velocity": "127"
        }  # fmt: skip
        heard = estimate_pitch(soundfile.read(out / "0000.wav", dtype="float32")[0][None], 16000)
        assert abs(1200 * np.log2(heard.frequency_hz[0] / 261.626)) < 10
        capsys.readouterr()
        assert main(["generate", str(source), "--instrument", "guitar_acoustic_001", "--out", str(tmp_path / "none")]) == 2
        assert "Received: guitar_acoustic_001. Did you mean `guitar_acoustic_010`" in capsys.readouterr().err


def test_splits_of_other_instruments_are_told_apart_by_name(tmp_path):
    """A run of one archive goes on with another one: its instruments keep their numbers, and a new one is unknown."""
    first, second = (
        load_sounds(
            str(write_extracted(tmp_path / split, {name: note(i) for i, name in enumerate(names)})), clipping=FOUR_SECONDS
        )
        for split, names in (("nsynth-train", NAMES[:3]), ("nsynth-test", NAMES[2:]))
    )
    assert first.label_names["instrument"] == ["guitar_acoustic_010", "bass_synthetic_033"]
    assert second.label_names["instrument"] == ["vocal_acoustic_000", "guitar_acoustic_010", "synth_lead_synthetic_001"]
    labels = Labels.of(first, ["instrument"])
    assert renumbered(second, labels.names).labels["instrument"].tolist() == [0, -1, -1]
    np.testing.assert_array_equal(labels.one_hot(renumbered(second, labels.names).labels), [[1, 0], [0, 0], [0, 0]])
