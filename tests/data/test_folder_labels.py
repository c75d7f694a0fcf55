"""Labels of folders: what a number means, and that nothing is lost without a word."""

import os

import numpy as np
import pytest
import soundfile

from kgan.cli import main
from kgan.data.folder import FolderSource
from kgan.data.load import load_sounds, load_splits
from kgan.data.recordings import Clipping, Filter
from kgan.errors import InputError

CLIPPING = Clipping(length_samples=256)


@pytest.fixture
def fill(tmp_path):
    """Return a function that writes files of one clip each into a folder and returns it."""

    def write(*names):
        folder = tmp_path / "set"
        for number, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / name, np.sin(np.arange(256) * (number + 1) / 20), 16000)
        return folder

    return write


def labels_of(source):
    return {recording.name: recording.labels for recording in source.recordings()}


def test_a_pitch_is_a_midi_number_however_it_is_written(fill, tmp_path):
    folder = fill(*(f"{i}.wav" for i in range(8)))
    texts = ["60", "60.0", "C4", "c4", " A4 ", "Bb2", "F#-1", "0"]
    rows = [f"{i}.wav,{text}" for i, text in enumerate(texts)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,pitch", *rows]))
    source = FolderSource(folder, tmp_path / "labels.csv")
    assert [labels["pitch"] for labels in labels_of(source).values()] == [60, 60, 60, 60, 69, 46, 6, 0]
    assert source.label_names == {}


def test_spaces_capitals_and_other_spellings_of_paths_do_not_matter(fill, tmp_path):
    folder = fill("kick/ä 1.wav", "kick/2.wav", "hat/3.wav")
    text = "﻿File , Pitch, mood \n./kick/a\u0308 1.wav, 60 , sad\nkick\\2.wav,61,glad\n\nhat/3.wav,62,sad\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    source = FolderSource(folder, tmp_path / "labels.csv")
    assert labels_of(source) == {
        "hat/3.wav": {"pitch": 62, "mood": 1},
        "kick/2.wav": {"pitch": 61, "mood": 0},
        "kick/ä 1.wav": {"pitch": 60, "mood": 1},
    }
    assert source.label_names == {"mood": ["glad", "sad"]}
    assert source.left_out == {}


def test_rows_and_files_that_have_no_counterpart_are_named(fill, tmp_path, capsys):
    folder = fill("1.wav", "2.wav", "3.wav")
    (tmp_path / "labels.csv").write_text("file,pitch\n1.wav,60\ngone.wav,61\n3.wav,62\n")
    sounds = load_sounds(str(folder), labels_csv=tmp_path / "labels.csv", clipping=CLIPPING)
    assert list(sounds.ids) == ["1.wav#0", "3.wav#0"]
    assert sounds.skipped == {
        "gone.wav": "is listed in labels.csv, line 3, but is not there",
        "2.wav": "is not listed in labels.csv",
    }
    assert "2 sounds were skipped:\n  gone.wav is listed in labels.csv, line 3, but is not there\n" in capsys.readouterr().out


def test_integers_stay_integers_and_names_stay_names(fill, tmp_path):
    folder = fill("a.wav", "b.wav")
    (tmp_path / "labels.csv").write_text("file,take,code,share\na.wav,7,007,0.5\nb.wav,12,12,60.0\n")
    source = FolderSource(folder, tmp_path / "labels.csv")
    assert source.label_names == {"code": ["007", "12"], "share": ["0.5", "60.0"]}
    assert labels_of(source) == {
        "a.wav": {"take": 7, "code": 0, "share": 0},
        "b.wav": {"take": 12, "code": 1, "share": 1},
    }


def test_folders_are_classes_and_a_stray_file_has_none(fill):
    source = FolderSource(fill("kick/1.wav", "hat/deep/2.wav", "stray.wav"))
    assert source.label_names == {"class": ["hat", "kick"]}
    assert labels_of(source) == {"hat/deep/2.wav": {"class": 0}, "kick/1.wav": {"class": 1}, "stray.wav": {"class": -1}}
    assert not Filter(families=("kick",)).accepts({"family": -1}, {"family": ["hat", "kick"]})


def test_a_folder_without_folders_has_no_labels(fill):
    source = FolderSource(fill("1.wav", "2.wav"))
    assert (source.label_names, labels_of(source)) == ({}, {"1.wav": {}, "2.wav": {}})


def test_notes_of_nsynth_are_labelled_by_their_names(fill):
    source = FolderSource(fill("audio/bass_synthetic_033-022-050.wav", "audio/organ_electronic_001-060-127.wav", "other.wav"))
    assert source.label_names["family"][6] == "organ"
    assert source.label_names["instrument"] == ["bass_synthetic_033", "organ_electronic_001"]
    assert labels_of(source) == {
        "audio/bass_synthetic_033-022-050.wav": {"family": 0, "source": 2, "pitch": 22, "velocity": 50, "instrument": 0},
        "audio/organ_electronic_001-060-127.wav": {"family": 6, "source": 1, "pitch": 60, "velocity": 127, "instrument": 1},
        "other.wav": {"family": -1, "source": -1, "pitch": -1, "velocity": -1, "instrument": -1},
    }


def test_folders_called_as_splits_are_splits(fill, capsys):
    folder = fill("Train/kick/1.wav", "Train/hat/2.wav", "test/kick/3.wav", "test/hat/4.wav")
    source = FolderSource(folder)
    assert source.label_names == {"class": ["hat", "kick"]}
    assert labels_of(source)["test/kick/3.wav"] == {"class": 1}
    assert list(load_sounds(str(folder), clipping=CLIPPING).ids) == ["Train/hat/2.wav#0", "Train/kick/1.wav#0"]
    assert f"{folder} has folders for the splits test, train, of which train is taken." in capsys.readouterr().out
    assert list(load_sounds(str(folder), "test", clipping=CLIPPING).ids) == ["test/hat/4.wav#0", "test/kick/3.wav#0"]
    with pytest.raises(InputError, match=r"must be one of test, train\. Received: valid"):
        load_sounds(str(folder), "valid", clipping=CLIPPING)
    with pytest.raises(InputError, match="Received: train of .*, without"):
        load_sounds(str(fill("kick/1.wav") / "Train"), "train", clipping=CLIPPING)


def test_what_lies_beside_folders_of_splits_is_left_out_and_named(fill):
    """Neither do splits become classes, nor are sounds for the test trained on."""
    folder = fill("train/kick/1.wav", "train/hat/2.wav", "test/kick/3.wav", "demo.wav", "extra/4.wav")
    (folder / "BAD.wav").write_bytes(b"")
    sounds = load_sounds(str(folder), clipping=CLIPPING)
    assert list(sounds.ids) == ["train/hat/2.wav#0", "train/kick/1.wav#0"]
    assert sounds.label_names == {"class": ["hat", "kick"]}
    told = "lies beside folders for splits, such as train"
    assert sounds.skipped == dict.fromkeys(["BAD.wav", "demo.wav", "extra/4.wav"], told)


def test_one_folder_called_as_a_split_beside_others_is_a_class(fill):
    source = FolderSource(fill("test/1.wav", "tone/2.wav"))
    assert (source.label_names, source.left_out) == ({"class": ["test", "tone"]}, {})


def test_one_name_of_nsynth_among_others_says_nothing(fill):
    source = FolderSource(fill("kick/bass_synthetic_033-022-050.wav", "kick/1.wav", "hat/2.wav"))
    assert source.label_names == {"class": ["hat", "kick"]}


def test_a_name_of_nsynth_with_a_pitch_that_is_none_is_no_note(fill):
    source = FolderSource(fill("bass_synthetic_033-200-050.wav"))
    assert labels_of(source) == {"bass_synthetic_033-200-050.wav": {}}


def test_a_file_that_may_be_read_later_is_read_then(fill):
    folder = fill("1.wav", "2.wav")
    key = FolderSource(folder).description
    (folder / "2.wav").chmod(0)
    closed = FolderSource(folder).description
    (folder / "2.wav").chmod(0o644)
    assert FolderSource(folder).description == key
    assert closed != key or os.geteuid() == 0  # who may read all


def test_names_that_are_the_same_once_spelt_out_are_told(fill):
    folder = fill("a.wav")
    content = (folder / "a.wav").read_bytes()
    for name in (b"\xff.wav", b"\\xff.wav"):
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(content)
    source = FolderSource(folder)
    assert len(source) == 2
    assert source.left_out == {"\\xff.wav": "is the name of two files, in different encodings"}


def test_a_split_that_has_no_folder_is_drawn_from_the_first(fill):
    folder = fill(*(f"train/{i}.wav" for i in range(60)), *(f"test/{i}.wav" for i in range(5)))
    train, valid, test = ([str(clip_id) for clip_id in part.ids] for part in load_splits(str(folder), clipping=CLIPPING))
    assert sorted(test) == [f"test/{i}.wav#0" for i in range(5)]
    assert sorted(train + valid) == sorted(f"train/{i}.wav#0" for i in range(60))
    assert 0 < len(valid) < 20


def test_a_file_that_changes_in_place_is_read_anew(fill):
    folder = fill("1.wav", "2.wav")
    before = load_sounds(str(folder), clipping=CLIPPING)
    soundfile.write(folder / "2.wav", np.cos(np.arange(256) / 20), 16000)
    after = load_sounds(str(folder), clipping=CLIPPING)
    np.testing.assert_array_equal(before.audio[0], after.audio[0])
    assert np.abs(before.audio[1].astype(int) - after.audio[1]).max() > 10000


# Options that have no effect are refused


def refused(capsys, *arguments):
    assert main(list(map(str, arguments))) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err.splitlines()[-1]


@pytest.fixture
def shards(fill, tmp_path):
    """Shards that were prepared at their own level."""
    folder = fill(*(f"{i}.wav" for i in range(12)))
    options = ["--data.length_samples", "256", "--data.normalize", "false"]
    assert main(["prepare", str(folder), "--out", str(tmp_path / "shards"), *options]) == 0
    return tmp_path / "shards"


SHORT = ("--data.length_samples", 256, "--steps", 1, "--network.dim", 2, "--training.batch_size", 2)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--data.normalize", "true", "`normalize` must be False, as {shards} was prepared. Received: True"),
        ("--data.slicing", "first", "`slicing` must be all, as {shards} was prepared. Received: first"),
        ("--data.overlap", "0.5", "`overlap` must be 0.0, as {shards} was prepared. Received: 0.5"),
        ("--data.silence_db", "null", "`silence_db` must be -80.0, as {shards} was prepared. Received: None"),
        ("--data.labels_csv", "labels.csv", "`labels_csv` is for a folder of sounds. Received: "),
        ("--data.split", "test", "`split` is for sets with folders such as train and test. Received: test of {shards}"),
    ],
)
def test_what_shards_were_prepared_with_cannot_be_chosen_anew(shards, capsys, tmp_path, option, value, told):
    run = tmp_path / "run"
    line = refused(capsys, "train", "--data", shards, "--run", run, *SHORT, option, value)
    assert line.startswith("kgan: error: " + told.format(shards=shards))
    assert not run.exists()


def test_what_shards_were_prepared_with_may_be_repeated(shards):
    assert len(load_sounds(str(shards), clipping=Clipping(length_samples=256, normalize=False))) == 12
    assert len(load_sounds(str(shards), clipping=Clipping(length_samples=256))) == 12  # the usual value asks for nothing
    with pytest.raises(InputError, match="`overlap` must be 0.0, as"):
        load_sounds(str(shards), clipping=Clipping(length_samples=256, overlap=0.25))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--data.labels_csv", "labels.csv"], "`labels_csv` is for a folder of sounds"),
        (["--data.normalize", "false"], "`normalize` must be True, as notes was prepared. Received: False"),
        (["--data.slicing", "random"], "`slicing` must be all, as notes was prepared. Received: random"),
    ],
)
def test_the_built_in_notes_are_as_they_are(capsys, tmp_path, options, told):
    line = refused(capsys, "train", "--data", "notes", "--run", tmp_path / "run", "--steps", 1, "--network.dim", 2, *options)
    assert told in line


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--data.overlap", "0.5", "--data.slicing", "first"],
            "`data.overlap` has an effect only where `data.slicing` is all.",
        ),
        (["--network.phase_shuffle_per", "batch"], "only where `network.phase_shuffle` is above 0. Received: batch beside 0."),
        (["--conditioning.critic", "projection"], "only where `conditioning.labels` is set. Received: projection beside None."),
        (
            ["--conditioning.label_gain", "10"],
            "`conditioning.label_gain` has an effect only where `conditioning.labels` is set.",
        ),
        (
            ["--model", "wgan", "--optimizer.beta_1", "0.9"],
            "only where `optimizer.name` is adam. Received: 0.9 beside rmsprop.",
        ),
        (["--conditioning.labels", "[]", "--conditioning.weight", "2"], "only where `conditioning.labels` is set."),
        (["--data.labels_csv", ""], "`data.labels_csv` must have a value; use null for none. Received: an empty text."),
        (["--data.silence_db", "5"], "`data.silence_db`"),
        (["--scores.patience", "3"], "`scores.patience` has an effect only where `scores.every_steps` is set."),
    ],
)
def test_what_has_no_effect_beside_other_values_is_refused(fill, capsys, tmp_path, options, told):
    line = refused(capsys, "train", "--data", fill("1.wav"), "--run", tmp_path / "run", *SHORT, *options)
    assert told in line


def test_a_preset_may_hold_what_has_no_effect_on_some_data(fill, tmp_path, capsys):
    """`fast` asks for strong labels, where there are any."""
    folder = fill(*(f"{i}.wav" for i in range(8)))
    options = ["--data.length_samples", "2048", "--steps", "1", "--network.dim", "2", "--training.preview_count", "2"]
    assert main(["train", "--preset", "fast", "--data", str(folder), "--run", str(tmp_path / "run"), *options]) == 0
    assert "It learns no labels: these sounds have none.\n" in capsys.readouterr().out


def test_labels_that_some_sounds_lack_are_refused(fill, capsys, tmp_path):
    folder = fill(*(f"kick/{i}.wav" for i in range(4)), *(f"hat/{i}.wav" for i in range(4)), "stray.wav")
    options = ["train", "--data", folder, "--run", tmp_path / "run", *SHORT, "--conditioning.labels", "auto"]
    line = refused(capsys, *options)
    rule = "Every sound must have a value of a label that is learned."
    told = f"{rule} Received: class, which 1 of 9 sounds lack, stray.wav#0 first."
    assert told in line
    (folder / "stray.wav").unlink()
    assert main(list(map(str, [*options, "--training.preview_count", 2]))) == 0
    assert "It learns to make sounds by their labels: class (2 values)." in capsys.readouterr().out


def test_the_first_line_of_a_run_says_why_it_learns_no_labels(fill, capsys, tmp_path):
    folder = fill(*(f"kick/{i}.wav" for i in range(4)), *(f"hat/{i}.wav" for i in range(4)))
    assert (
        main(list(map(str, ["train", "--data", folder, "--run", tmp_path / "run", *SHORT, "--training.preview_count", 2]))) == 0
    )
    assert "It learns no labels: none were requested; these sounds have class (2 values)." in capsys.readouterr().out


def test_a_class_that_is_the_same_for_all_is_not_learned_by_itself(fill, capsys, tmp_path):
    options = [*SHORT, "--training.preview_count", 2, "--conditioning.labels", "auto"]
    folder = fill(*(f"kick/{i}.wav" for i in range(4)))
    assert main(list(map(str, ["train", "--data", folder, "--run", tmp_path / "run", *options]))) == 0
    taken = "auto takes pitch, family, instrument, velocity, class, where they have several values"
    assert f"It learns no labels: {taken}; these sounds have class (1 value)." in capsys.readouterr().out


def test_the_split_of_what_is_prepared_whole_is_refused(fill, capsys, tmp_path):
    line = refused(capsys, "prepare", fill("1.wav"), "--out", tmp_path / "out", "--data.split", "test")
    assert "`split` is for nsynth here" in line


def test_options_of_workers_that_are_not_used_are_refused(fill, capsys, tmp_path):
    folder = fill("1.wav")
    line = refused(capsys, "prepare", folder, "--out", tmp_path / "out", "--runner-options=--a=b")
    assert "--runner-options are for --runner. Received: --a=b without." in line
    line = refused(capsys, "prepare", folder, "--out", tmp_path / "out", "--runner", "DirectRunner", "--processes", 2)
    assert "--processes applies to this machine only. Received: 2 with --runner DirectRunner." in line


def test_names_stay_names_in_the_files_that_are_written(fill, capsys, tmp_path):
    folder = fill(*(f"{name}/{i}.wav" for name in ("hat", "kick", "snare, dry") for i in range(3)))
    options = ["--conditioning.labels", "[class]", "--training.preview_count", 2]
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(list(map(str, ["train", "--data", folder, "--run", run, *SHORT, *options]))) == 0
    assert main(["generate", str(run), "--label", "class=snare, dry", "--count", "2", "--out", str(out)]) == 0
    assert (out / "labels.csv").read_text() == 'file,class\n0000.wav,"snare, dry"\n0001.wav,"snare, dry"\n'
    (preview,) = (run / "samples").iterdir()
    assert {line.partition(",")[2].strip('"') for line in (preview / "labels.csv").read_text().splitlines()[1:]} <= {
        "hat", "kick", "snare, dry",
    }  # fmt: skip
    source = FolderSource(out, out / "labels.csv")
    assert (source.label_names, labels_of(source)["0001.wav"]) == ({"class": ["snare, dry"]}, {"class": 0})
    line = refused(capsys, "generate", run, "--label", "class=2", "--out", tmp_path / "other")
    assert line == "kgan: error: `class` must be one of hat, kick, snare, dry. Received: 2."


def test_a_label_is_asked_for_once(finished_run, capsys, tmp_path):
    options = ["--pitch", 60, "--label", "pitch=67", "--out", tmp_path / "out"]
    assert "Received: pitch, 2 times." in refused(capsys, "generate", finished_run, *options)


def test_the_best_of_a_saved_model_is_refused(finished_run, capsys, tmp_path):
    for command, out in (("generate", "a"), ("listen", "b"), ("evaluate", "c.md")):
        line = refused(capsys, command, finished_run / "saved_model", "--best", "--out", tmp_path / out)
        assert "--best is for runs" in line


# What is not whole, or not as it is said to be


def test_what_is_missing_of_a_file_is_said_by_the_command(fill, capsys, tmp_path):
    folder = fill("good.wav", "cut.wav")
    content = (folder / "cut.wav").read_bytes()
    (folder / "cut.wav").write_bytes(content[:400])
    (folder / "closed").mkdir()
    (folder / "gone").symlink_to(folder / "nowhere")
    assert main(["prepare", str(folder), "--out", str(tmp_path / "out"), "--data.length_samples", "128"]) == 0
    out = capsys.readouterr().out
    assert "1 sound was skipped:\n  gone cannot be read: No such file or directory\n" in out
    assert "1 sound was used, with a remark:\n  cut.wav is cut short: 356 of 512 bytes are there\n" in out
    assert "3 clips of 2 sounds are in" in out
    assert load_sounds(str(tmp_path / "out"), clipping=Clipping(length_samples=128)).remarks == {
        "cut.wav": "is cut short: 356 of 512 bytes are there"
    }


def test_nothing_is_said_where_nothing_was_skipped(fill, capsys, tmp_path):
    assert main(["prepare", str(fill("1.wav")), "--out", str(tmp_path / "out"), "--data.length_samples", "256"]) == 0
    assert "skipped" not in capsys.readouterr().out


def test_levels_that_do_not_fit_are_said(fill, tmp_path):
    folder = fill("good.wav")
    loud = np.sin(np.arange(256) / 20)
    soundfile.write(folder / "hot.wav", 1.5 * loud, 16000, subtype="FLOAT")
    soundfile.write(folder / "integers.wav", 32767 * loud, 16000, subtype="FLOAT")
    soundfile.write(folder / "constant.wav", np.full(256, 0.5), 16000)
    kept = load_sounds(str(folder), clipping=Clipping(length_samples=256, normalize=False))
    assert list(kept.ids) == ["good.wav#0", "hot.wav#0"]
    assert kept.remarks == {"hot.wav": f"is clipped: its peak is {1.5 * np.abs(loud).max():.2f} times full scale"}
    assert kept.skipped == {
        "constant.wav": "is silent",
        "integers.wav": f"has samples of {32767 * np.abs(loud).max():,.0f} times full scale; --data.normalize true brings them"
        " into range",
    }
    normalized = load_sounds(str(folder), clipping=Clipping(length_samples=256))
    assert (list(normalized.skipped), normalized.remarks) == (["constant.wav"], {})
    for clip in normalized.waveforms():
        np.testing.assert_allclose(clip, loud / np.abs(loud).max(), atol=2e-3 if len(normalized) else 0)


def test_a_folder_that_may_not_be_read_is_named_where_nothing_else_is_there(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="There are no sound files in .*set. gone cannot be read: No such file or directory."):
        FolderSource(folder)
    assert os.listdir(folder) == ["gone"]
