"""`kgan evaluate` and `kgan reproduce`, from arguments to files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kgan.audio.files import write_wav
from kgan.cli import main
from kgan.commands import _named_source
from tests.evaluation.conftest import LENGTH, RATE_HZ, instruments


@pytest.fixture(scope="module", autouse=True)
def quick_classifier(tmp_path_factory):
    """One epoch: what is told here hangs on no score's value. No other test finds it in its cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kgan.evaluation.classifier.EPOCHS", 1)
        patch.setenv("KGAN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def real_folder(tmp_path_factory):
    """A folder of three classes, 240 sounds in all."""
    folder = tmp_path_factory.mktemp("instruments")
    sounds = instruments(240, 7)
    for i, clip in enumerate(sounds.waveforms()):
        place = folder / sounds.label_names["family"][sounds.labels["family"][i]]
        place.mkdir(exist_ok=True)
        write_wav(place / f"{i:03d}.wav", clip, RATE_HZ)
    return folder


@pytest.fixture(scope="module")
def tiny_options(real_folder):
    return [
        "--data", str(real_folder), "--data.length_samples", str(LENGTH), "--network.dim", "4", "--network.latent_dim", "8",
        "--training.batch_size", "4", "--precision", "float32", "--training.log_steps", "1", "--training.preview_steps", "2",
        "--training.preview_count", "2",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def scored_run(tmp_path_factory, tiny_options):
    """A run of four iterations that scored itself twice."""
    run = tmp_path_factory.mktemp("runs") / "scored"
    scores = ["--scores.every_steps", "2", "--scores.sounds", "50"]
    assert main(["train", "--model", "dcgan", "--run", str(run), "--steps", "4", *tiny_options, *scores]) == 0
    return run


def data_options(real_folder):
    return ["--data", str(real_folder), "--data.length_samples", str(LENGTH), "--count", "50"]


def test_a_run_scores_itself_while_it_trains(scored_run, real_folder):
    rows = (scored_run / "scores.csv").read_text().splitlines()
    assert rows[0].startswith("step,sounds,classifier,minutes,cpu_minutes,inception_score,")
    assert [row.partition(",")[0] for row in rows[1:]] == ["2", "4"]
    assert (scored_run / "scores.png").is_file()
    assert len(list((scored_run / "checkpoints").glob("best_step_*"))) == 1
    score = float(rows[2].split(",")[5])
    card = (scored_run / "saved_model/1/MODEL_CARD.md").read_text()
    assert f"| inception_score | {score:.4g} |" in card
    assert "| Iterations | 4, batch" in card
    assert f"{len(list((real_folder).rglob('*.wav')))} sounds" in card


def test_runs_saved_models_and_folders_score_alike(scored_run, real_folder, tmp_path, capsys):
    wavs = tmp_path / "wavs"
    assert main(["generate", str(scored_run), "--count", "20", "--out", str(wavs)]) == 0
    out = tmp_path / "tables/table.md"
    sources = [f"run={scored_run}", f"model={scored_run / 'saved_model'}", f"WAVs={wavs}"]
    assert main(["evaluate", *sources, "--out", str(out), "--count", "20"]) == 0  # the data are those of the run
    table = json.loads(out.with_suffix(".json").read_text())
    assert [row.pop("experiment") for row in table["rows"]] == ["Real (train)", "Real (test)", "run", "model", "WAVs"]
    run, model, folder = table["rows"][2:]
    for name in ("d_self", "mel_d_train", "frechet_distance", "inception_score"):
        assert model[name] == pytest.approx(run[name], rel=1e-3)
    assert folder["frechet_distance"] == pytest.approx(run["frechet_distance"], rel=1e-3)  # of the same, in another order
    printed = capsys.readouterr().out
    assert out.read_text() in printed
    assert "Classifier: mel" in printed
    assert main(["evaluate", str(wavs), "--out", str(out), *data_options(real_folder)]) == 2
    assert "must be written to new files" in capsys.readouterr().err


def test_the_best_checkpoint_is_generated_from_exported_and_scored(scored_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(scored_run, run)
    (best,) = (run / "checkpoints").glob("best_step_*")
    best.rename(best.with_name("best_step_00000002"))
    for other in (run / "checkpoints").glob("step_*"):
        shutil.copy(other / "state.json", best.with_name("best_step_00000002") / "state.json")
    assert main(["generate", str(run), "--best", "--count", "2", "--out", str(tmp_path / "sounds")]) == 0
    assert len(soundfile.read(tmp_path / "sounds/0000.wav")[0]) == LENGTH
    assert main(["export", str(run), str(tmp_path / "model"), "--best"]) == 0
    shutil.rmtree(run / "checkpoints/best_step_00000002")
    assert main(["export", str(run), str(tmp_path / "model"), "--best"]) == 2
    assert "has no best checkpoint: only runs with --scores.every_steps have one" in capsys.readouterr().err


def test_bad_sources_are_told_before_the_work(finished_run, real_folder, tmp_path, capsys):
    options = data_options(real_folder)
    assert main(["evaluate", str(tmp_path / "none"), *options]) == 2
    assert "must be a run, a SavedModel, a folder of sounds or a table's .json. Received" in capsys.readouterr().err
    assert main(["evaluate", str(finished_run), *options, "--metrics", "diversity"]) == 1  # clips of 1,024 samples
    assert "Set --data.length_samples 1024 --data.sample_rate_hz 16000" in capsys.readouterr().out
    assert main(["evaluate", str(real_folder), str(real_folder), *options]) == 2
    assert "a name of its own" in capsys.readouterr().err
    (tmp_path / "bad.json").write_text("{}")
    assert main(["evaluate", str(tmp_path / "bad.json"), *options]) == 2
    assert "a JSON file that `evaluate` wrote" in capsys.readouterr().err


def test_sounds_without_labels_are_scored_without_a_classifier(real_folder, tmp_path, capsys):
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in real_folder.rglob("*.wav"):
        shutil.copy(file, flat)
    assert main(["evaluate", f"copy={flat}", "--out", str(tmp_path / "t.md"), *data_options(flat)]) == 0
    table = json.loads((tmp_path / "t.json").read_text())
    assert table["classifier"] is None
    assert table["settings"]["metrics"] == ["diversity", "ndb", "pitch", "envelope"]
    assert "Scored without a classifier, by diversity, ndb, pitch, envelope alone" in capsys.readouterr().out


@pytest.mark.long
def test_reproduce_trains_the_four_and_writes_the_table(tiny_options, tmp_path, capsys):
    out = ["--out", str(tmp_path / "table"), "--count", "50", "--metrics", "diversity,pitch"]
    assert main(["reproduce", *out, "--steps", "2", *tiny_options]) == 0
    table = json.loads((tmp_path / "table/table.json").read_text())
    names = [row["experiment"] for row in table["rows"]]
    assert names == ["Real (train)", "Real (test)", "DCGAN", "WGAN", "WGAN-GP", "WGAN-GP over spectrograms"]
    runs = {path.name for path in (tmp_path / "table").iterdir() if path.is_dir()}
    assert runs == {"dcgan_wave", "wgan_wave", "wgan_gp_wave", "wgan_gp_spec"}
    assert all(np.isfinite(row["d_self"]) for row in table["rows"])
    assert [row.get("iterations") for row in table["rows"]] == [None, None, 2, 2, 2, 2]
    (tmp_path / "table/table.md").unlink()
    assert main(["reproduce", *out, "--steps", "2", *tiny_options]) == 2  # the other three files are kept
    assert "must be written to new files" in capsys.readouterr().err


def test_reproduce_says_what_is_wrong_before_it_trains(tiny_options, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kgan.evaluation.musicnn.PACKAGE", "a_package_that_nobody_has")
    out = ["--out", str(tmp_path / "table"), "--steps", "2", *tiny_options]
    for wrong, message in (
        (["--metrics", "diversty"], "Unknown metric `diversty`. Did you mean `diversity`"),
        (["--metrics", "frechet,musicnn"], "pip install --no-deps musicnn==0.1.0"),
        (["--classifier", "mell"], "Unknown classifier `mell`"),
        (["--network.phase_shuffle", "1"], "is for waves; spec needs 0"),
        (["--gan.clip_value", "0.1"], "dcgan has no option `gan.clip_value`"),
    ):
        assert main(["reproduce", *out, *wrong]) == 2
        assert message in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.yaml"))


def test_a_name_of_a_source_may_look_like_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1e-4").mkdir()
    assert _named_source("lr=1e-4") == ("lr=1e-4", Path("lr=1e-4"))
    assert _named_source("mine=~/wavs") == ("mine", Path.home() / "wavs")
    assert _named_source("runs/a") == ("runs/a", Path("runs/a"))


def test_what_scores_need_is_said_before_a_run_exists(real_folder, tiny_options, tmp_path, capsys):
    scores = ["--scores.every_steps", "2", "--scores.monitor", "inception_score", "--data", str(real_folder / "sine")]
    assert main(["train", "--run", str(tmp_path / "run"), "--steps", "4", *tiny_options, *scores]) == 2
    assert "inception_score needs labels" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.fixture
def few_sounds(real_folder, tmp_path):
    """Two classes, 40 sounds in all, of which fewer than ten are held out."""
    for place in sorted(real_folder.iterdir())[:2]:
        (tmp_path / "few" / place.name).mkdir(parents=True)
        for file in sorted(place.iterdir())[:20]:
            shutil.copy(file, tmp_path / "few" / place.name)
    return tmp_path / "few"


def test_few_sounds_are_scored_but_for_the_inception_score(few_sounds, tiny_options, tmp_path, capsys):
    scores = ["--scores.every_steps", "2", "--scores.sounds", "50"]
    options = ["train", "--model", "dcgan", "--steps", "2", *tiny_options, *scores, "--data", str(few_sounds)]
    assert main([*options, "--run", str(tmp_path / "wrong"), "--scores.monitor", "inception_score"]) == 2
    assert "at least 10 sounds that are not trained on. Received: " in capsys.readouterr().err
    assert main([*options, "--run", str(tmp_path / "run")]) == 0
    assert "No inception score: it needs at least 10 sounds" in capsys.readouterr().out
    names, row = (line.split(",") for line in (tmp_path / "run/scores.csv").read_text().splitlines())
    assert "inception_score" not in names
    assert float(row[names.index("frechet_distance")]) > 0
