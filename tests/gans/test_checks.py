"""What cannot work is refused with the rule and what was received."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.gans import DCGAN, R1GAN, WGAN, WGANGP
from kgan.labels import Labels
from kgan.networks import spectrogram_critic, wave_critic, wave_generator

LABELS = Labels({"pitch": [60, 62, 64], "family": [0, 0, 1]})  # five values
EXAMPLES = tf.zeros((4, 64, 1))


def generator(label_width=0, **options):
    return wave_generator(64, dim=2, latent_dim=3, label_width=label_width, **options)


def critic(label_width=0, **options):
    return wave_critic(64, dim=2, label_width=label_width, **options)


def critic_with(*layers):
    return keras.Sequential([keras.Input((64, 1)), *layers, keras.layers.Flatten(), keras.layers.Dense(1)])


def critic_of(outputs):
    """Return a critic that names its outputs as `outputs`, `{name: width}`, says."""
    examples = keras.Input((64, 1))
    flat = keras.layers.Flatten()(examples)
    return keras.Model(examples, {name: keras.layers.Dense(width)(flat) for name, width in outputs.items()})


def refused(message, make):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda: generator(), r"With 5 label .* latents and one-hot labels, \(batch, 5\). Received: inputs of \(batch, 3\)$"),
        (lambda: generator(4), r"one-hot labels, \(batch, 5\). Received: inputs of \(batch, 3\), \(batch, 4\)$"),
    ],
)
def test_a_generator_must_take_the_labels(network, message):
    refused(message, lambda: DCGAN(network(), critic(5), labels=LABELS))


def test_a_generator_must_take_latents_alone_where_there_are_no_labels():
    refused(r"With 0 .* latents alone. Received: inputs of \(batch, 3\), \(batch, 5\)$", lambda: DCGAN(generator(5), critic()))
    pictures = keras.Sequential([keras.Input((8, 8)), keras.layers.Reshape((64, 1))])
    refused(r"latents alone. Received: inputs of \(batch, 8, 8\)$", lambda: DCGAN(pictures, critic()))


@pytest.mark.parametrize(
    ("labels", "network", "received"),
    [
        (LABELS, lambda: critic(), r"`score` \(batch, 1\)"),
        (LABELS, lambda: critic(4), r"`score` \(batch, 1\), `labels` \(batch, 4\)"),
        (LABELS, lambda: critic_of({"score": 6}), r"`score` \(batch, 6\)"),
        (LABELS, lambda: critic_of({"score": 1, "label": 5}), r"`score` \(batch, 1\), `label` \(batch, 5\)"),
        (LABELS, lambda: critic_with(), r"\(batch, 1\)"),
        (None, lambda: critic(5), r"`score` \(batch, 1\), `labels` \(batch, 5\)"),
        (None, lambda: keras.Sequential([keras.Input((64, 1)), keras.layers.Flatten()]), r"\(batch, 64\)"),
    ],
)
def test_a_critic_must_return_a_score_and_what_it_says_of_labels(labels, network, received):
    width = labels.width if labels else 0
    rule = f"With {width} label values the critic must return a dictionary of `score` .batch, 1."
    refused(f"{rule}.* Received: {received}$", lambda: DCGAN(generator(width), network(), labels=labels))


def test_a_critic_must_take_what_the_generator_makes():
    rule, made = "The critic must take what the generator makes. Received: ", r"and \(batch, 64, 1\) made$"
    longer, pictures = wave_critic(256, dim=2), spectrogram_critic((8, 8, 1), dim=2)
    refused(rf"{rule}\(batch, 256, 1\), {made}", lambda: WGANGP(generator(), longer))
    refused(rf"{rule}\(batch, 8, 8, 1\), {made}", lambda: WGANGP(generator(), pictures))


@pytest.mark.parametrize("wrap", [lambda layer: layer, lambda layer: keras.Sequential([layer]), keras.layers.TimeDistributed])
def test_a_critic_must_not_mix_examples(wrap):
    mixing = critic_with(wrap(keras.layers.BatchNormalization(name="mixing")))
    refused("must not mix examples.*batch normalisation. Received: mixing$", lambda: DCGAN(generator(), mixing))
    WGANGP(generator(), critic_with(keras.layers.LayerNormalization()))


def test_networks_must_state_their_shapes():
    class Unstated(keras.Model):
        pass

    rule = "must be a functional or sequential `keras.Model` with its `Input`. Received: "
    refused(f"`generator` {rule}", lambda: DCGAN(Unstated(), critic()))
    refused(f"`critic` {rule}", lambda: DCGAN(generator(), keras.Sequential([keras.layers.Dense(1)])))
    refused(f"`critic` {rule}None", lambda: DCGAN(generator(), None))


@pytest.mark.parametrize(
    ("gan_class", "options", "message"),
    [
        (DCGAN, {"n_critic": 0}, "`n_critic` must be at least 1. Received: n_critic=0"),
        (DCGAN, {"n_critic": 2.5}, "`n_critic` must be an integer. Received: n_critic=2.5"),
        (WGAN, {"clip_value": 0.0}, "`limit` must be above 0. Received: limit=0.0"),
        (WGANGP, {"gradient_penalty_weight": -1.0}, "must be at least 0. Received: gradient_penalty_weight=-1.0"),
        (R1GAN, {"r1_gamma": float("nan")}, "`r1_gamma` must be at least 0. Received: r1_gamma=nan"),
        (R1GAN, {"r1_interval": 0}, "`r1_interval` must be at least 1. Received: r1_interval=0"),
        (DCGAN, {"auxiliary_weight": "much"}, "`auxiliary_weight` must be a number. Received: auxiliary_weight='much'"),
        (DCGAN, {"latent_distribution": "gauss"}, "Unknown latent_distribution `gauss`. Valid: normal, uniform."),
        (DCGAN, {"ema_decay": 1.0}, "Received: ema_decay=1.0"),
        (DCGAN, {"labels": {"pitch": [60]}}, "`labels` must be `kgan.labels.Labels` or None. Received: {'pitch'"),
    ],
)
def test_settings_must_be_in_their_range(gan_class, options, message):
    refused(message, lambda: gan_class(generator(), critic(), **options))


@pytest.mark.parametrize("gan_class", [DCGAN, WGAN, WGANGP, R1GAN])
def test_settings_after_the_networks_are_named(gan_class):
    with pytest.raises(TypeError, match="takes 3 positional arguments but 4 were given"):
        gan_class(generator(), critic(), 5)


@pytest.mark.parametrize(
    ("element", "message"),
    [
        ({"x": EXAMPLES, "family": [0, 1, 1, 0]}, "An element must hold pitch, family beside `x`. Received: x, family$"),
        (EXAMPLES, "Received: x$"),
        ({"pitch": [60] * 4, "family": [0] * 4}, "Received: pitch, family$"),
        ((EXAMPLES, EXAMPLES), "An element must be a tensor or a dictionary. Received: 2 parts$"),
        ({"x": EXAMPLES, "pitch": [60] * 3, "family": [0] * 4}, r"`pitch` must have a value for each .* shape \(3,\), and \(4"),
        ({"x": EXAMPLES[:3], "pitch": [60] * 3, "family": [0] * 3}, r"n_critic=2 critic .* Received: shape \(3, 64, 1\)$"),
        ({"x": EXAMPLES[:, :32], "pitch": [60] * 4, "family": [0] * 4}, r"shape \(64, 1\). Received: \(32, 1\)$"),
    ],
)
def test_an_element_must_hold_what_the_critic_steps_need(element, message):
    gan = DCGAN(generator(5), critic(5), n_critic=2, labels=LABELS)
    gan.compile("sgd", "sgd")
    refused(message, lambda: gan.train_step(element))


def test_a_last_batch_of_unknown_size_must_divide_too():
    gan = DCGAN(generator(), critic(), n_critic=2)
    gan.compile("sgd", "sgd")
    gan.fit(np.zeros((6, 64, 1), np.float32), batch_size=4, verbose=0)
    assert int(gan.step) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="examples of n_critic=2 critic steps"):
        gan.fit(np.zeros((5, 64, 1), np.float32), batch_size=4, verbose=0)


def test_two_optimizers_are_two_objects():
    gan, one = DCGAN(generator(), critic()), keras.optimizers.SGD()
    for first, second in ((one, one), (one, keras.optimizers.LossScaleOptimizer(one))):
        with pytest.raises(ValueError, match="need separate optimizers. Received: the same object twice"):
            gan.compile(first, second)


@pytest.mark.parametrize("name", ["loss", "metrics", "weighted_metrics", "optimizer"])
def test_compile_refuses_what_a_gan_has_no_use_for(name):
    gan = DCGAN(generator(), critic(), loss="hinge")
    with pytest.raises(ValueError, match=f"A GAN has its own losses and no targets.* Received: {name}$"):
        gan.compile("sgd", "sgd", **{name: "mse"})
    assert gan.loss == "hinge"


def test_it_is_not_evaluated_by_its_losses():
    gan = DCGAN(generator(), critic())
    gan.compile("sgd", "sgd")
    with pytest.raises(ValueError, match="cannot be evaluated by its losses.*Evaluator"):
        gan.evaluate(EXAMPLES)
    with pytest.raises(ValueError, match="no `validation_data`"):
        gan.fit(EXAMPLES, validation_data=EXAMPLES, verbose=0)
    assert gan.steps_done == 0
