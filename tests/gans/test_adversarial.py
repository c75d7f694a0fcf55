"""What every GAN has from `AdversarialModel`, tried on the three of them."""

import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.data.pipeline import training_dataset
from kgan.gans import DCGAN, R1GAN, WGAN, WGANGP
from kgan.networks import wave_critic, wave_generator
from kgan.noise import folded_seed
from kgan.representations import Wave

GANS = [DCGAN, WGAN, WGANGP, R1GAN]


def sgd():
    return keras.optimizers.SGD(0.1)


def batch_of(gan, size=3, seed=0):
    return tf.random.stateless_uniform((gan.n_critic * size, 1024, 1), (seed, 1), -1.0, 1.0)


def values(network):
    return [w.numpy() for w in network.trainable_variables]


def flat(network):
    return np.concatenate([w.ravel() for w in values(network)])


def moved(before, network):
    return [not np.array_equal(old, new) for old, new in zip(before, values(network), strict=True)]


@pytest.mark.parametrize("gan_class", GANS)
def test_each_phase_moves_its_own_network_alone(make_gan, gan_class):
    gan = make_gan(gan_class, optimizer=sgd)
    generator, critic = values(gan.generator), values(gan.critic)
    gan.critic_step(batch_of(gan)[:3], tf.zeros((3, 0)), folded_seed(0, 1))
    assert not any(moved(generator, gan.generator))
    assert moved(critic, gan.critic)[:-1] == [True] * (len(critic) - 1)
    critic = values(gan.critic)
    gan.generator_step(batch_of(gan)[:3], tf.zeros((3, 0)), folded_seed(0, 2))
    assert all(moved(generator, gan.generator))
    assert not any(moved(critic, gan.critic))


@pytest.mark.parametrize("gan_class", GANS)
def test_an_iteration_is_n_critic_steps_on_their_own_examples_then_one_of_the_generator(make_gan, gan_class):
    """`train_step` against the two phases called by hand."""
    whole, by_hand = (make_gan(gan_class, optimizer=sgd, n_critic=3, seed=5) for _ in range(2))
    examples = batch_of(whole)
    whole.train_step({"x": examples})
    for i in range(3):
        by_hand.critic_step(examples[3 * i : 3 * i + 3], tf.zeros((3, 0)), folded_seed(5, 0, i))
    by_hand.generator_step(examples[6:], tf.zeros((3, 0)), folded_seed(5, 0, 3))
    for network in ("generator", "critic"):
        for mine, expected in zip(values(getattr(whole, network)), values(getattr(by_hand, network)), strict=True):
            np.testing.assert_allclose(mine, expected, atol=1e-7)
    assert int(whole.step) == 1
    assert int(whole.critic_optimizer.iterations) == 3
    assert int(whole.generator_optimizer.iterations) == 1


def test_generator_step_follows_its_gradient(make_gan):
    """One SGD step by hand, from the definition of the loss."""
    gan = make_gan(WGANGP, optimizer=sgd)
    seed = folded_seed(0, 7)
    latents = tf.random.stateless_normal((4, 8), seed)
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(gan.critic(gan.generator(latents))["score"])
    gradients = tape.gradient(loss, gan.generator.trainable_variables)
    expected = [w - 0.1 * g.numpy() for w, g in zip(values(gan.generator), gradients, strict=True)]
    gan.generator_step(batch_of(gan, 4)[:4], tf.zeros((4, 0)), seed)
    for mine, hand in zip(values(gan.generator), expected, strict=True):
        np.testing.assert_allclose(mine, hand, atol=1e-7)
    result = gan.get_metrics_result()
    np.testing.assert_allclose(result["generator_loss"], loss, rtol=1e-5)
    norm = np.sqrt(sum(np.sum(g.numpy() ** 2) for g in gradients))
    np.testing.assert_allclose(result["generator_gradient_norm"], norm, rtol=1e-5)


@pytest.mark.parametrize("gan_class", GANS)
def test_metrics_have_their_names_and_meaning(make_gan, gan_class):
    gan = make_gan(gan_class, n_critic=2)
    result = gan.train_step({"x": batch_of(gan)})
    names = {"critic_loss", "generator_loss", "score_gap", "critic_gradient_norm", "generator_gradient_norm"}
    assert result.keys() == names | {WGANGP: {"gradient_penalty"}, R1GAN: {"r1_penalty"}}.get(gan_class, set())
    assert {metric.name for metric in gan.metrics} == result.keys()
    if gan_class in (WGAN, WGANGP):
        np.testing.assert_allclose(result["critic_loss"], -result["score_gap"], rtol=1e-5)


def test_labels_beside_x_and_bare_tensors_are_accepted(make_gan):
    gan, other = make_gan(), make_gan()
    examples = batch_of(gan)
    first = gan.train_step({"x": examples, "pitch": tf.zeros((15,), tf.int32)})
    second = other.train_step(examples)
    assert {k: float(v) for k, v in first.items()} == {k: float(v) for k, v in second.items()}


def test_noise_differs_between_steps_and_phases_and_repeats_with_the_seed(make_gan):
    gan = make_gan()
    seen = {tuple(gan.latents(1, folded_seed(0, step, i)).numpy().ravel()) for step in range(4) for i in range(6)}
    assert len(seen) == 24


def test_running_average_warms_up_by_hand(make_gan):
    gan = make_gan(DCGAN, optimizer=sgd, ema_decay=0.3)
    average = values_of_weights(gan.generator)
    for step in range(6):
        gan.train_step(batch_of(gan, seed=step))
        decay = min(0.3, (1 + step) / (10 + step))
        weights = values_of_weights(gan.generator)
        average = [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
        for mine, hand in zip(values_of_weights(gan.ema_generator), average, strict=True):
            np.testing.assert_allclose(mine, hand, atol=1e-6)
    assert gan.best_generator is gan.ema_generator
    assert make_gan(DCGAN).best_generator is not None


def values_of_weights(network):
    return [w.numpy() for w in network.weights]


@pytest.mark.parametrize("gan_class", [R1GAN, *(pytest.param(each, marks=pytest.mark.long) for each in (DCGAN, WGAN, WGANGP))])
def test_keras_file_keeps_everything_and_training_goes_on_the_same(make_gan, tiny_sounds, tmp_path, weights_of, gan_class):
    options = {"batch_size": 4, "seed": 1}
    gan = make_gan(gan_class, n_critic=2, ema_decay=0.9, seed=2, phase_shuffle=1)
    dataset = training_dataset(tiny_sounds, Wave(), n_critic=gan.n_critic, **options)
    gan.fit(dataset, steps_per_epoch=3, verbose=0)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.models.load_model(tmp_path / "gan.keras")
    assert type(loaded) is gan_class
    scalars = {name for name, value in gan.get_config().items() if not isinstance(value, dict)}
    assert scalars >= {"n_critic", "latent_distribution", "ema_decay", "seed"}
    assert {name: loaded.get_config()[name] for name in scalars} == {name: gan.get_config()[name] for name in scalars}
    for mine, expected in zip(weights_of(loaded), weights_of(gan), strict=True):
        np.testing.assert_array_equal(mine, expected)
    later = training_dataset(tiny_sounds, Wave(), n_critic=gan.n_critic, start_step=3, **options)
    for model in (gan, loaded):
        model.fit(later, steps_per_epoch=2, verbose=0)
    for mine, expected in zip(weights_of(loaded), weights_of(gan), strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_keras_file_loads_in_a_new_process_with_one_import(make_gan, tmp_path):
    gan = make_gan(DCGAN)
    gan.save(tmp_path / "gan.keras")
    code = "import keras, kgan.gans, sys; print(float(keras.models.load_model(sys.argv[1]).count_params()))"
    shown = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "gan.keras")], capture_output=True, text=True, check=True
    )
    assert float(shown.stdout) == gan.count_params()


def test_weights_file_keeps_optimizers_average_and_step(make_gan, tmp_path, weights_of):
    gan = make_gan(ema_decay=0.9)
    gan.train_step(batch_of(gan))
    gan.save_weights(tmp_path / "gan.weights.h5")
    fresh = make_gan(ema_decay=0.9)
    assert int(fresh.step) == 0
    fresh.load_weights(tmp_path / "gan.weights.h5")
    assert int(fresh.step) == 1
    assert len(weights_of(gan)) > 60
    for mine, expected in zip(weights_of(fresh), weights_of(gan), strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("gan_class", GANS)
def test_mixed_precision_follows_float32(make_gan, gan_class, dtype):
    def small_steps():
        return keras.optimizers.SGD(1e-3)

    full, mixed = make_gan(gan_class, optimizer=small_steps), make_gan(gan_class, optimizer=small_steps, dtype=dtype)
    scaled = [isinstance(o, keras.optimizers.LossScaleOptimizer) for o in (mixed.generator_optimizer, mixed.critic_optimizer)]
    assert scaled == [dtype == "mixed_float16"] * 2
    assert all(w.dtype == "float32" for w in mixed.generator.weights + mixed.critic.weights)
    before = flat(full.critic)
    results = [gan.train_step(batch_of(gan)) for gan in (full, mixed)]
    for name in results[0]:
        np.testing.assert_allclose(results[1][name], results[0][name], rtol=0.05, atol=0.02, err_msg=name)
    expected, moved_by = flat(full.critic) - before, flat(mixed.critic) - before
    assert np.linalg.norm(expected) > 0
    assert np.linalg.norm(moved_by - expected) < 0.1 * np.linalg.norm(expected)


def test_an_overflow_in_float16_skips_the_step_and_halves_the_scale(make_gan):
    gan = make_gan(dtype="mixed_float16", n_critic=1)
    before = values(gan.critic)
    gan.train_step(batch_of(gan) * 1e6)
    assert not any(moved(before, gan.critic))
    assert float(gan.critic_optimizer.dynamic_scale) == 2.0**14
    assert np.isfinite(float(gan.get_metrics_result()["critic_gradient_norm"]))


def test_fit_in_a_compiled_graph_equals_eager_steps(make_gan, tiny_sounds, weights_of):
    compiled, eager = make_gan(optimizer=sgd), make_gan(optimizer=sgd)
    dataset = training_dataset(tiny_sounds, Wave(), batch_size=4, n_critic=5)
    compiled.fit(dataset, steps_per_epoch=3, verbose=0)
    for element in dataset.take(3):
        eager.train_step(element)
    for mine, expected in zip(weights_of(compiled), weights_of(eager), strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-5)


@pytest.mark.long
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_xla_compiles_the_step_that_a_gpu_runs(make_gan, dtype):
    """XLA draws other noise from the same seed, so the terms of one step are compared within a margin."""

    def small_steps():
        return keras.optimizers.SGD(1e-4)

    plain, compiled = (make_gan(optimizer=small_steps, n_critic=2, ema_decay=0.9, dtype=dtype) for _ in range(2))
    compiled.compile(small_steps(), small_steps(), jit_compile=True)
    examples = tf.data.Dataset.from_tensors(batch_of(plain, size=16))
    results = [gan.fit(examples, epochs=1, verbose=0).history for gan in (plain, compiled)]
    for name in results[0]:
        np.testing.assert_allclose(results[1][name], results[0][name], rtol=0.1, atol=0.02, err_msg=name)


@pytest.mark.long
@pytest.mark.parametrize("per", ["example", "batch"])
def test_xla_compiles_phase_shuffle_under_the_penalty(per):
    generator = wave_generator(1024, dim=2, latent_dim=4)
    gan = WGANGP(generator, wave_critic(1024, dim=2, phase_shuffle=2, phase_shuffle_per=per), n_critic=1)
    gan.compile(keras.optimizers.SGD(1e-4), keras.optimizers.SGD(1e-4), jit_compile=True)
    history = gan.fit(tf.data.Dataset.from_tensors(batch_of(gan)), verbose=0).history
    assert 0 < history["gradient_penalty"][0] < 1.1


def regularized(network_name):
    """Return a network of a dense layer for 4 numbers, whose kernel and outputs are regularized."""
    inputs = keras.Input((4,))
    options = {"kernel_regularizer": keras.regularizers.L2(0.3), "activity_regularizer": keras.regularizers.L1(0.2)}
    outputs = keras.layers.Dense(4 if network_name == "generator" else 1, **options)(inputs)
    return keras.Model(inputs, outputs, name=network_name)


@pytest.mark.parametrize("gan_class", GANS)
def test_regularizers_of_layers_are_in_the_loss_of_their_network(gan_class):
    gan = gan_class(regularized("generator"), regularized("critic"))
    gan.compile(sgd(), sgd())
    labels, seed = tf.zeros((5, 0)), folded_seed(0, 1)
    real = tf.random.stateless_normal((5, 4), (0, 1))

    def added(network, inputs):
        network(inputs)
        assert len(network.losses) == 2
        return sum(network.losses)

    fake = gan.fake(labels, seed)
    terms = gan.compute_generator_loss(fake, labels)
    latents = gan.latents(5, seed)
    np.testing.assert_allclose(terms["total"] - terms["generator_loss"], added(gan.generator, latents), rtol=1e-4)
    terms = gan.compute_critic_loss(real, fake, labels, seed)
    penalties = gan.get_config().get("gradient_penalty_weight", 0.0) * terms.get("gradient_penalty", 0.0)
    penalties += gan.get_config().get("r1_gamma", 0.0) / 2.0 * terms.get("r1_penalty", 0.0)
    expected = added(gan.critic, tf.concat([real, fake], axis=0)) + penalties
    np.testing.assert_allclose(terms["total"] - terms["critic_loss"], expected, rtol=1e-4)
    before = values(gan.critic)
    gan.fit(tf.random.stateless_normal((gan.n_critic * 5, 4), (0, 2)), batch_size=gan.n_critic * 5, epochs=2, verbose=0)
    assert all(moved(before, gan.critic))
