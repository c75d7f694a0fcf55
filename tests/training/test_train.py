"""Whole runs, ended in every way that runs end."""

import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import yaml

import kgan
from kgan.cli import main
from kgan.serving.saved_model import SavedSynthesizer, exported_step


def weights_at(run, step):
    with np.load(run / "checkpoints" / f"step_{step:08d}" / "weights.npz") as saved:
        return {name: saved[name] for name in saved.files}


def assert_same_weights(run, other, step):
    first, second = weights_at(run, step), weights_at(other, step)
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def start(run, options, **more):
    """Start `kgan train` in a process of its own, which Ctrl-C ends even where a shell runs the tests in the background."""
    command = [sys.executable, "-m", "kgan.cli", "train", "--run", str(run), *options]
    more.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def wait_for(process, text):
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the process ended without {text!r}")


def test_a_run_leaves_what_it_promises(finished_run):
    names = {path.name for path in finished_run.iterdir()} - {".lock"}
    assert names == {"checkpoints", "config.yaml", "history.csv", "logs", "run.json", "samples", "saved_model"}
    assert [int(row["step"]) for row in csv.DictReader((finished_run / "history.csv").open())] == [2, 4, 6]
    assert sorted(path.name for path in (finished_run / "samples").iterdir()) == ["step_00000003", "step_00000006"]
    assert [path.name for path in (finished_run / "saved_model").iterdir()] == ["1"]
    config = yaml.safe_load((finished_run / "config.yaml").read_text())
    assert (config["size"], config["network"]["dim"], config["training"]["precision"]) == ("small", 4, "float32")


@pytest.mark.long
@pytest.mark.parametrize("model", ["dcgan", "wgan", "wgan_gp"])
def test_resumed_equals_uninterrupted_to_the_bit(tmp_path, tiny_run_options, model):
    options = ["--model", model, "--network.phase_shuffle", "1", *tiny_run_options]
    assert main(["train", "--run", str(tmp_path / "whole"), "--steps", "7", *options]) == 0
    assert main(["train", "--run", str(tmp_path / "parts"), "--steps", "4", *options]) == 0
    assert main(["train", "--run", str(tmp_path / "parts"), "--steps", "7"]) == 0
    assert_same_weights(tmp_path / "whole", tmp_path / "parts", 7)
    assert len(weights_at(tmp_path / "whole", 7)) > 45  # WGAN: RMSprop has one slot a weight
    history = [list(csv.DictReader((tmp_path / run / "history.csv").open())) for run in ("whole", "parts")]
    assert [row["step"] for row in history[1]] == [row["step"] for row in history[0]] == ["2", "4", "6", "7"]
    assert [row["critic_loss"] for row in history[1]] == [row["critic_loss"] for row in history[0]]


@pytest.mark.long
def test_kill_9_at_any_moment_costs_no_more_than_the_last_checkpoint(tmp_path, tiny_run_options):
    options = ["--steps", "150", *tiny_run_options]
    assert main(["train", "--run", str(tmp_path / "whole"), *options]) == 0
    run = tmp_path / "killed"
    options += ["--training.checkpoint_minutes", "0.0005"]
    moments = random.Random(0)
    done = [0]
    for _ in range(2):
        process = start(run, options)
        wait_for(process, "Training" if done[-1] == 0 else "Resuming")
        saved = len(list((run / "checkpoints").glob("step_*")))
        deadline_s = time.monotonic() + 60
        while len(list((run / "checkpoints").glob("step_*"))) <= min(saved, 1) and time.monotonic() < deadline_s:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.wait()
        steps = [int(path.name[5:]) for path in (run / "checkpoints").glob("step_*")]
        assert max(steps) >= done[-1]
        done.append(max(steps))
    assert done[-1] > 0
    assert main(["train", "--run", str(run), *options]) == 0
    assert_same_weights(tmp_path / "whole", run, 150)
    assert not list(run.rglob(".unfinished-*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.long)])
def test_a_signal_ends_a_run_with_checkpoint_and_export(tmp_path, tiny_run_options, number, code):
    run = tmp_path / "run"
    process = start(run, ["--steps", "100000", *tiny_run_options])
    wait_for(process, "Training")
    while not (run / "samples" / "step_00000003").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "Traceback" not in output
    assert "was interrupted after" in output
    assert f" --run {run}\n" in output  # goes on to the end that it had
    steps = [int(path.name[5:]) for path in (run / "checkpoints").iterdir()]
    assert len(steps) == 1
    assert 3 <= steps[0] < 100000
    assert SavedSynthesizer(run / "saved_model").generate(np.zeros((1, 8))).shape == (1, 1024)


def test_divergence_ends_with_code_1_and_the_last_good_checkpoint(tmp_path, tiny_run_options, capsys):
    run = str(tmp_path / "run")
    options = ["--optimizer.learning_rate", "100", "--gan.n_critic", "1", "--training.checkpoint_minutes", "1e-9"]
    assert main(["train", "--run", run, "--steps", "50", *tiny_run_options, *options]) == 1
    error = capsys.readouterr().err
    assert "became NaN or infinite" in error
    assert "The last good checkpoint" in error
    folders = list((tmp_path / "run" / "checkpoints").iterdir())
    assert len(folders) in (1, 2)
    for folder in folders:
        weights = np.load(folder / "weights.npz")
        assert all(np.isfinite(weights[name]).all() for name in weights.files)
    assert not (tmp_path / "run" / "saved_model").exists()


@pytest.mark.long
def test_a_full_disk_ends_with_one_line_and_a_run_that_goes_on(tmp_path, finished_run, sound_folder):
    """A limit on the size of files stands for the disk: the system refuses the write."""
    resource = pytest.importorskip("resource")
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)

    def limit_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))

    process = start(run, ["--steps", "8"], preexec_fn=limit_files)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert "Traceback" not in output
    assert output.strip().splitlines()[-1].startswith("kgan: error: [Errno 27] File too large")
    assert main(["train", "--run", str(run), "--steps", "8"]) == 0
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step_00000006", "step_00000008"]


def test_a_run_of_another_version_is_refused_in_one_line(tmp_path, finished_run, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    facts = json.loads((run / "run.json").read_text())
    assert facts["kgan"] == kgan.__version__
    told = []
    for text in (json.dumps(facts | {"format": 2, "kgan": "0.0.9"}), "{", None):
        if text is None:
            (run / "run.json").unlink()
        else:
            (run / "run.json").write_text(text)
        for command in (["train", "--run", str(run)], ["generate", str(run)], ["export", str(run), str(tmp_path / "out")]):
            assert main(command) == 2
            told.append(capsys.readouterr().err)
            assert told[-1].count("\n") == 1
    assert all("must be of format 3" in line and "of format 2, which 0.0.9 wrote" in line for line in told[:3])
    assert all("run.json must be as kgan wrote it" in line for line in told[3:6])
    assert all("of format none, which an earlier version wrote" in line for line in told[6:])


def test_changed_settings_are_named(finished_run, capsys):
    before = (finished_run / "config.yaml").read_bytes()
    assert main(["train", "--run", str(finished_run), "--network.dim", "8", "--seed", "3", "--steps", "9"]) == 2
    error = capsys.readouterr().err
    assert "seed 0 -> 3, network.dim 4 -> 8." in error
    assert error.count("\n") == 1
    assert (finished_run / "config.yaml").read_bytes() == before


def test_the_same_command_on_a_finished_run_says_so(finished_run, tiny_run_options, capsys):
    before = weights_at(finished_run, 6)
    assert main(["train", "--run", str(finished_run), "--steps", "6", *tiny_run_options]) == 0
    output = capsys.readouterr().out
    assert "has done 6 iterations" in output
    assert f" --run {finished_run} --steps 12\n" in output
    assert "use --network.dim 8 with a new --run" in output
    for name, value in weights_at(finished_run, 6).items():
        np.testing.assert_array_equal(value, before[name])


def test_a_run_killed_before_its_export_is_exported_by_the_next_start(tmp_path, finished_run):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    assert exported_step(run / "saved_model") == 6
    config = run / "saved_model" / "1" / "assets" / "generator.yaml"
    config.write_text(config.read_text().replace('"step": 6', '"step": 4'))  # an earlier export
    for _ in range(2):
        assert main(["train", "--run", str(run)]) == 0
        assert exported_step(run / "saved_model") == 6
        assert sorted(path.name for path in (run / "saved_model").iterdir()) == ["1", "2"]
    shutil.rmtree(run / "saved_model")
    assert exported_step(run / "saved_model") is None
    assert main(["train", "--run", str(run)]) == 0
    assert SavedSynthesizer(run / "saved_model").latent_dim == 8


def test_two_processes_cannot_train_one_run(tmp_path, finished_run, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    process = start(run, ["--steps", "100000"])
    try:
        wait_for(process, "Resuming")
        assert main(["train", "--run", str(run)]) == 2
        assert "Another process is training in" in capsys.readouterr().err
    finally:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_a_budget_in_minutes_counts_over_resumes(tmp_path, tiny_run_options, capsys):
    def newest_state():
        return json.loads((max((tmp_path / "run" / "checkpoints").iterdir()) / "state.json").read_text())

    run = str(tmp_path / "run")
    assert main(["train", "--run", run, "--minutes", "0.1", *tiny_run_options]) == 0
    first = newest_state()
    assert first["training_s"] >= 6
    assert main(["train", "--run", run]) == 0
    output = capsys.readouterr().out
    assert f"has done {first['step']:,} iterations" in output
    assert f" --run {run} --minutes 0.2\n" in output
    assert main(["train", "--run", run, "--minutes", str((first["training_s"] + 3) / 60)]) == 0
    second = newest_state()
    assert second["training_s"] >= first["training_s"] + 3
    assert second["step"] > first["step"]


MINE = """
import keras

class Steps(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        with open("steps.txt", "a") as file:
            print(epoch, self.model.steps_done, "iterations_per_second" in logs, file=file)

class Greedy(keras.callbacks.Callback):
    def __init__(self, needed):
        super().__init__()

stop = keras.callbacks.EarlyStopping("critic_loss", mode="min", min_delta=1e9, patience=1)
"""


def test_training_as_a_call_is_what_the_command_does(tmp_path, finished_run, tiny_run_options):
    class Epochs(keras.callbacks.Callback):
        seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen.append(self.model.steps_done)

    pairs = dict(zip(tiny_run_options[::2], tiny_run_options[1::2], strict=True))
    names = {"--data": "data.source", "--size": "size", "--precision": "training.precision"}
    values = {names.get(option, option.removeprefix("--")): value for option, value in pairs.items()}
    outcome = kgan.train(tmp_path / "run", values | {"training.steps": 6}, callbacks=[Epochs()])
    assert (outcome.step, outcome.failure, Epochs.seen) == (6, None, [2, 4, 6])
    assert_same_weights(finished_run, tmp_path / "run", 6)
    assert kgan.load(tmp_path / "run").step == 6


def test_a_callback_of_ones_own_sees_every_epoch_of_a_run_and_of_a_resumed_one(tmp_path, tiny_run_options, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    options = ["--run", "run", "--callback", "mine:Steps", *tiny_run_options]
    assert main(["train", *options, "--steps", "3"]) == 0
    assert main(["train", "--run", "run", "--steps", "7"]) == 0
    seen = [line.split() for line in (tmp_path / "steps.txt").read_text().splitlines()]
    assert seen == [["0", "2", "True"], ["1", "3", "True"], ["1", "5", "True"], ["2", "7", "True"]]
    assert main(["train", "--run", "run", "--steps", "100", "--callback", "mine:stop"]) == 0
    assert "has done 11 iterations" in capsys.readouterr().out  # two epochs later
    for name, why in [
        ("mine:Greedy", "TypeError"),
        ("mine:Missing", "AttributeError"),
        ("nowhere:Class", "ModuleNotFoundError"),
        ("json:dumps", "a function"),
    ]:
        assert main(["train", "--run", "new", "--callback", name, *tiny_run_options]) == 2
        error = capsys.readouterr().err
        assert "must be Keras callbacks as module:Class" in error
        assert f"Received: {name} ({why}" in error
        assert not (tmp_path / "new").exists()


def test_changed_sounds_are_told(tmp_path, finished_run, sound_folder, capsys):
    run, sounds = tmp_path / "run", tmp_path / "sounds"
    shutil.copytree(finished_run, run)
    shutil.copytree(sound_folder, sounds)
    config = (run / "config.yaml").read_text().replace(str(sound_folder), str(sounds))
    (run / "config.yaml").write_text(config)
    assert main(["train", "--run", str(run), "--steps", "7"]) == 0
    assert "the sounds are not those" not in capsys.readouterr().out
    (sounds / "00.wav").unlink()
    assert main(["train", "--run", str(run), "--steps", "8"]) == 0
    assert "the sounds are not those that the run was started with" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "message"), [("logs", "A file is in the way"), ("history.csv", "is not a file that kgan wrote")]
)
def test_files_in_the_way_are_named(tmp_path, finished_run, capsys, name, message):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    if (run / name).is_dir():
        shutil.rmtree(run / name)
    (run / name).write_text("something;else\n1;2\n")
    assert main(["train", "--run", str(run), "--steps", "8"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert name in error


def test_input_that_is_refused_leaves_no_run_that_blocks_the_remedy(tmp_path, tiny_run_options, capsys):
    run = str(tmp_path / "run")
    assert main(["train", "--run", run, "--steps", "1", *tiny_run_options, "--training.batch_size", "64"]) == 2
    assert "Received: 40 sounds, batch size 64" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["train", "--run", run, "--steps", "1", *tiny_run_options]) == 0
    assert "Training the new run" in capsys.readouterr().out


def test_an_unwritable_run_folder(tmp_path, tiny_run_options, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["train", "--run", str(tmp_path / "file" / "run"), *tiny_run_options]) == 2
    assert "The run needs a folder that can be written. Received:" in capsys.readouterr().err


def test_ctrl_c_before_training_leaves_no_traceback(tmp_path, tiny_run_options):
    process = start(tmp_path / "run", tiny_run_options, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    wait_for(process, "Precision")
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in output


def test_shards_are_trained_on_as_their_folder_is(tmp_path, finished_run, tiny_run_options, sound_folder):
    shards = tmp_path / "shards"
    assert main(["prepare", str(sound_folder), "--out", str(shards), "--data.length_samples", "1024"]) == 0
    options = ["--steps", "6", *tiny_run_options]
    options[options.index("--data") + 1] = str(shards)
    assert main(["train", "--run", str(tmp_path / "shards run"), *options]) == 0
    assert_same_weights(finished_run, tmp_path / "shards run", 6)


@pytest.mark.long
def test_an_augmented_run_resumes_to_the_bit(tmp_path, finished_run, tiny_run_options):
    options = ["--augment.gain_db", "6", "--augment.shift_samples", "50", "--augment.polarity", "true", *tiny_run_options]
    assert main(["train", "--run", str(tmp_path / "whole"), "--steps", "6", *options]) == 0
    assert main(["train", "--run", str(tmp_path / "parts"), "--steps", "3", *options]) == 0
    assert main(["train", "--run", str(tmp_path / "parts"), "--steps", "6"]) == 0
    assert_same_weights(tmp_path / "whole", tmp_path / "parts", 6)
    plain = weights_at(finished_run, 6)
    assert any((plain[name] != value).any() for name, value in weights_at(tmp_path / "whole", 6).items())
