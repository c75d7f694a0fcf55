import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.gans import R1GAN
from kgan.gans.losses import r1_penalty
from kgan.noise import folded_seed

REAL = tf.random.stateless_uniform((4, 1024, 1), (0, 1), -1.0, 1.0)


def sgd():
    return keras.optimizers.SGD(0.1)


def test_penalty_of_a_linear_critic_is_its_closed_form(rng):
    """The gradient of <w, x> is w everywhere."""
    weights = rng.normal(size=(64, 2)).astype(np.float32)
    penalty = r1_penalty(lambda x: tf.reduce_sum(x * weights, axis=(1, 2)), tf.zeros((5, 64, 2)))
    np.testing.assert_allclose(penalty, np.sum(weights**2), rtol=1e-5)


def test_penalty_is_taken_at_real_examples(rng):
    """For D(x) = ||x||^2 / 2 the gradient at x is x."""
    real = rng.normal(size=(4, 32, 1)).astype(np.float32)
    penalty = r1_penalty(lambda x: tf.reduce_sum(x**2, axis=(1, 2)) / 2, tf.constant(real))
    np.testing.assert_allclose(penalty, np.mean(np.sum(real**2, axis=(1, 2))), rtol=1e-5)


@pytest.mark.parametrize(("step", "strength"), [(0, 3), (1, 0), (2, 0), (3, 3)])
def test_critic_step_lowers_the_published_loss_by_hand_now_and_then(make_gan, step, strength):
    """Softplus of minus real and of fake scores, and gamma / 2 times the squared slope, threefold in every third iteration."""
    gan = make_gan(R1GAN, optimizer=sgd, r1_gamma=5.0, r1_interval=3)
    gan.step.assign(step)
    seed = folded_seed(0, 9)

    def scores(examples):
        return gan.critic(examples)["score"]

    fake = gan.generator(tf.random.stateless_normal((4, 8), seed))
    with tf.GradientTape() as tape:
        penalty = r1_penalty(scores, REAL)
        loss = tf.reduce_mean(tf.math.softplus(-scores(REAL))) + tf.reduce_mean(tf.math.softplus(scores(fake)))
        loss += strength * 2.5 * penalty
    gradients = tape.gradient(loss, gan.critic.trainable_variables)
    expected = [w.numpy() - 0.1 * g.numpy() for w, g in zip(gan.critic.trainable_variables, gradients, strict=True)]
    gan.critic_step(REAL, tf.zeros((len(REAL), 0)), seed)
    for mine, hand in zip(gan.critic.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(mine, hand, atol=1e-6)
    np.testing.assert_allclose(gan.get_metrics_result()["r1_penalty"], strength * penalty, rtol=1e-4)


def test_the_compiled_step_is_the_eager_one(make_gan):
    weights = []
    for eagerly in (True, False):
        gan = make_gan(R1GAN, r1_gamma=50.0, r1_interval=2)
        gan.run_eagerly = eagerly
        gan.fit(tf.data.Dataset.from_tensors(REAL).repeat(3), verbose=0)
        weights.append([weight.numpy() for weight in gan.critic.trainable_variables])
    for eager, compiled in zip(*weights, strict=True):
        np.testing.assert_allclose(compiled, eager, atol=1e-5)
