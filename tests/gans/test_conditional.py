"""GANs with labels, against their losses and gradients by hand: linear networks in numpy's float64."""

import keras
import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from kgan.gans import DCGAN, R1GAN, WGAN, WGANGP
from kgan.labels import Labels
from kgan.networks import wave_critic, wave_generator
from kgan.networks.layers import generator_inputs, named_outputs
from kgan.noise import folded_seed, latent_noise

LABELS = Labels({"pitch": [60, 62, 64, 60], "family": [0, 0, 1, 1]})  # three values and two
BATCH = {"pitch": [60, 64, 60, 62], "family": [0, 1, 1, 0]}
LATENT_DIM, WIDTH, RATE, WEIGHT = 3, 6, 0.1, 0.7
SEED = folded_seed(0, 9)


def sigmoid(x):
    return scipy.special.expit(x)


def softplus(x):
    return np.logaddexp(0.0, x)


def log_softmax(x):
    return scipy.special.log_softmax(x, axis=1)


# Of a real score, of a fake one, and of a fake one for the generator: the loss and its slope.
WASSERSTEIN = [(lambda s: -s, lambda s: -1.0), (lambda s: s, lambda s: 1.0), (lambda s: -s, lambda s: -1.0)]
LOSSES = {
    "wasserstein": WASSERSTEIN,
    "logistic": [
        (lambda s: softplus(-s) / 2, lambda s: -sigmoid(-s) / 2),
        (lambda s: softplus(s) / 2, lambda s: sigmoid(s) / 2),
        (lambda s: softplus(-s), lambda s: -sigmoid(-s)),
    ],
    "doubled logistic": [
        (lambda s: softplus(-s), lambda s: -sigmoid(-s)),
        (softplus, sigmoid),
        (lambda s: softplus(-s), lambda s: -sigmoid(-s)),
    ],
    "hinge": [
        (lambda s: np.maximum(0, 1 - s) / 2, lambda s: (s < 1) / -2),
        (lambda s: np.maximum(0, 1 + s) / 2, lambda s: (s > -1) / 2),
        WASSERSTEIN[2],
    ],
    "least_squares": [
        (lambda s: (s - 1) ** 2 / 2, lambda s: s - 1),
        (lambda s: s**2 / 2, lambda s: s),
        (lambda s: (s - 1) ** 2 / 2, lambda s: s - 1),
    ],
}
CASES = {
    "dcgan": (DCGAN, {}, "logistic"),
    "hinge": (DCGAN, {"loss": "hinge"}, "hinge"),
    "least_squares": (DCGAN, {"loss": "least_squares"}, "least_squares"),
    "wgan": (WGAN, {"clip_value": 100.0}, "wasserstein"),
    "wgan_gp": (WGANGP, {"gradient_penalty_weight": 5.0}, "wasserstein"),
    "r1": (R1GAN, {"r1_gamma": 0.6, "r1_interval": 3}, "doubled logistic"),
}
with_every_gan = pytest.mark.parametrize("case", CASES)
with_every_conditioning = pytest.mark.parametrize("conditioning", ["auxiliary", "projection"])
with_and_without_labels = pytest.mark.parametrize("labels", [LABELS, Labels()], ids=["labels", "none"])


def linear_generator(label_width, latent_dim=LATENT_DIM, width=WIDTH):
    inputs, x = generator_inputs(latent_dim, label_width, 1.0)
    return keras.Model(inputs, keras.layers.Dense(width)(x))


def linear_critic(label_width, width=WIDTH):
    examples = keras.Input((width,))
    return keras.Model(examples, named_outputs(keras.layers.Dense(1 + label_width)(examples)))


def linear_gan(gan_class=DCGAN, labels=LABELS, **options):
    """Return a compiled GAN of linear networks with biases, over vectors."""
    generator, critic = linear_generator(labels.width), linear_critic(labels.width)
    rng = np.random.default_rng(3)
    for network in (generator, critic):
        network.set_weights([rng.normal(size=weight.shape) for weight in network.weights])
    gan = gan_class(generator, critic, labels=labels, auxiliary_weight=WEIGHT, **options)
    gan.compile(keras.optimizers.SGD(RATE), keras.optimizers.SGD(RATE))
    return gan


def real_batch(labels, size=4):
    """Return vectors and their one-hot labels."""
    real = np.random.default_rng(1).normal(size=(size, WIDTH)).astype(np.float32)
    return real, labels.one_hot(BATCH).numpy() if labels.width else np.zeros((size, 0), np.float32)


def in_float64(network):
    return [weight.numpy().astype(np.float64) for weight in network.weights]


def first_inputs(gan, one_hot):
    return np.concatenate([latent_noise((len(one_hot), LATENT_DIM), SEED, gan.latent_distribution), one_hot], axis=1)


class Judged:
    """What a linear critic makes of examples: scores, and the classifier's cross-entropy, with their slopes."""

    def __init__(self, gan, examples, one_hot):
        kernel, bias = in_float64(gan.critic)
        outputs = examples @ kernel + bias
        # Which outputs a score is the sum of: the first, with a projection that of each label, too.
        self.parts = np.concatenate([np.ones((len(examples), 1)), one_hot * (gan.conditioning == "projection")], axis=1)
        self.scores = np.sum(outputs * self.parts, axis=1)
        self.to_scores = self.parts @ kernel.T  # (batch, width): each score's gradient at the example
        pitch, family = one_hot[:, :3], one_hot[:, 3:]
        logs = np.concatenate([log_softmax(outputs[:, 1:4]), log_softmax(outputs[:, 4:])], axis=1) if one_hot.size else one_hot
        self.cross_entropy = -np.sum(np.mean(pitch * logs[:, :3], axis=0)) - np.sum(np.mean(family * logs[:, 3:], axis=0))
        self.cross_entropy_slopes = np.concatenate([np.zeros((len(examples), 1)), np.exp(logs) - one_hot], axis=1)


def classifies(gan):
    return gan.conditioning == "auxiliary" and gan.labels.width > 0


def recorded(gan):
    return {name: float(value) for name, value in gan.get_metrics_result().items()}


@with_and_without_labels
@with_every_conditioning
@with_every_gan
def test_a_critic_step_by_hand(case, conditioning, labels):
    gan_class, options, loss_name = CASES[case]
    gan = linear_gan(gan_class, labels, conditioning=conditioning, **options)
    real, one_hot = real_batch(labels)
    generator, (kernel, bias) = in_float64(gan.generator), in_float64(gan.critic)
    fake = first_inputs(gan, one_hot) @ generator[0] + generator[1]
    of_real, of_fake = Judged(gan, real, one_hot), Judged(gan, fake, one_hot)
    (real_loss, real_slope), (fake_loss, fake_slope), _ = LOSSES[loss_name]
    expected = {
        "critic_loss": np.mean(real_loss(of_real.scores)) + np.mean(fake_loss(of_fake.scores)),
        "score_gap": np.mean(of_real.scores) - np.mean(of_fake.scores),
    }
    to_real = np.reshape(real_slope(of_real.scores) + np.zeros(4), (4, 1)) * of_real.parts / 4
    to_fake = np.reshape(fake_slope(of_fake.scores) + np.zeros(4), (4, 1)) * of_fake.parts / 4
    if classifies(gan):
        expected["critic_label_loss"] = of_real.cross_entropy
        to_real += WEIGHT * of_real.cross_entropy_slopes / 4
    to_kernel, to_bias = real.T @ to_real + fake.T @ to_fake, np.sum(to_real + to_fake, axis=0)
    norms = np.linalg.norm(of_real.to_scores, axis=1)[:, None]  # a linear critic has them everywhere
    if gan_class is WGANGP:
        expected["gradient_penalty"] = np.mean((norms - 1) ** 2)
        to_kernel += 5.0 * (2 * (norms - 1) / norms * of_real.to_scores).T @ of_real.parts / 4
    if gan_class is R1GAN:
        parts = np.concatenate([np.ones((4, 1)), one_hot], axis=1)  # also a classifier's logits of the labels are held flat
        slopes = parts @ kernel.T
        expected["r1_penalty"] = 3 * np.mean(np.sum(slopes**2, axis=1))
        to_kernel += 0.3 * 3 * 2 * slopes.T @ parts / 4
    expected["critic_gradient_norm"] = np.sqrt(np.sum(to_kernel**2) + np.sum(to_bias**2))
    gan.critic_step(tf.constant(real), tf.constant(one_hot), SEED)
    for mine, hand in zip(gan.critic.weights, (kernel - RATE * to_kernel, bias - RATE * to_bias), strict=True):
        np.testing.assert_allclose(mine, hand, atol=2e-5)
    terms = recorded(gan)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    assert set(terms) == {*expected, "generator_loss", "generator_gradient_norm"} | label_terms(gan)
    for mine, before in zip(gan.generator.weights, generator, strict=True):
        np.testing.assert_array_equal(mine, before)


@with_and_without_labels
@with_every_conditioning
@with_every_gan
def test_a_generator_step_by_hand(case, conditioning, labels):
    gan_class, options, loss_name = CASES[case]
    gan = linear_gan(gan_class, labels, conditioning=conditioning, **options)
    real, one_hot = real_batch(labels)
    (kernel, bias), critic = in_float64(gan.generator), in_float64(gan.critic)
    inputs = first_inputs(gan, one_hot)
    of_fake = Judged(gan, inputs @ kernel + bias, one_hot)
    loss, slope = LOSSES[loss_name][2]
    expected = {"generator_loss": np.mean(loss(of_fake.scores))}
    to_outputs = np.reshape(slope(of_fake.scores) + np.zeros(4), (4, 1)) * of_fake.parts / 4
    if classifies(gan):
        expected["generator_label_loss"] = of_fake.cross_entropy
        to_outputs += WEIGHT * of_fake.cross_entropy_slopes / 4
    to_fake = to_outputs @ critic[0].T
    to_kernel, to_bias = inputs.T @ to_fake, np.sum(to_fake, axis=0)
    expected["generator_gradient_norm"] = np.sqrt(np.sum(to_kernel**2) + np.sum(to_bias**2))
    gan.generator_step(tf.constant(real), tf.constant(one_hot), SEED)
    for mine, hand in zip(gan.generator.weights, (kernel - RATE * to_kernel, bias - RATE * to_bias), strict=True):
        np.testing.assert_allclose(mine, hand, atol=2e-5)
    terms = recorded(gan)
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    for mine, before in zip(gan.critic.weights, critic, strict=True):
        np.testing.assert_array_equal(mine, before)


def label_terms(gan):
    return {"critic_label_loss", "generator_label_loss"} if classifies(gan) else set()


def test_fakes_have_the_labels_of_the_real_examples_beside_them(monkeypatch):
    """A generator that returns its labels, seen by the critic of two steps and by the generator's."""
    gan = linear_gan(WGANGP, n_critic=2)
    copy = np.concatenate([np.zeros((LATENT_DIM, WIDTH)), np.eye(LABELS.width, WIDTH)])
    gan.generator.set_weights([copy, np.zeros(WIDTH)])
    judge, seen = gan.judge, []
    monkeypatch.setattr(gan, "judge", lambda *asked: seen.append([each.numpy() for each in asked]) or judge(*asked))
    data = {"pitch": [60, 64, 62, 60, 60, 64], "family": [1, 1, 0, 0, 1, 1]}
    expected = LABELS.one_hot(data).numpy()
    real = np.full((6, WIDTH), 7.0, np.float32)
    gan.train_step({"x": tf.constant(real)} | {kind: tf.constant(values) for kind, values in data.items()})
    assert [len(labels) for _, labels in seen] == [6, 3, 6, 3, 3]  # real and fake, the penalty's points; the generator's
    for call, rows in ((0, slice(3)), (2, slice(3, 6))):
        examples, labels = seen[call]
        np.testing.assert_array_equal(labels, np.tile(expected[rows], (2, 1)))
        np.testing.assert_array_equal(examples[:3], real[:3])
        np.testing.assert_array_equal(examples[3:, : LABELS.width], expected[rows])
        np.testing.assert_array_equal(seen[call + 1][1], expected[rows])
    examples, labels = seen[4]
    assert np.any(examples != 0)  # the last critic step's labels; the generator has not moved yet
    np.testing.assert_array_equal(examples[:, : LABELS.width], expected[3:])
    np.testing.assert_array_equal(labels, expected[3:])


@pytest.mark.parametrize(
    ("gan_class", "conditioning"),
    [(DCGAN, "auxiliary"), (WGAN, "projection"), (WGANGP, "auxiliary"), (R1GAN, "projection")],
)
def test_every_gan_takes_a_compiled_step_of_convolutions(gan_class, conditioning):
    keras.utils.set_random_seed(1)
    generator = wave_generator(64, dim=2, latent_dim=LATENT_DIM, label_width=LABELS.width, pixel_norm=True)
    critic = wave_critic(64, dim=2, label_width=LABELS.width, minibatch_stddev=2)
    gan = gan_class(generator, critic, n_critic=2, labels=LABELS, conditioning=conditioning)
    gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    before = [in_float64(gan.generator), in_float64(gan.critic)]
    element = {"x": tf.random.stateless_uniform((8, 64, 1), (0, 1), -1.0, 1.0)}
    element |= {kind: tf.constant(2 * values) for kind, values in BATCH.items()}
    history = gan.fit(tf.data.Dataset.from_tensors(element), verbose=0).history
    names = {"critic_loss", "generator_loss", "score_gap", "critic_gradient_norm", "generator_gradient_norm"}
    names |= {WGANGP: {"gradient_penalty"}, R1GAN: {"r1_penalty"}}.get(gan_class, set())
    assert history.keys() == names | label_terms(gan)
    assert np.isfinite(list(history.values())).all()
    for network, weights in zip((gan.generator, gan.critic), before, strict=True):
        assert all(np.isfinite(weight).all() for weight in in_float64(network))
        assert any(np.any(new != old) for new, old in zip(in_float64(network), weights, strict=True))


def test_generator_and_classifier_agree_on_labels_after_training():
    """Examples are one-hot labels and noise: both label losses start near log 3 + log 2 or above, and end near none."""
    gan = linear_gan(DCGAN, seed=4)
    rng = np.random.default_rng(2)
    rows = rng.integers(0, 4, 512)
    data = {kind: values[rows] for kind, values in LABELS.columns.items()}
    x = 4 * np.pad(LABELS.one_hot(data), ((0, 0), (0, 1))) + rng.normal(0, 0.1, (512, WIDTH))
    dataset = tf.data.Dataset.from_tensor_slices({"x": x.astype(np.float32)} | data).batch(64, drop_remainder=True)
    histories = [gan.fit(dataset, epochs=epochs, verbose=0).history for epochs in (1, 25)]
    for name in label_terms(gan):
        assert histories[0][name][0] > 0.5, name
        assert histories[1][name][-1] < 0.1, name


@with_every_conditioning
def test_a_saved_gan_keeps_its_labels_and_goes_on_the_same(tmp_path, weights_of, conditioning):
    labels = Labels(LABELS.columns, counts=[3, 1, 2, 1], names={"family": ["bass", "flute"]})
    gan = linear_gan(WGANGP, labels, conditioning=conditioning, n_critic=2, ema_decay=0.9)
    element = {"x": tf.constant(np.tile(real_batch(labels)[0], (2, 1)))}
    element |= {kind: tf.constant(2 * values) for kind, values in BATCH.items()}
    gan.train_step(element)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert loaded.labels.get_config() == labels.get_config()
    assert (loaded.conditioning, loaded.auxiliary_weight, loaded.latent_dim) == (conditioning, WEIGHT, LATENT_DIM)
    assert loaded.labels.kinds == ("pitch", "family")
    terms = [recorded_after(each, element) for each in (gan, loaded)]
    assert terms[0] == terms[1]
    for mine, expected in zip(weights_of(loaded), weights_of(gan), strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_a_configuration_from_before_there_were_labels():
    config = linear_gan(labels=Labels()).get_config()
    for name in ("labels", "conditioning", "auxiliary_weight", "loss"):
        del config[name]
    gan = DCGAN.from_config(config)
    assert (gan.labels.width, gan.latent_dim) == (0, LATENT_DIM)


def recorded_after(gan, element):
    for metric in gan.metrics:
        metric.reset_state()
    gan.train_step(element)
    return recorded(gan)


def test_critic_steps_alone_are_those_of_iterations():
    """Without the generator's, the numbers of the iterations included: the lazy penalty is taken in the first and the third."""
    alone, by_hand = (linear_gan(R1GAN, n_critic=2, r1_gamma=0.5, r1_interval=2, seed=3) for _ in range(2))
    generator = in_float64(alone.generator)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, 8, WIDTH)).astype(np.float32)
    data = {kind: np.tile(values, (3, 2)).astype(np.int32) for kind, values in BATCH.items()}
    alone.train_critic(tf.data.Dataset.from_tensor_slices({"x": x} | data))
    one_hot = LABELS.one_hot(BATCH)
    for number in range(3):
        by_hand.step.assign(number)
        for i in range(2):
            by_hand.critic_step(tf.constant(x[number, 4 * i : 4 * i + 4]), one_hot, folded_seed(3, number, i))
    for mine, expected in zip(alone.critic.weights, by_hand.critic.weights, strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-5)
    for mine, before in zip(alone.generator.weights, generator, strict=True):
        np.testing.assert_array_equal(mine, before)
    assert int(alone.step) == int(alone.generator_optimizer.iterations) == 0
    assert set(recorded(alone).values()) == {0.0}


def test_settings_must_be_among_the_choices():
    with pytest.raises(ValueError, match="Unknown conditioning `both`. Valid: auxiliary, projection."):
        linear_gan(conditioning="both")
    for gan_class in (DCGAN, R1GAN):
        with pytest.raises(ValueError, match="Unknown loss `l2`. Valid: hinge, least_squares, logistic."):
            linear_gan(gan_class, loss="l2")


@with_and_without_labels
@with_every_gan
def test_a_loss_is_the_sum_of_its_terms(case, labels):
    gan_class, options, _ = CASES[case]
    gan = linear_gan(gan_class, labels, **options)
    real, one_hot = real_batch(labels)
    of_critic = gan.compute_critic_loss(tf.constant(real), tf.zeros((4, WIDTH)), tf.constant(one_hot), SEED)
    of_generator = gan.compute_generator_loss(tf.constant(real), tf.constant(one_hot))
    weights = {"critic_loss": 1.0, "generator_loss": 1.0, "gradient_penalty": 5.0, "r1_penalty": 0.3}
    weights |= dict.fromkeys(label_terms(gan), WEIGHT)
    for terms in (of_critic, of_generator):
        total = sum(weights[name] * terms[name] for name in weights if name in terms)
        np.testing.assert_allclose(terms["total"], total, rtol=1e-6)
    penalties = {WGANGP: {"gradient_penalty"}, R1GAN: {"r1_penalty"}}.get(gan_class, set())
    assert set(of_critic) == {"total", "critic_loss", "score_gap"} | penalties | (label_terms(gan) - {"generator_label_loss"})
    assert set(of_generator) == {"total", "generator_loss"} | (label_terms(gan) - {"critic_label_loss"})


@with_every_gan
def test_a_critic_may_return_the_score_alone_where_there_are_no_labels(case):
    gan_class, options, _ = CASES[case]
    named = linear_gan(gan_class, Labels(), **options)
    alone = gan_class(linear_generator(0), keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(1)]), **options)
    alone.compile(keras.optimizers.SGD(RATE), keras.optimizers.SGD(RATE))
    for mine, other in ((alone.generator, named.generator), (alone.critic, named.critic)):
        mine.set_weights(other.get_weights())
    real = tf.tile(real_batch(LABELS)[0], (named.n_critic, 1))
    terms = [{name: float(value) for name, value in gan.train_step(real).items()} for gan in (alone, named)]
    assert terms[0] == terms[1]
    for mine, other in zip(alone.critic.weights, named.critic.weights, strict=True):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


@with_and_without_labels
def test_the_nearest_of_four_fakes_is_drawn_to_its_real_example_by_hand(labels):
    """Of a critic that says nothing, the reconstruction alone moves the generator."""
    weight = 3.0
    gan = linear_gan(labels=labels, reconstruction_weight=weight)
    for variable in gan.critic.weights:
        variable.assign(tf.zeros_like(variable))
    real, one_hot = real_batch(labels)
    kernel, bias = in_float64(gan.generator)
    latents = latent_noise((16, LATENT_DIM), SEED, gan.latent_distribution).numpy().reshape(4, 4, LATENT_DIM).astype(np.float64)
    inputs = np.concatenate([latents, np.repeat(one_hot[:, np.newaxis], 4, axis=1)], axis=2)
    distances = np.sum(np.square(inputs @ kernel + bias - real[:, np.newaxis]), axis=2)
    inputs = inputs[np.arange(4), distances.argmin(axis=1)]
    assert len(set(distances.argmin(axis=1))) > 1
    difference = inputs @ kernel + bias - real
    slopes = weight * 2.0 * difference / difference.size
    gan.generator_step(tf.constant(real), tf.constant(one_hot), SEED)
    moved = kernel - RATE * inputs.T @ slopes, bias - RATE * slopes.sum(axis=0)
    for mine, hand in zip(gan.generator.weights, moved, strict=True):
        np.testing.assert_allclose(mine, hand, atol=1e-5)
    assert recorded(gan)["reconstruction_loss"] == pytest.approx(np.mean(np.square(difference)), rel=1e-5)
