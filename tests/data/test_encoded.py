"""Sets that are encoded once: the analysis is kept, and nothing else changes."""

import numpy as np
import pytest
import tensorflow as tf

import kgan.data.load as load_module
from kgan.cli import main
from kgan.config import MODELS, load_config
from kgan.data.encoded import encode_all
from kgan.data.pipeline import training_dataset
from kgan.data.shards import ShardedSounds
from kgan.data.sounds import Sounds, to_int16
from kgan.errors import InputError
from kgan.labels import Labels
from kgan.representations import Harmonic
from kgan.training.build import build_gan, build_representation
from kgan.training.run_folder import load

LENGTH, RATE_HZ = 2048, 16000


def notes(count=24):
    """Decaying notes of two partials at pitches 60 to 63, the second partial of each louder than that of the last."""
    number = np.arange(count)
    pitch = (60 + number % 4).astype(np.int32)
    time_s = np.arange(LENGTH) / RATE_HZ
    turns = 440 * 2 ** ((pitch[:, None] - 69) / 12) * time_s
    audio = np.exp(-20 * time_s) * (0.4 * np.sin(2 * np.pi * turns) + number[:, None] / 60 * np.sin(4 * np.pi * turns))
    return Sounds(to_int16(audio), RATE_HZ, [str(i) for i in number], {"pitch": pitch})


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_all_sounds_are_encoded_as_the_representation_does(cache):
    sounds, layer = notes(), Harmonic(LENGTH, components=4)
    x = encode_all(sounds, layer, adapt=True)
    assert x.shape == (24, 4)
    np.testing.assert_allclose(layer.encode(sounds.waveforms(), sounds.labels["pitch"]), x, atol=0.02)  # 16 bits are kept
    second = np.argsort(x[:, 0])
    assert list(second) in (list(range(24)), list(range(24))[::-1])  # what varies is the second partial


def test_the_analysis_is_kept_and_made_again_for_other_sounds(cache):
    sounds, layer = notes(), Harmonic(LENGTH, components=4)
    encode_all(sounds, layer, adapt=True)
    (folder,) = cache.glob("analysis-*[0-9a-f]")
    stamp = (folder / "levels.npy").stat().st_mtime_ns
    encode_all(sounds, Harmonic(LENGTH, components=2), adapt=True)  # another number of components needs no other analysis
    assert (folder / "levels.npy").stat().st_mtime_ns == stamp
    moved = sounds.relabelled({"pitch": sounds.labels["pitch"] + 1})
    encode_all(moved, Harmonic(LENGTH, components=2), adapt=True)
    assert len([path for path in cache.glob("analysis-*") if path.is_dir()]) == 2


def test_the_pipeline_gathers_what_is_encoded(cache):
    sounds, layer = notes(), Harmonic(LENGTH, components=4)
    encoded = encode_all(sounds, layer, adapt=True)
    element = next(iter(training_dataset(sounds, layer, batch_size=8, n_critic=2, seed=3, encoded=encoded)))
    assert element["x"].shape == (16, 4)
    for x, pitch in zip(element["x"].numpy(), element["pitch"].numpy(), strict=True):
        (number,) = np.flatnonzero((encoded == x).all(axis=1))
        assert sounds.labels["pitch"][number] == pitch


@pytest.mark.parametrize(
    "labels",
    [{}, {"pitch": np.full(24, -1, np.int32)}, {"pitch": np.full(24, 128, np.int32)}],
    ids=["none", "unknown", "beyond"],
)
def test_sounds_without_a_midi_pitch_are_refused(cache, labels):
    with pytest.raises(InputError, match="needs the MIDI pitch of every sound.*melif needs none"):
        encode_all(notes().relabelled(labels), Harmonic(LENGTH, components=4), adapt=True)


def test_a_sound_an_octave_off_its_label_is_told(cache, capsys):
    length = 4096
    pitch = np.array([60, 60, 72, 48], np.int32)  # the second is heard at 72, as it is labelled an octave too low
    time_s = np.arange(length) / RATE_HZ
    sounding = 440 * 2 ** ((np.array([60, 72, 72, 48]) - 69) / 12)
    audio = 0.3 * sum(np.sin(2 * np.pi * k * sounding[:, None] * time_s) for k in (1, 2, 3))
    sounds = Sounds(to_int16(audio), RATE_HZ, ["right", "low", "high", "deep"], {"pitch": pitch})
    for _ in range(2):  # also where the analysis is already there
        encode_all(sounds, Harmonic(length, components=2), adapt=True)
        assert "1 of 4 sounds are heard an octave or two off their label pitch, low first" in capsys.readouterr().out


@pytest.mark.parametrize("model", MODELS)
def test_all_models_work_over_vectors(cache, model):
    sounds = notes()
    config = load_config(
        {"model": model, "repr": "harmonic", "data.length_samples": LENGTH, "representation.components": 4, "network.dim": 8}
        | {"training.batch_size": 4, "training.precision": "float32"}
    )
    layer = build_representation(config)
    encoded = encode_all(sounds, layer, adapt=True)
    gan = build_gan(config, layer, Labels.of(sounds, ["pitch"]))
    before = gan.generator.get_weights()
    dataset = training_dataset(sounds, layer, 4, gan.n_critic, encoded=encoded)
    history = gan.fit(dataset, steps_per_epoch=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert all((now != then).any() for now, then in zip(gan.generator.get_weights()[:1], before[:1], strict=True))


def test_a_run_over_harmonic_plus_noise(tmp_path, monkeypatch, capsys):
    """Trained, resumed to the bit, exported and played, from files with a table of pitches."""
    from kgan.audio.files import write_wav

    monkeypatch.setenv("KGAN_CACHE", str(tmp_path / "cache"))
    sounds = notes()
    rows = ["file,pitch"]
    for i, clip in enumerate(sounds.waveforms()):
        write_wav(tmp_path / "notes" / f"{i:02d}.wav", clip, RATE_HZ) if (tmp_path / "notes").exists() else (
            (tmp_path / "notes").mkdir(), write_wav(tmp_path / "notes" / f"{i:02d}.wav", clip, RATE_HZ)
        )  # fmt: skip
        rows.append(f"{i:02d}.wav,{sounds.labels['pitch'][i]}")
    (tmp_path / "notes" / "labels.csv").write_text("\n".join(rows))
    options = ["--data", str(tmp_path / "notes"), "--data.labels_csv", str(tmp_path / "notes" / "labels.csv"), "--model", "r1"]
    options += ["--repr", "harmonic", "--data.length_samples", str(LENGTH), "--representation.components", "4"]
    options += ["--network.dim", "8", "--training.batch_size", "4", "--precision", "float32"]
    assert main(["train", "--run", str(tmp_path / "whole"), "--steps", "4", *options]) == 0
    assert main(["train", "--run", str(tmp_path / "parts"), "--steps", "2", *options]) == 0
    assert main(["train", "--run", str(tmp_path / "parts"), "--steps", "4"]) == 0
    whole, parts, saved = load(tmp_path / "whole"), load(tmp_path / "parts"), load(tmp_path / "parts" / "saved_model")
    sound = whole.generate(count=2, seed=5, labels={"pitch": 61})
    np.testing.assert_array_equal(parts.generate(count=2, seed=5, labels={"pitch": 61}), sound)
    np.testing.assert_allclose(saved.generate(count=2, seed=5, labels={"pitch": 61}), sound, atol=1e-4)
    assert saved.plays
    played = whole.play(count=2, seed=5, labels={"pitch": 61.5}, duration_s=0.5, bend_semitones=[0, 1])
    assert played.shape == (2, 8000)
    np.testing.assert_allclose(
        saved.play(count=2, seed=5, labels={"pitch": 61.5}, duration_s=0.5, bend_semitones=[0, 1]), played, atol=1e-4
    )
    out = tmp_path / "out"
    assert main(["generate", str(tmp_path / "parts"), "--pitch", "60.5,90", "--duration", "0.25", "--out", str(out)]) == 0
    assert (out / "labels.csv").read_text().split() == ["file,pitch", "0000.wav,60.5", "0001.wav,90.0"]
    for pitch, duration_s, message in (
        (128, 1, "from 0 to 127"),
        (127, 1, "below half the sample rate, 8000 Hz. Received: 127"),
        (60, 61, "above 0 and at most 60"),
    ):
        with pytest.raises(InputError, match=message):
            saved.play(labels={"pitch": pitch}, duration_s=duration_s)
    assert main(["export", str(tmp_path / "parts"), str(tmp_path / "half"), "--half"]) == 0
    half = load(tmp_path / "half").play(count=2, seed=5, labels={"pitch": 61.5}, duration_s=0.5, bend_semitones=[0, 1])
    assert np.abs(half - played).max() < 0.02 * np.abs(played).max()
    signature = tf.saved_model.load(str(tmp_path / "parts" / "saved_model" / "1")).signatures["play"]
    given = {"latents": tf.zeros((1, 100)), "pitch": tf.constant([60.0]), "bend_semitones": tf.zeros((1, 1))}
    with pytest.raises(tf.errors.InvalidArgumentError, match="duration_s"):
        signature(**given, duration_s=tf.constant(-1.0))
    assert main(["train", "--run", str(tmp_path / "none"), *options[:2], "--repr", "harmonic", "--model", "r1"]) == 2
    assert "needs" in capsys.readouterr().err


def test_a_preset_is_another_for_sounds_without_pitches(tmp_path, sound_folder, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--preset", "fast", "--data", str(sound_folder), "--data.length_samples", "2048", "--network.dim", "2"]
    options += ["--steps", "1", "--precision", "float32", "--run", "run"]
    assert main(["train", *options]) == 0
    assert "--preset fast_melif instead of fast" in capsys.readouterr().out
    assert load("run").levels_db(load("run").latents(1)) is not None


def test_sounds_are_loaded_once_and_shards_are_opened_once(tmp_path, monkeypatch, capsys):
    """Also where the preset depends on them; a run whose budget is spent loads none."""
    from kgan.audio.files import write_wav

    monkeypatch.setenv("KGAN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "notes").mkdir()
    sounds = notes(8)
    for i, clip in enumerate(sounds.waveforms()):
        write_wav(tmp_path / "notes" / f"{i}.wav", clip, RATE_HZ)
    rows = [f"{i}.wav,{pitch},{i % 2}" for i, pitch in enumerate(sounds.labels["pitch"])]
    (tmp_path / "labels.csv").write_text("\n".join(["file,pitch,velocity", *rows]))
    table, clips = ["--data.labels_csv", str(tmp_path / "labels.csv")], ["--data.length_samples", str(LENGTH)]
    assert main(["prepare", str(tmp_path / "notes"), "--out", str(tmp_path / "shards"), *table, *clips]) == 0
    loads, opened = [], []
    load_all, open_all = load_module.load_sounds, ShardedSounds.__init__
    monkeypatch.setattr(load_module, "load_sounds", lambda *given: loads.append(given) or load_all(*given))
    monkeypatch.setattr(ShardedSounds, "__init__", lambda self, folder: opened.append(folder) or open_all(self, folder))
    options = [*clips, "--representation.components", "2", "--network.dim", "2", "--training.batch_size", "4"]
    options += ["--preset", "fast", "--training.preview_count", "2", "--run", str(tmp_path / "run")]
    for steps, times in ((1, 1), (2, 1), (2, 0)):  # a new run, the same going on, and once more
        loads.clear()
        opened.clear()
        assert main(["train", *options, "--data", str(tmp_path / "shards"), "--steps", str(steps)]) == 0
        assert (len(loads), len(opened)) == (times, times)
    assert "pitch (4 values), velocity (2 values)" in capsys.readouterr().out
