import numpy as np
import pytest
import tensorflow as tf

from kgan.gans.losses import (
    gradient_penalty,
    hinge_critic_loss,
    least_squares_critic_loss,
    least_squares_generator_loss,
    logistic_critic_loss,
    logistic_generator_loss,
    wasserstein_critic_loss,
    wasserstein_generator_loss,
)

REAL = tf.constant([[1.0], [2.0]])
FAKE = tf.constant([[0.0], [-4.0]])


def log_sigmoid(x):
    return -np.log1p(np.exp(-x))


def test_wasserstein_by_hand():
    assert wasserstein_critic_loss(REAL, FAKE) == -2.0 - 1.5
    assert wasserstein_generator_loss(FAKE) == 2.0


def test_logistic_by_hand():
    real = -(log_sigmoid(1) + log_sigmoid(2)) / 2
    fake = -(log_sigmoid(0) + log_sigmoid(4)) / 2  # 1 - s(x) = s(-x)
    np.testing.assert_allclose(logistic_critic_loss(REAL, FAKE), real + fake, rtol=1e-6)
    np.testing.assert_allclose(logistic_generator_loss(FAKE), -(log_sigmoid(0) + log_sigmoid(-4)) / 2, rtol=1e-6)


def test_hinge_by_hand_and_flat_beyond_the_margin():
    real, fake = tf.constant([[0.25], [-1.0], [3.0]]), tf.constant([[-0.5], [2.0], [-4.0]])
    with tf.GradientTape() as tape:
        tape.watch([real, fake])
        loss = hinge_critic_loss(real, fake)
    np.testing.assert_allclose(loss, (0.75 + 2 + 0) / 3 + (0.5 + 3 + 0) / 3, rtol=1e-6)
    slopes = tape.gradient(loss, [real, fake])
    np.testing.assert_allclose(slopes[0], np.array([[-1], [-1], [0]]) / 3, rtol=1e-6)
    np.testing.assert_allclose(slopes[1], np.array([[1], [1], [0]]) / 3, rtol=1e-6)


def test_least_squares_by_hand():
    np.testing.assert_allclose(least_squares_critic_loss(REAL, FAKE), (0 + 1) / 2 + (0 + 16) / 2, rtol=1e-6)
    np.testing.assert_allclose(least_squares_generator_loss(FAKE), (1 + 25) / 2 / 2, rtol=1e-6)
    assert least_squares_critic_loss(tf.ones((3, 1)), tf.zeros((3, 1))) == 0
    assert least_squares_generator_loss(tf.ones((3, 1))) == 0


def test_logistic_is_log_2_of_each_for_a_critic_that_cannot_tell():
    zeros = tf.zeros((3, 1))
    np.testing.assert_allclose(logistic_critic_loss(zeros, zeros), 2 * np.log(2), rtol=1e-6)


def test_logistic_does_not_overflow():
    assert logistic_critic_loss(tf.constant([[-1e4]]), tf.constant([[1e4]])) == 2e4


@pytest.mark.parametrize("norm", [0.0, 0.5, 1.0, 3.0])
def test_penalty_of_a_linear_critic_is_its_closed_form(norm, rng):
    """The gradient of <w, x> is w everywhere: the penalty is (||w|| - 1)^2."""
    weights = rng.normal(size=(64, 2)).astype(np.float32)
    weights *= norm / np.linalg.norm(weights)
    real, fake = (tf.constant(rng.normal(size=(5, 64, 2)), tf.float32) for _ in range(2))
    penalty = gradient_penalty(lambda x: tf.reduce_sum(x * weights, axis=(1, 2)), real, fake, tf.random.uniform((5,)))
    np.testing.assert_allclose(penalty, (norm - 1) ** 2, atol=3e-6)


def test_penalty_is_taken_between_real_and_fake(rng):
    """For D(x) = ||x||^2 / 2 the gradient at x is x, so the penalty tells where it was taken."""
    real, fake = (tf.constant(rng.normal(size=(4, 32, 1)), tf.float32) for _ in range(2))
    mix = np.array([0.0, 0.25, 0.5, 1.0], np.float32)
    penalty = gradient_penalty(lambda x: tf.reduce_sum(x**2, axis=(1, 2)) / 2, real, fake, tf.constant(mix))
    points = real + mix[:, None, None] * (fake - real)
    expected = np.mean((np.linalg.norm(np.reshape(points, (4, -1)), axis=1) - 1) ** 2)
    np.testing.assert_allclose(penalty, expected, rtol=1e-5)


def test_penalty_of_a_flat_critic_has_a_finite_gradient():
    weight = tf.Variable(0.0)
    x = tf.ones((2, 8, 1))
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(lambda x: weight * tf.reduce_sum(x, axis=(1, 2)), x, 2 * x, tf.ones((2,)))
    assert float(penalty) == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(tape.gradient(penalty, weight))
