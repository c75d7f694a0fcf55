import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.gans import WGAN, WGANGP, WeightClip
from kgan.noise import folded_seed


def largest_weight(gan):
    return max(np.abs(w.numpy()).max() for w in gan.critic.trainable_variables)


def test_every_critic_weight_stays_in_the_box_and_the_generator_s_do_not(make_gan):
    gan = make_gan(WGAN, optimizer=lambda: keras.optimizers.RMSprop(5e-3), ema_decay=0.9)
    assert largest_weight(gan) > 0.01
    for _ in range(3):
        gan.train_step(tf.random.uniform((10, 1024, 1), -1, 1))
        assert largest_weight(gan) == np.float32(0.01)
    assert max(np.abs(w.numpy()).max() for w in gan.generator.trainable_variables) > 0.02


def test_the_box_is_kept_under_loss_scaling(make_gan):
    gan = make_gan(WGAN, optimizer=lambda: keras.optimizers.RMSprop(5e-3), dtype="mixed_float16")
    gan.train_step(tf.random.uniform((10, 1024, 1), -1, 1))
    assert largest_weight(gan) == np.float32(0.01)


def test_weight_clip_by_hand():
    np.testing.assert_array_equal(WeightClip(0.5)(tf.constant([-2.0, -0.5, 0.1, 0.7])), np.float32([-0.5, -0.5, 0.1, 0.5]))
    assert WeightClip.from_config(WeightClip(0.5).get_config()).limit == 0.5
    with pytest.raises(ValueError, match="Received: limit=0"):
        WeightClip(0)


def test_a_critic_step_is_the_optimizer_s_and_then_the_clipped_values_by_hand(make_gan):
    """Of SGD: what the step would be without clipping, clipped."""
    gan, free = (make_gan(WGAN, optimizer=lambda: keras.optimizers.SGD(0.1), clip_value=clip) for clip in (0.02, 1e9))
    for each in (gan, free):
        each.critic_step(tf.random.stateless_uniform((3, 1024, 1), (0, 1), -1.0, 1.0), tf.zeros((3, 0)), folded_seed(0, 1))
    for mine, unclipped in zip(gan.critic.trainable_variables, free.critic.trainable_variables, strict=True):
        np.testing.assert_array_equal(mine.numpy(), np.clip(unclipped.numpy(), -0.02, 0.02))


def test_a_critic_is_clipped_by_this_gan_alone(make_gan):
    gan = make_gan(WGAN)
    before = [weight.numpy() for weight in gan.critic.weights]
    assert {variable.constraint for variable in gan.critic.trainable_variables} == {None}
    assert largest_weight(gan) > 0.1
    gan.train_step(tf.random.stateless_uniform((10, 1024, 1), (0, 1), -1.0, 1.0))
    assert largest_weight(gan) == np.float32(0.01)
    gan.critic.set_weights(before)
    next_gan = WGANGP(gan.generator, gan.critic)
    for mine, old in zip(next_gan.critic.weights, before, strict=True):
        np.testing.assert_array_equal(mine.numpy(), old)
    next_gan.compile(keras.optimizers.Adam(1e-3), keras.optimizers.Adam(1e-3))
    next_gan.train_step(tf.random.stateless_uniform((10, 1024, 1), (0, 1), -1.0, 1.0))
    assert largest_weight(next_gan) > 0.1
