import importlib.util
from dataclasses import replace

import librosa
import numpy as np
import pytest
import tensorflow as tf

from kgan.data.sounds import to_int16
from kgan.errors import InputError
from kgan.evaluation import Evaluator, frechet_distance, kernel_distance
from kgan.evaluation import musicnn as module
from kgan.evaluation.evaluate import usable_metrics
from kgan.evaluation.musicnn import CHECKPOINT, Musicnn, log_mel, musicnn_folder, musicnn_network

installed = pytest.mark.skipif(importlib.util.find_spec("musicnn") is None, reason="pip install --no-deps musicnn==0.1.0")


def checkpoint():
    return tf.compat.v1.train.NewCheckpointReader(f"{musicnn_folder() / CHECKPOINT}/")


def by_its_own_graph(levels):
    """Return the features by the graph that TensorFlow 1 saved beside the checkpoint, but for its gradients."""
    output = "model/batch_normalization_10/batchnorm/add_1"
    saved = tf.compat.v1.MetaGraphDef.FromString((musicnn_folder() / CHECKPOINT / ".meta").read_bytes()).graph_def
    part = tf.compat.v1.graph_util.extract_sub_graph(saved, [output])
    for node in part.node:
        node.attr.pop("_output_shapes", None)
    values = {"model/Placeholder": levels, "model/Placeholder_2": False}  # the second: whether it is trained
    values |= {f"{node.name}/read": checkpoint().get_tensor(node.name) for node in part.node if node.op == "VariableV2"}
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(part, name="")
        return session.run(f"{output}:0", {f"{name}:0": value for name, value in values.items()})


@installed
def test_it_agrees_with_its_own_graph(rng):
    levels = rng.uniform(0.0, 4.0, (2, 187, 96)).astype(np.float32)
    expected = by_its_own_graph(levels)
    assert expected.std() > 0.1
    np.testing.assert_allclose(musicnn_network(checkpoint())(levels), expected, atol=1e-4)


@installed
def test_sounds_are_embedded_whole_whatever_their_length_and_rate(parts):
    test = parts[2].subset(np.arange(6))
    features = Musicnn().embed(test)
    levels = log_mel(test.waveforms())
    assert levels.shape == (6, 9, 96)
    np.testing.assert_allclose(features, musicnn_network(checkpoint())(levels), atol=1e-4)
    slow = replace(test, audio=to_int16(np.stack([librosa.resample(x, orig_sr=1, target_sr=2) for x in test.waveforms()])))
    other_rate = Musicnn().embed(replace(slow, sample_rate_hz=32000))
    tones = test.labels["family"] == 0  # the others have much at the edge of the filter
    assert tones.any()
    assert np.abs(other_rate - features)[tones].mean() < 0.05 * features.std()


@installed
def test_its_distances_are_columns(parts, rng):
    train, _, test = parts
    evaluator = Evaluator(train, None, ["musicnn"], compared=60)
    scores, worse = evaluator.scores(test), evaluator.scores(replace(test, audio=test.audio[:, ::-1] // 2 + 9000))
    mine, theirs = Musicnn().embed(test.subset(np.arange(60))), Musicnn().embed(train)
    assert scores["musicnn_frechet"] == pytest.approx(frechet_distance(mine, theirs), rel=1e-3)
    assert scores["musicnn_kernel"] == pytest.approx(kernel_distance(mine, theirs), rel=1e-3, abs=1e-6)
    assert worse["musicnn_frechet"] > 2 * scores["musicnn_frechet"]


def test_its_spectrogram_agrees_with_librosa(rng):
    audio = rng.uniform(-1.0, 1.0, (2, 16000)).astype(np.float32)
    power = librosa.feature.melspectrogram(y=audio, sr=16000, n_fft=512, hop_length=256, n_mels=96)
    np.testing.assert_allclose(log_mel(audio), np.log10(1.0 + 1e4 * power).transpose(0, 2, 1), atol=1e-4)


def test_it_is_asked_for_by_name_and_says_what_it_needs(parts, monkeypatch):
    assert "musicnn" not in usable_metrics(None, None, parts[0])[0]
    monkeypatch.setattr(module, "PACKAGE", "a_package_that_nobody_has")
    with pytest.raises(InputError, match="pip install --no-deps musicnn==0.1.0"):
        usable_metrics(["musicnn"], None, parts[0])
    with pytest.raises(InputError, match="pip install --no-deps musicnn==0.1.0"):
        Evaluator(parts[0], None, ["musicnn"])
