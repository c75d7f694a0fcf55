import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.gans import WGAN, WeightClip


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
