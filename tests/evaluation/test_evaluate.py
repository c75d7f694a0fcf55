import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from kgan.audio.files import write_wav
from kgan.data.recordings import Clipping
from kgan.data.sounds import to_int16
from kgan.errors import InputError
from kgan.evaluation.evaluate import evaluate, folder_sounds
from kgan.evaluation.evaluator import drawn
from kgan.evaluation.table import COLUMNS, _by_label, check_new, curves, describe, read_table, to_csv, to_markdown, write_table
from tests.evaluation.conftest import LENGTH, RATE_HZ, instruments

CLIPPING = Clipping(length_samples=LENGTH)


@pytest.fixture(scope="module")
def result(parts):
    """Real sounds, a copy of the test sounds, and an experiment that fails."""

    def failing(count, seed):
        raise InputError("Sounds must be finite. Received: NaN.")

    def broken_otherwise(count, seed):
        raise ZeroDivisionError("by zero")

    def copy(count, seed):
        return drawn(parts[2], count, seed), {"iterations": 7}

    experiments = {"copy": copy, "broken": failing, "bug": broken_otherwise}
    return evaluate(experiments, *parts, data="instruments", count=80)


def test_real_sounds_then_experiments_scored_alike(result):
    assert [row["experiment"] for row in result["rows"]] == ["Real (train)", "Real (test)", "copy"]
    _, test, copy = result["rows"]
    others = {"experiment", "iterations"}
    assert {name: copy[name] for name in copy if name not in others} == {k: v for k, v in test.items() if k not in others}
    assert set(COLUMNS) - set(copy) == {"musicnn_frechet", "musicnn_kernel"}  # they need a package of its own
    assert copy["count"] == 80
    assert result["settings"]["compared"] == 80
    assert copy["iterations"] == 7
    train = result["rows"][0]
    assert train["mel_d_self_relative"] == test["mel_d_train_relative"] == test["level_noise_db_relative"] == 1.0
    assert test["mel_d_self_relative"] == test["mel_d_self"] / train["mel_d_self"] != 1.0
    assert train["level_noise_db_relative"] == train["level_noise_db"] / test["level_noise_db"]
    assert result["failed"] == {"broken": "Sounds must be finite. Received: NaN.", "bug": "by zero"}


def test_the_table_names_the_classifier_and_its_accuracy(result):
    lines = to_markdown(result).splitlines()
    assert lines[0].startswith("| Experiment | Iterations | Sounds | Inception score | Effective classes | D_self |")
    test = next(line for line in lines if line.startswith("| Real (test)"))
    row = result["rows"][1]
    assert f"| {row['inception_score']:.2f} ± {row['inception_score_std']:.2f} |" in test
    assert f"| {row['mel_d_self']:.1f} ({row['mel_d_self_relative']:.2f}) |" in test
    classifier = result["classifier"]
    named = next(line for line in lines if line.startswith("Classifier:"))
    assert classifier["fingerprint"] in named
    assert f"family right in {classifier['accuracy']:.1%}" in named
    assert any(line.startswith("| copy | 7 | 80 |") for line in lines)
    start = lines.index("| Label accuracy | noise | sine | square |")
    assert lines[start + 1] == "| --- | --- | --- | --- |"
    shares = [f"{row['label_accuracy_by_label'][name]:.1%}" for name in ("noise", "sine", "square")]
    assert lines[start + 3] == f"| Real (test) | {' | '.join(shares)} |"
    assert f"| {row['level_noise_db']:.2f} (1.00) |" in test
    assert lines[-2] == "Not scored: broken: Sounds must be finite. Received: NaN."


def test_the_inception_score_is_spoken_of_where_there_is_one(result):
    others = result | {"settings": result["settings"] | {"metrics": ["diversity"]}}
    assert "The inception score is of all sounds, in 10 splits; the other scores are of 80" in describe(result)[0]
    assert describe(others)[0].startswith("Data: instruments. Scores are of 80 sounds each")


def test_the_four_files(result, tmp_path):
    write_table(result, tmp_path / "tables/all.md")
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["all.csv", "all.json", "all.md", "all.png"]
    assert read_table(tmp_path / "tables/all.json") == result
    assert (tmp_path / "tables/all.md").read_text() == to_markdown(result)
    rows = to_csv(result).splitlines()
    assert len(rows) == 4
    assert "by_label" not in rows[0]
    assert float(rows[2].split(",")[rows[0].split(",").index("ndb")]) == result["rows"][1]["ndb"]
    picture = (tmp_path / "tables/all.png").read_bytes()
    assert picture[:4] == b"\x89PNG"
    with pytest.raises(InputError, match="must be written to new files"):
        check_new(tmp_path / "tables/all.md")
    with pytest.raises(InputError, match=r"must end in one of .md, .csv, .json, .png. Received: .*all.txt"):
        check_new(tmp_path / "all.txt")


def test_the_rows_of_an_earlier_table_are_taken_over(result, parts):
    new = evaluate({}, *parts, data="instruments", count=80, earlier=[result])
    assert new == result
    with pytest.raises(InputError, match="a name of its own. Received twice: copy"):
        evaluate({}, *parts, data="instruments", count=80, earlier=[result, result])


def without_floor(result):
    """Return a table of before log mels had a floor."""
    return result | {"settings": {name: value for name, value in result["settings"].items() if name != "mel_floor_db"}}


def test_scores_of_another_classifier_or_other_settings_do_not_mix(result, parts):
    with pytest.raises(InputError, match="different classifiers are not comparable"):
        other = result | {"classifier": result["classifier"] | {"fingerprint": "another"}}
        evaluate({}, *parts, data="instruments", count=80, earlier=[other])
    with pytest.raises(InputError, match="only with the same settings. Received: another count and compared"):
        evaluate({}, *parts, data="instruments", count=60, earlier=[result])
    unfloored = without_floor(evaluate({}, *parts, data="instruments", metrics=["diversity"]))
    with pytest.raises(InputError, match="only with the same settings. Received: another mel_floor_db"):
        evaluate({}, *parts, data="instruments", metrics=["diversity"], earlier=[unfloored])
    fewer = parts[0].subset(np.arange(200))
    without = evaluate({}, *parts, data="instruments", metrics=["diversity"])
    with pytest.raises(InputError, match="another train and references"):
        evaluate({}, fewer, *parts[1:], data="instruments", metrics=["diversity"], earlier=[without])


def test_too_few_sounds_and_unknown_metrics(parts):
    with pytest.raises(InputError, match="at least 10 sounds of each. Received: 9 asked for, 240 to train and 90 to test"):
        evaluate({}, *parts, data="instruments", count=9)
    with pytest.raises(InputError, match="Unknown metric `frechett`. Did you mean `frechet`"):
        evaluate({}, *parts, data="instruments", metrics=["frechett"])


def test_an_experiment_with_too_few_sounds_costs_no_other(parts):
    few = {str(n): lambda count, seed, n=n: (drawn(parts[2], n, seed), {}) for n in (6, 60, 90)}
    result = evaluate(few, *parts, data="instruments", metrics=["inception"])
    assert "Received: 6 sounds, 10 splits" in result["failed"]["6"]
    assert [row["experiment"] for row in result["rows"][2:]] == ["60", "90"]
    assert result["rows"][2]["warnings"] == ["Only 60 sounds: its scores are not comparable with those of 90."]
    assert result["rows"][3]["warnings"] == []


def test_an_interrupt_keeps_the_rows_before_it(parts):
    def interrupted(count, seed):
        raise KeyboardInterrupt

    def copy(count, seed):
        return drawn(parts[2], count, seed), {}

    experiments = {"a": copy, "b": interrupted, "c": copy}
    result = evaluate(experiments, *parts, data="instruments", metrics=["diversity"])
    assert [row["experiment"] for row in result["rows"]] == ["Real (train)", "Real (test)", "a"]
    assert result["failed"] == {"b": "KeyboardInterrupt"}


@pytest.mark.parametrize(
    ("labels", "names", "reason"),
    [({}, {}, "needs names as labels"), ({"family": np.zeros}, {"family": ["sine"]}, "two or more classes")],
)
def test_labels_that_tell_nothing_cost_the_classifier_alone(parts, labels, names, reason, capsys):
    plain = [replace(each, labels={k: f(len(each), np.int32) for k, f in labels.items()}, label_names=names) for each in parts]
    result = evaluate({}, *plain, data="instruments", count=60)
    assert result["classifier"] is None
    assert result["settings"]["metrics"] == ["diversity", "ndb", "pitch", "envelope"]
    assert reason in capsys.readouterr().out
    with pytest.raises(InputError, match=reason):
        evaluate({}, *plain, data="instruments", count=60, metrics=["inception"])


def test_a_folder_scores_as_the_sounds_in_it(tmp_path):
    sounds = instruments(12, 5)
    for i, clip in enumerate(sounds.waveforms()):
        write_wav(tmp_path / f"{i:02d}.wav", clip, RATE_HZ)
    found = folder_sounds(tmp_path, CLIPPING, 12, seed=0)
    order = [int(clip_id[:2]) for clip_id in found.ids]
    assert sorted(order) == list(range(12))
    assert order != list(range(12))
    np.testing.assert_array_equal(found.waveforms(), sounds.waveforms()[order])  # at the level that they have
    assert "pitch" not in found.labels
    rows = [f"{i:02d}.wav,{pitch}" for i, pitch in enumerate(sounds.labels["pitch"])]
    (tmp_path / "labels.csv").write_text("\n".join(["file,pitch", *rows]))
    labelled = folder_sounds(tmp_path, CLIPPING, 12, seed=0)
    np.testing.assert_array_equal(labelled.labels["pitch"], sounds.labels["pitch"][order])
    (tmp_path / "labels.csv").write_text("file,pitch\n00.wav,A3\n01.wav,B3\n")
    named = folder_sounds(tmp_path, CLIPPING, 12, seed=0)
    assert dict(zip(named.ids, named.labels["pitch"].tolist(), strict=True)) == {"00.wav#0": 57, "01.wav#0": 59}


def test_a_folder_called_as_a_set_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    for i, clip in enumerate(instruments(3, 5).waveforms()):
        write_wav(tmp_path / f"notes/{i}.wav", clip, RATE_HZ)
    monkeypatch.chdir(tmp_path)
    assert len(folder_sounds("notes", CLIPPING, 12, seed=0)) == 3


def test_files_of_another_rate_or_length_and_broken_ones(tmp_path, capsys):
    rng = np.random.default_rng(0)
    write_wav(tmp_path / "long.wav", rng.uniform(-0.5, 0.5, 3 * LENGTH), RATE_HZ)
    soundfile.write(tmp_path / "fast.wav", rng.uniform(-0.5, 0.5, 2 * LENGTH), 2 * RATE_HZ)
    write_wav(tmp_path / "right.wav", np.zeros(LENGTH), RATE_HZ)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    found = folder_sounds(tmp_path, CLIPPING, 10, seed=0)
    told = capsys.readouterr().out
    assert len(found) == 3  # silence is a sound, too: it is scored
    assert "1 of the files were resampled to 16000 Hz" in told
    assert "1 of the files were cut or filled up to 2048 samples" in told
    assert "1 sound was skipped:\n  broken.wav cannot be decoded" in told
    expected = to_int16(soundfile.read(tmp_path / "long.wav")[0][:LENGTH])
    np.testing.assert_array_equal(found.audio[[str(i) for i in found.ids].index("long.wav#0")], expected)


def test_curves_are_drawn_from_what_there_is():
    rows = [{"step": step, "inception_score": 1.0 + step, "pitched": 0.5} for step in (10, 20)]
    assert curves({"a": rows, "b": rows[:1]}, {"inception_score": 9.0}, best_step=20)[:4] == b"\x89PNG"


def test_the_json_holds_no_nan(result):
    json.dumps(result, allow_nan=False)


def test_instruments_that_are_not_trained_on_do_not_hinder_scores_of_families(parts):
    """As in NSynth, whose splits hold different instruments."""

    def labelled(sounds, first):
        instrument = first + np.arange(len(sounds), dtype=np.int32) % 3
        return sounds.relabelled(
            sounds.labels | {"instrument": instrument}, sounds.label_names | {"instrument": list("abcdef")}
        )

    split = [labelled(sounds, first) for sounds, first in zip(parts, (0, 3, 3), strict=True)]
    result = evaluate({}, *split, data="instruments", count=60, metrics=["label"])
    assert result["classifier"]["label"] == "family"
    assert [row["label_accuracy"] > 0.9 for row in result["rows"]] == [True, True]
    with pytest.raises(
        InputError, match="whose values validation sounds share. Received: instrument, which has no shared values"
    ):
        evaluate({}, *split, data="instruments", count=60, metrics=["label"], label="instrument")


def test_a_table_by_label_shows_the_first_of_many():
    told = {f"instrument_{i:03d}": i / 1000 for i in range(999)}
    table = _by_label("label_accuracy", [{"experiment": "a", "label_accuracy_by_label": told}])
    assert [len(line) for line in table] == [25, 25]
    assert table[0][:2] + table[1][:3] == ["Label accuracy (24 of 999)", "instrument_000", "a", "0.0%", "0.1%"]
