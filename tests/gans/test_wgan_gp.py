import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.gans.losses import gradient_penalty
from kgan.noise import folded_seed


def test_critic_step_lowers_the_published_loss_by_hand(make_gan):
    """Algorithm 1: D(fake) - D(real) + lambda (||grad|| - 1)^2, with one uniform coefficient per example."""
    gan = make_gan(optimizer=lambda: keras.optimizers.SGD(0.1), gradient_penalty_weight=7.0)
    real = tf.random.stateless_uniform((4, 1024, 1), (0, 1), -1.0, 1.0)
    seed = folded_seed(0, 9)

    def scores(examples):
        return gan.critic(examples)["score"]

    fake = gan.generator(tf.random.stateless_normal((4, 8), seed))
    mix = tf.random.stateless_uniform((4,), tf.random.experimental.stateless_fold_in(seed, 1))
    with tf.GradientTape() as tape:
        penalty = gradient_penalty(scores, real, fake, mix)
        loss = tf.reduce_mean(scores(fake)) - tf.reduce_mean(scores(real)) + 7.0 * penalty
    gradients = tape.gradient(loss, gan.critic.trainable_variables)
    expected = [w.numpy() - 0.1 * g.numpy() for w, g in zip(gan.critic.trainable_variables[:-1], gradients, strict=False)]
    gan.critic_step(real, tf.zeros((len(real), 0)), seed)
    for mine, hand in zip(gan.critic.trainable_variables[:-1], expected, strict=True):
        np.testing.assert_allclose(mine, hand, atol=1e-6)
    np.testing.assert_allclose(gan.get_metrics_result()["gradient_penalty"], penalty, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_the_penalty_is_computed_in_float32_under_any_policy(make_gan, dtype):
    """Slopes of 1e-5, whose squares are zero in float16, and as many waves as tell it from the rounding of the networks."""
    real, fake = (tf.random.stateless_uniform((16, 1024, 1), (0, i), -1.0, 1.0) for i in range(2))
    penalties = []
    for gan in (make_gan(), make_gan(dtype=dtype)):
        dense = next(layer for layer in gan.critic.layers if isinstance(layer, keras.layers.Dense))
        dense.kernel.assign(dense.kernel * 1e-4)
        penalty = gan.compute_critic_loss(real, fake, tf.zeros((16, 0)), folded_seed(0, 1))["gradient_penalty"]
        assert penalty.dtype == tf.float32
        penalties.append(1.0 - float(penalty))  # about twice the slope
    assert 0 < penalties[0] < 1e-2
    assert penalties[1] == pytest.approx(penalties[0], rel=0.05)


def test_mixing_coefficients_are_uniform_and_one_per_example(make_gan):
    gan = make_gan(length=64)
    seen = []

    def judge(examples, labels):
        return seen.append(examples) or (tf.reduce_sum(examples, axis=(1, 2))[:, None], None)

    gan.judge = judge
    gan.compute_critic_loss(tf.zeros((2000, 64, 1)), tf.ones((2000, 64, 1)), tf.zeros((2000, 0)), folded_seed(0, 1))
    mix = seen[1].numpy()[..., 0]  # after real and fake examples
    assert (mix[:, 0] == mix[:, 1]).all()
    assert 0 <= mix.min() < 0.01
    assert 0.99 < mix.max() <= 1
    assert abs(mix.mean() - 0.5) < 0.03
    assert abs(mix.std() - 1 / np.sqrt(12)) < 0.01
