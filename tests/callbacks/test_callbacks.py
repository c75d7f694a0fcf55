import csv
import os
import signal
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.plugins.hparams import plugin_data_pb2

from kgan.audio.decode import read_audio
from kgan.callbacks import Board, Budget, Checkpoint, HealthWatch, HistoryCSV, Interrupt, Preview, ProgressBar, Throughput
from kgan.callbacks.board import write_map
from kgan.callbacks.health_watch import diagnose_audio, diagnose_gaps
from kgan.gans import DCGAN, WGANGP
from kgan.representations import Wave
from kgan.synthesizer import GANSynthesizer


class BreakAt(keras.callbacks.Callback):
    """Make a weight NaN after a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.step) == self.step:
            weight = self.model.generator.trainable_variables[0]
            weight.assign(weight * np.nan)


# HealthWatch


def test_nan_stops_training_with_the_last_good_checkpoint_kept(make_gan, fit, tmp_path, capsys):
    gan = make_gan(DCGAN)
    health = HealthWatch(GANSynthesizer(gan, Wave(), 16000), every_steps=100)
    fit(gan, 10, [health, Checkpoint(tmp_path, every_minutes=1e-9), BreakAt(4)])
    assert int(gan.step) == 5
    assert "became NaN or infinite at step 5; training stopped" in health.failure
    assert health.failure in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000003", "step_00000004"]


def test_a_finding_is_told_once_until_it_is_gone(make_gan, capsys):
    gan = make_gan(DCGAN)
    health = HealthWatch(GANSynthesizer(gan, Wave(), 16000), every_steps=1, count=4)
    health.set_model(gan)
    last = gan.generator.layers[-2]
    kernel = last.kernel.numpy()

    def look(factor):
        last.kernel.assign(kernel * factor)
        gan.step.assign_add(1)
        health.on_train_batch_end(0, {"critic_loss": 0.0})

    for factor in (1.0, 0.0, 0.0, 1.0, 0.0):
        look(factor)
    assert [step for step, _ in health.findings] == [2, 5]
    assert all("silent" in text for _, text in health.findings)
    assert capsys.readouterr().out.count("Warning at step") == 2


def test_diagnoses_by_hand(rng):
    noise = rng.uniform(-0.5, 0.5, (8, 1000))
    assert diagnose_audio(noise) == set()
    assert "silent" in diagnose_audio(noise * 1e-3).pop()
    assert "Mode collapse" in diagnose_audio(noise[:1] + 0.01 * noise).pop()
    assert diagnose_audio(noise[:1] + 0.1 * noise) == set()
    assert diagnose_audio(noise[:1]) == set()  # one sound cannot vary
    assert diagnose_gaps([10, 12, 11], 200) == set()
    assert "diverges" in diagnose_gaps([10, 12, 11], -300).pop()
    assert diagnose_gaps([0.1, 0.1, 0.1], 90) == set()  # large beside the others, small in itself
    assert diagnose_gaps([], 1e6) == set()


# Preview, HistoryCSV, Board


def events_in(logs):
    """Return what TensorBoard reads in a folder: pairs of a step and a value."""
    return [
        (event.step, value)
        for file in logs.glob("events.*")
        for event in tf.compat.v1.train.summary_iterator(str(file))
        for value in event.summary.value
    ]


def test_preview_writes_the_sounds_of_the_same_latents(make_gan, fit, tmp_path):
    gan = make_gan(DCGAN)
    synthesizer = GANSynthesizer(gan, Wave(), 16000)
    fit(gan, 5, [Preview(synthesizer, tmp_path / "samples", every_steps=2, count=3, log_dir=tmp_path / "logs", seed=9)])
    folders = sorted((tmp_path / "samples").iterdir())
    assert [folder.name for folder in folders] == ["step_00000002", "step_00000004", "step_00000005"]
    latents = np.load(folders[-1] / "latents.npy")
    np.testing.assert_array_equal(latents, synthesizer.latents(3, seed=9))
    expected = GANSynthesizer(gan, Wave(), 16000).generate(latents)
    for i in range(3):
        written = read_audio(folders[-1] / f"{i:04d}.wav", 16000).audio[:, 0]
        assert np.abs(written - expected[i]).max() <= 1 / 32767
    assert (folders[0] / "contact_sheet.png").read_bytes()[1:4] == b"PNG"
    events = events_in(tmp_path / "logs")
    assert {step for step, value in events if value.tag.startswith("contact_sheet")} == {2, 4, 5}
    assert {step for step, value in events if value.tag.startswith("sounds")} == {2, 4, 5}


def test_curves_are_the_logs_of_each_epoch_over_iterations(make_gan, fit, tmp_path):
    gan = make_gan(WGANGP, n_critic=1)
    history = fit(gan, 2, [Throughput(4), Board(GANSynthesizer(gan, Wave(), 16000), tmp_path, {}, count=4)], epochs=2).history
    curves = {}
    for step, value in events_in(tmp_path / "train"):
        curves.setdefault(value.tag, {})[step] = float(tf.make_ndarray(value.tensor))
    terms = {
        "critic_loss", "generator_loss", "score_gap", "gradient_penalty", "critic_gradient_norm", "generator_gradient_norm",
        "iterations_per_second", "examples_per_second",
    }  # fmt: skip
    assert curves.keys() == {f"epoch_{term}" for term in terms}
    for term in terms:
        assert curves[f"epoch_{term}"] == pytest.approx(dict(zip((2, 4), history[term], strict=True)))


def test_the_board_lists_hyper_parameters_and_places_sounds_by_their_levels(conditional, tmp_path):
    synthesizer, _ = conditional
    board = Board(synthesizer, tmp_path, {"batch_size": 8, "labels": ["pitch"], "minutes": None}, count=5, seed=3)
    board.set_model(None)
    board.on_train_begin()
    (info,) = [
        value.metadata.plugin_data.content for _, value in events_in(tmp_path) if value.tag.endswith("session_start_info")
    ]
    told = plugin_data_pb2.HParamsPluginData.FromString(info).session_start_info.hparams
    assert (told["batch_size"].number_value, told["labels"].string_value, told["minutes"].string_value) == (
        8,
        "['pitch']",
        "None",
    )

    t = np.arange(4096) / 16000
    audio = np.stack([np.zeros(4096), np.sin(2 * np.pi * 500 * t), np.where(t < 0.128, 0, np.sin(2 * np.pi * 500 * t))])
    write_map(tmp_path, audio, 16000, {"pitch": ["1", "2", "3"]})
    places = np.loadtxt(tmp_path / "map" / "places.tsv", delimiter="\t").reshape(3, 8, 32)
    np.testing.assert_allclose(places[0], np.log(1e-6), atol=1e-3)  # silence
    assert places[1].mean(axis=0).argmax() in (5, 6)  # HTK's mel of 500 Hz lies at 0.22 of those from 40 to 7800 Hz: band 6
    np.testing.assert_allclose(places[2, :3], places[2].min(), atol=1e-3)  # begins in the middle: until then it is the floor
    np.testing.assert_allclose(places[2, 5:], places[1, 5:], atol=1e-2)
    assert (tmp_path / "map" / "sounds.tsv").read_text() == "sound\tpitch\n0\t1\n1\t2\n2\t3\n"
    sprite = tf.io.decode_png((tmp_path / "map" / "sounds.png").read_bytes()).numpy()
    assert sprite.shape == (96, 96, 3)
    assert sprite[:48, :48].max() == sprite[:48, :48, 2].max() <= 4  # silence: magma's darkest
    assert sprite[40:48, 48:].max() > 100  # low frequencies are below
    write_map(tmp_path / "unconditional", audio, 16000, {})
    assert (tmp_path / "unconditional" / "map" / "sounds.tsv").read_text() == "0\n1\n2\n"
    assert "map/places.tsv" in (tmp_path / "projector_config.pbtxt").read_text()


def test_history_rows_are_means_over_their_steps_and_a_resumed_one_reads_as_one(make_gan, fit, tmp_path):
    rows = {}
    for length in (1, 3):
        gan = make_gan(DCGAN)
        path = tmp_path / f"{length}.csv"
        fit(gan, length, [HistoryCSV(path)], epochs=9 // length)
        gan.step.assign(6)  # resumed from a checkpoint before the end
        fit(gan, length, [HistoryCSV(path)], epochs=6 // length)
        rows[length] = list(csv.DictReader(path.open()))
    assert [int(row["step"]) for row in rows[1]] == list(range(1, 13))
    assert [int(row["step"]) for row in rows[3]] == [3, 6, 9, 12]
    single = [float(row["critic_loss"]) for row in rows[1]]
    for row, three in zip(rows[3], np.split(np.array(single), 4), strict=True):
        assert float(row["critic_loss"]) == pytest.approx(three.mean(), rel=1e-4)


def test_keras_own_callbacks_work(make_gan, fit, tmp_path):
    """Rates fall, training stops early, and the logger has a row for each epoch."""
    gan = make_gan(DCGAN)
    rates = []

    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            optimizer = self.model.critic_optimizer
            optimizer.learning_rate.assign(optimizer.learning_rate / 2)
            rates.append(float(optimizer.learning_rate))

    never_better = keras.callbacks.EarlyStopping("critic_loss", mode="min", patience=3, min_delta=1e9)
    fit(gan, 2, [Halve(), keras.callbacks.CSVLogger(tmp_path / "log.csv"), never_better], epochs=9)
    assert gan.steps_done == 2 * 4  # the first epoch is the best, three are not
    assert rates == pytest.approx([1e-3 / 2**i for i in range(1, 5)])
    assert [row["epoch"] for row in csv.DictReader((tmp_path / "log.csv").open())] == ["0", "1", "2", "3"]


# Throughput, Budget, ProgressBar, Interrupt


def test_throughput_by_hand(monkeypatch):
    clock = iter([0.0, 10.0, 10.5, 11.0, 11.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    throughput = Throughput(examples_per_iteration=160, window=2)
    rates = []
    for _ in range(5):
        logs = {}
        throughput.on_train_batch_end(0, logs)
        rates.append(logs.get("iterations_per_second"))
    assert rates == [None, 0.1, 2 / 10.5, 2.0, 2.0]
    assert logs["examples_per_second"] == 320


def test_budget_by_hand():
    clock = SimpleNamespace(training_s=0.0, training_cpu_s=0.0)
    budget = Budget(clock, steps=100, minutes=2)
    assert not budget.spent(99)
    assert budget.spent(100)
    assert budget.steps_in_all(10, 0.5) == 70  # 120 s at half a step a second
    assert budget.steps_in_all(10, 50.0) == 100
    clock.training_s = 120.0
    assert budget.spent(1)
    assert not Budget(clock, cpu_minutes=2).spent(1)
    clock.training_cpu_s = 60.0  # half a core
    assert Budget(clock, cpu_minutes=2).steps_in_all(10, 0.5) == 70
    clock.training_cpu_s = 120.0
    assert Budget(clock, cpu_minutes=2).spent(1)
    assert not Budget(clock).spent(10**9)
    assert Budget(clock).steps_in_all(3, 1.0) is None


def test_budget_and_bar_end_a_run(make_gan, fit, tmp_path, capsys):
    gan = make_gan(DCGAN)
    budget = Budget(Checkpoint(tmp_path), steps=3)
    fit(gan, 10, [Throughput(4), budget, ProgressBar(budget)])
    assert int(gan.step) == 3
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_after_the_iteration_and_restores_the_handlers(make_gan, fit, number):
    class Send(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    gan, interrupt = make_gan(DCGAN), Interrupt()
    fit(gan, 10, [Send(), interrupt])
    assert int(gan.step) == 3
    assert interrupt.received == number
    assert signal.getsignal(number) is before
