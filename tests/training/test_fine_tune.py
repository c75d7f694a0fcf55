"""Runs that begin with the networks of another run or of a SavedModel."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.callbacks.checkpoint import Checkpoint
from kgan.cli import main
from kgan.config import load_config
from kgan.errors import InputError
from kgan.labels import Labels
from kgan.serving.saved_model import export_saved_model
from kgan.synthesizer import GANSynthesizer
from kgan.training import fine_tune
from kgan.training.build import build_gan, build_representation
from kgan.training.fine_tune import settings_of, start_from, train_new_critic
from kgan.training.run_folder import FORMAT, RunFolder

LATENT_DIM = 4
TINY = {
    "model": "wgan_gp", "data.length_samples": 64, "network.dim": 2, "network.latent_dim": LATENT_DIM, "network.kernel_size": 5,
    "training.batch_size": 4, "training.precision": "float32", "gan.n_critic": 2,
}  # fmt: skip
SPEC = {"repr": "spec", "data.length_samples": 256, "representation.fft_samples": 64, "representation.hop_samples": 32}
NOTES = Labels({"pitch": [60, 61, 62, 60], "family": [0, 0, 2, 2]})


def built(labels=None, seed=0, **told):
    """Return a configuration, a GAN with random weights and its representation with random statistics."""
    config = load_config(TINY | {name.replace("__", "."): value for name, value in told.items()} | {"seed": seed})
    representation = build_representation(config)
    gan = build_gan(config, representation, labels)
    rng = np.random.default_rng(seed)
    for weight in (*gan.weights, *representation.weights):
        if weight.dtype == "float32":
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return config, gan, representation


def a_run(folder, labels=None, **told):
    """Write a run with a checkpoint and return it with its GAN and representation."""
    config, gan, representation = built(labels, seed=5, **told)
    run = RunFolder(folder)
    checkpoint = Checkpoint(run.checkpoints, representation=representation)
    checkpoint.set_model(gan)
    gan.step.assign(3)
    checkpoint.save()
    run.write_config(config)
    data = {"sounds": 4, "labels": (labels or Labels()).get_config()}
    run.facts_file.write_text(json.dumps({"format": FORMAT, "kgan": "0", "data": data}))
    return folder, gan, representation


def a_saved_model(folder, labels=None, **told):
    config, gan, representation = built(labels, seed=5, **told)
    export_saved_model(GANSynthesizer(gan, representation, 16000), config.to_yaml(), folder)
    return folder, gan, representation


def values(weights):
    return [weight.numpy() for weight in weights]


def assert_same(weights, expected):
    for mine, other in zip(values(weights), values(expected), strict=True):
        np.testing.assert_array_equal(mine, other)


def settings(**told):
    return {name.replace(".", "__"): value for name, value in told.items()}


@pytest.mark.parametrize(
    ("told", "labels"),
    [
        ({"network__phase_shuffle": 1}, None),
        ({"network__pixel_norm": True}, NOTES),
        (settings(**SPEC), NOTES),
    ],
    ids=["wave", "wave-labels", "spec-labels"],
)
@pytest.mark.parametrize("source", [a_run, a_saved_model])
def test_it_begins_with_the_best_generator_and_what_critic_there_is(tmp_path, source, told, labels):
    folder, theirs, statistics = source(tmp_path / "source", labels, **told)
    _, gan, representation = built(labels, **told)
    critic = values(gan.critic.trainable_weights)
    assert start_from(folder, gan, representation) == (source is a_run)
    assert_same(gan.generator.weights, theirs.ema_generator.weights)
    assert_same(gan.ema_generator.weights, theirs.ema_generator.weights)
    assert_same(representation.weights, statistics.weights)
    assert np.any(theirs.generator.weights[0] != theirs.ema_generator.weights[0])
    if source is a_run:
        assert_same(gan.critic.weights, theirs.critic.weights)
    else:
        for mine, before in zip(gan.critic.trainable_weights, critic, strict=True):
            np.testing.assert_array_equal(mine, before)
    assert int(gan.step) == int(gan.generator_optimizer.iterations) == 0


def first_layer(gan, latents, **labels):
    """Return what the generator's first layer makes of latents and labels."""
    first = next(layer for layer in gan.generator.layers if isinstance(layer, keras.layers.Dense))
    network = keras.Model(gan.generator.input, first.output)
    return network([latents, gan.labels.one_hot(labels).numpy()] if labels else latents).numpy()


@pytest.mark.parametrize("source", [a_run, a_saved_model])
def test_labels_that_both_have_are_kept_and_the_mean_of_the_others_remains(tmp_path, rng, source):
    """The first layer is linear, so means of what it makes tell the means of its rows."""
    folder, theirs, _ = source(tmp_path / "source", NOTES, gan__ema_decay=None)
    latents = rng.normal(size=(3, LATENT_DIM)).astype(np.float32)

    def old(pitch, family):
        return first_layer(theirs, latents, pitch=[pitch] * 3, family=[family] * 3)

    def over_families(pitch):
        return (old(pitch, 0) + old(pitch, 2)) / 2

    _, gan, representation = built(Labels({"pitch": [62, 60, 70]}), gan__ema_decay=None)
    start_from(folder, gan, representation)
    for pitch in (60, 62):
        np.testing.assert_allclose(first_layer(gan, latents, pitch=[pitch] * 3), over_families(pitch), rtol=1e-4, atol=1e-4)
    expected = (over_families(60) + over_families(61) + over_families(62)) / 3
    np.testing.assert_allclose(first_layer(gan, latents, pitch=[70] * 3), expected, rtol=1e-4, atol=1e-4)

    _, gan, representation = built(gan__ema_decay=None)
    start_from(folder, gan, representation)
    np.testing.assert_allclose(first_layer(gan, latents), expected, rtol=1e-4, atol=1e-4)
    assert_same(gan.generator.weights[2:], theirs.generator.weights[2:])

    _, gan, representation = built(Labels({"class": [0, 1], "family": [2, 0], "pitch": [61, 60]}), gan__ema_decay=None)
    start_from(folder, gan, representation)
    for number in (0, 1):  # a label that the old one lacks has no effect yet
        made = first_layer(gan, latents, **{"class": [number] * 3, "family": [2] * 3, "pitch": [61] * 3})
        np.testing.assert_allclose(made, old(61, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("theirs", "mine"), [(10, 1), (1, 10), (10, 10)])
def test_labels_sound_the_same_by_another_gain(tmp_path, rng, theirs, mine):
    labels = Labels({"pitch": [60, 61]})
    source, other, _ = a_run(tmp_path / "run", Labels({"pitch": [60, 61], "family": [4, 4]}), conditioning__label_gain=theirs)
    _, gan, representation = built(labels, conditioning__label_gain=mine)
    start_from(source, gan, representation)
    latents = rng.normal(size=(2, LATENT_DIM)).astype(np.float32)
    expected = other.best_generator([latents, np.concatenate([np.eye(2), np.ones((2, 1))], axis=1)])
    np.testing.assert_allclose(gan.generator([latents, np.eye(2)]), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "told",
    [{}, {"network__minibatch_stddev": 2}],
    ids=["plain", "minibatch stddev"],
)
def test_a_critic_keeps_the_columns_of_labels_that_both_have(tmp_path, told):
    folder, theirs, _ = a_run(tmp_path / "source", NOTES, **told)
    _, gan, representation = built(Labels({"class": [0, 1], "pitch": [62, 70]}), **told)
    before = values(gan.critic.weights)
    start_from(folder, gan, representation)
    assert_same(gan.critic.weights[:-2], theirs.critic.weights[:-2])
    for mine, old, fresh in zip(gan.critic.weights[-2:], theirs.critic.weights[-2:], before[-2:], strict=True):
        mine, old = mine.numpy(), old.numpy()  # the score, class 0 and 1, pitch 62 and 70; of old the score and pitch 60 to 62
        np.testing.assert_array_equal(mine[..., 0], old[..., 0])
        np.testing.assert_array_equal(mine[..., 1:3], fresh[..., 1:3])
        np.testing.assert_array_equal(mine[..., 3], old[..., 3])
        np.testing.assert_allclose(mine[..., 4], np.mean(old[..., 1:4], axis=-1), rtol=1e-5)


def test_all_weights_of_a_critic_but_its_last_layer_s_are_kept(tmp_path):
    folder, theirs, _ = a_run(tmp_path / "source", NOTES)
    _, gan, representation = built()
    start_from(folder, gan, representation)
    assert_same(gan.critic.weights[:-2], theirs.critic.weights[:-2])
    np.testing.assert_array_equal(gan.critic.weights[-2], theirs.critic.weights[-2][:, :1])


@pytest.mark.parametrize(
    ("source", "told", "labels"),
    [
        (a_run, {"network__dim": 3}, None),
        (a_saved_model, {"network__dim": 3}, None),
        (a_run, {"data__length_samples": 128}, None),
        (a_run, {"network__latent_dim": LATENT_DIM + 3}, None),
        (a_saved_model, {"network__latent_dim": 2}, Labels({"pitch": [60, 61]})),
        (a_run, {"network__minibatch_stddev": 2}, None),
        (a_run, settings(**SPEC), None),
    ],
)
def test_other_networks_are_refused(tmp_path, source, told, labels):
    folder, _, _ = source(tmp_path / "source", Labels({"pitch": [60, 61, 62]}) if "network__latent_dim" in told else None)
    _, gan, representation = built(labels, **told)
    with pytest.raises(InputError, match="the same networks and clips. Received: .*source, which has others.$"):
        start_from(folder, gan, representation)


def test_a_source_must_be_there_and_trained(tmp_path):
    _, gan, representation = built()
    with pytest.raises(InputError, match="There is no run and no SavedModel in .*nothing"):
        start_from(tmp_path / "nothing", gan, representation)
    folder, _, _ = a_run(tmp_path / "run")
    for file in (folder / "checkpoints").glob("*/*"):
        file.unlink()
    for step in (folder / "checkpoints").iterdir():
        step.rmdir()
    with pytest.raises(InputError, match="The run .*run has no checkpoint yet: train it first."):
        start_from(folder, gan, representation)
    folder, _, _ = a_saved_model(tmp_path / "model")
    (folder / "1" / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(InputError, match="must be one that kgan exported"):
        start_from(folder, gan, representation)


def test_settings_are_the_source_s_but_for_its_data_and_budget(tmp_path):
    told = {"optimizer__learning_rate": 3e-5, "conditioning__labels": ["pitch", "family"], "training__steps": 77}
    run, model = a_run(tmp_path / "run", NOTES, **told)[0], a_saved_model(tmp_path / "model", NOTES, **told)[0]
    found = settings_of(run)
    assert found == settings_of(model)
    assert found == settings_of(model / "1")
    assert (found["network.dim"], found["optimizer.learning_rate"], found["seed"]) == (2, 3e-5, 5)
    assert found["conditioning.labels"] == ["pitch", "family"]
    others = {"training.steps", "training.minutes", "training.cpu_minutes", "training.start_from", "data.source"}
    assert not found.keys() & (others | {"data.labels_csv", "data.split"})
    assert {"data.length_samples", "gan.n_critic", "scores.every_steps"} <= found.keys()
    with pytest.raises(InputError, match="no run and no SavedModel"):
        settings_of(tmp_path)


def test_a_new_critic_learns_alone_and_for_a_while(monkeypatch):
    monkeypatch.setattr(fine_tune, "CRITIC_STEPS", 3)
    _, gan, _ = built(NOTES)
    generator, critic = values([*gan.generator.weights, *gan.ema_generator.weights]), values(gan.critic.trainable_weights)
    element = {"x": tf.random.stateless_uniform((8, 64, 1), (0, 1), -1.0, 1.0)}
    element |= {"pitch": tf.constant([60, 61, 62, 60] * 2), "family": tf.constant([0, 0, 2, 2] * 2)}
    train_new_critic(gan, tf.data.Dataset.from_tensors(element).repeat())
    assert_same([*gan.generator.weights, *gan.ema_generator.weights], [tf.constant(weight) for weight in generator])
    assert all(np.any(new.numpy() != old) for new, old in zip(gan.critic.trainable_weights[:-1], critic[:-1], strict=True))
    assert int(gan.critic_optimizer.iterations) == 3 * gan.n_critic
    assert int(gan.step) == int(gan.generator_optimizer.iterations) == 0


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize("source", [a_saved_model, pytest.param(a_run, marks=pytest.mark.long)])
def test_the_command_begins_a_run_with_another_s_networks_and_settings(sound_folder, tmp_path, monkeypatch, source):
    monkeypatch.setattr(fine_tune, "CRITIC_STEPS", 2)
    folder, theirs, _ = source(tmp_path / "source")
    run = RunFolder(tmp_path / "run")
    told = ["--start-from", str(folder), "--data", str(sound_folder), "--optimizer.learning_rate", "1e-9", "--steps", "1"]
    assert main(["train", "--run", str(run.path), *told]) == 0
    config = run.read_config()
    assert (config.data.length_samples, config.gan.n_critic, config.training.steps) == (64, 2, 1)
    gan = build_gan(config, build_representation(config))
    assert Checkpoint(run.checkpoints).restore(gan) == 1
    assert int(gan.critic_optimizer.iterations) == (2 if source is a_run else 2 + 4)
    pairs = [(gan.best_generator, theirs.ema_generator), *([(gan.critic, theirs.critic)] if source is a_run else [])]
    for mine, expected in pairs:
        for weight, other in zip(values(mine.weights), values(expected.weights), strict=True):
            np.testing.assert_allclose(weight, other, atol=1e-6)


def test_labels_are_the_same_by_their_names():
    theirs = Labels({"instrument": [0, 1, 2], "pitch": [60, 61, 62]}, names={"instrument": ["harp", "horn", "oboe"]})
    mine = Labels({"instrument": [0, 1], "pitch": [61, 61]}, names={"instrument": ["oboe", "viola"]})
    third = 1 / 3  # of a viola, which is new: the mean of the others
    expected = [[0, third, 0], [0, third, 0], [1, third, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(fine_tune._mixing(theirs, mine), expected, rtol=1e-6)
