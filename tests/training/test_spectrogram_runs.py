"""Runs over spectrograms do all that runs over waves do."""

import io
import shutil

import matplotlib.image
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kgan.audio.decode import read_audio
from kgan.cli import main
from kgan.serving.saved_model import SavedSynthesizer
from kgan.training.run_folder import load

OPTIONS = {
    "spec": [],
    "logspec": ["--representation.griffin_lim_iterations", "4"],
    "melif": ["--representation.fft_samples", "256", "--representation.hop_samples", "64"],
}
SHAPES = {"spec": (8, 128, 2), "logspec": (8, 128, 1), "melif": (16, 128, 2)}
TRANSFORMS = {"spec": {"IRFFT"}, "logspec": {"RFFT", "IRFFT"}, "melif": {"IRFFT"}}  # Griffin-Lim goes both ways
STATISTICS = {"spec": [], "logspec": [(129,), (129,)], "melif": [(2,)]}


@pytest.mark.parametrize("name", ["melif", *(pytest.param(name, marks=pytest.mark.long) for name in ("spec", "logspec"))])
def test_train_resume_preview_generate_and_export(tmp_path, tiny_run_options, sound_folder, name):
    sounds = tmp_path / "sounds"
    shutil.copytree(sound_folder, sounds)
    options = [*tiny_run_options, "--repr", name, *OPTIONS[name]]
    options[options.index("--data") + 1] = str(sounds)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main(["train", "--run", str(whole), "--steps", "4", *options]) == 0
    assert main(["train", "--run", str(parts), "--steps", "3", *options]) == 0
    assert main(["train", "--run", str(parts), "--steps", "4"]) == 0

    with (
        np.load(whole / "checkpoints" / "step_00000004" / "weights.npz") as first,
        np.load(parts / "checkpoints" / "step_00000004" / "weights.npz") as second,
    ):
        assert first.files == second.files
        for array in first.files:
            np.testing.assert_array_equal(first[array], second[array], err_msg=array)
        statistics = [first[array] for array in first.files if array.startswith("representation/")]
    assert [array.shape for array in statistics] == STATISTICS[name]
    assert all((array != 0).any() for array in statistics)

    shutil.rmtree(sounds)  # neither generating nor exporting needs the data
    synthesizer, saved = load(parts), SavedSynthesizer(parts / "saved_model")
    assert synthesizer.representation.example_shape == SHAPES[name]
    latents = synthesizer.latents(5, seed=3)
    audio = synthesizer.generate(latents)
    assert audio.shape == (5, 1024)
    assert np.abs(audio).max() > 1e-4
    np.testing.assert_allclose(saved.generate(latents), audio, atol=1e-4)
    np.testing.assert_allclose(saved.generate(latents[3:4]), audio[3:4], atol=1e-4)
    assert main(["generate", str(parts), "--count", "5", "--seed", "3", "--out", str(tmp_path / "out")]) == 0
    for i, clip in enumerate(audio):
        written = read_audio(tmp_path / "out" / f"{i:04d}.wav", 16000).audio[:, 0]
        assert np.abs(written - np.clip(clip, -1, 1)).max() < 2e-4
    assert main(["export", str(parts), str(tmp_path / "models" / "x")]) == 0

    sheet = matplotlib.image.imread(io.BytesIO((parts / "samples" / "step_00000003" / "contact_sheet.png").read_bytes()))
    assert sheet.shape[0] > 1.5 * 280  # a third picture for each clip: waves' sheets of one row have 280 pixels

    saved = saved_model_pb2.SavedModel.FromString((parts / "saved_model" / "1" / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    operations = {node.op for function in graph.library.function for node in function.node_def} | {n.op for n in graph.node}
    assert {*TRANSFORMS[name], "Conv2DBackpropInput"} <= operations
    functions = {function.signature.name for function in graph.library.function}
    for operation in operations - functions:
        assert hasattr(tf.raw_ops, operation), operation


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--repr", "spec", "--network.phase_shuffle", "2"], "is for waves; spec needs 0. Received: 2."),
        (["--repr", "wave", "--representation.companding", "raw"], "wave has no option `representation.companding`."),
        (["--repr", "logspec", "--representation.companding", "raw"], "logspec has no option `representation.companding`."),
        (["--repr", "melif", "--representation.fft_samples", "null"], "melif needs `representation.fft_samples`."),
        (["--repr", "spec", "--representation.companding", "cube"], "Input should be 'log' or 'raw'. Received: 'cube'."),
        (["--repr", "spec", "--representation.fft_samples", "300"], "must be a power of two, at least 4. Received: 300."),
        (["--repr", "spec", "--representation.hop_samples", "200"], "into two parts or more"),
        (["--repr", "melif", "--data.length_samples", "500"], "one transform long, 1024 samples. Received: 500."),
    ],
)
def test_bad_options_are_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.long
def test_stereo_of_an_odd_length(tmp_path, tiny_run_options):
    run = tmp_path / "run"
    options = ["--repr", "spec", "--data.channels", "2", "--data.length_samples", "1000"]
    assert main(["train", "--run", str(run), "--steps", "1", *tiny_run_options, *options]) == 0
    synthesizer = load(run)
    assert synthesizer.representation.example_shape == (8, 128, 4)
    assert synthesizer.generate(synthesizer.latents(2)).shape == (2, 1000, 2)
