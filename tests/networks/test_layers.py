import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.gans.losses import gradient_penalty
from kgan.networks import wave_critic
from kgan.networks.layers import LeakyReLU, MinibatchStddev, PixelNorm


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_the_penalty_and_its_gradients_are_those_of_keras_s_layer(rng, monkeypatch, dtype):
    real, fake = (tf.constant(rng.uniform(-1, 1, (3, 1024, 1)), tf.float32) for _ in range(2))
    mix = tf.constant([0.2, 0.5, 0.9])

    def penalty_and_gradients():
        keras.utils.set_random_seed(2)
        critic = wave_critic(1024, dim=4)
        with tf.GradientTape() as tape:
            penalty = gradient_penalty(lambda x: critic(x, training=True)["score"], real, fake, mix)
        return penalty, tape.gradient(penalty, critic.trainable_variables)

    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        mine = penalty_and_gradients()
        monkeypatch.setattr(LeakyReLU, "call", keras.layers.LeakyReLU.call)
        keras_s = penalty_and_gradients()
    finally:
        keras.config.set_dtype_policy(previous)
    np.testing.assert_array_equal(mine[0], keras_s[0])
    for gradient, expected in zip(mine[1], keras_s[1], strict=True):
        if gradient is None:  # nothing arrives, where Keras's layer sends zeros
            assert expected is None or not np.any(expected)
        else:
            np.testing.assert_array_equal(gradient, expected)


def test_nothing_goes_back_through_the_forward_pass_at_the_penalty_s_points():
    """Of the three convolutions: forward, the gradient, and each of its two inputs' gradients in turn.

    Those of the kernels of the two with few positions are one product for each of seven taps.
    """
    critic = wave_critic(1024, dim=4)

    @tf.function
    def step(real, fake, mix):
        with tf.GradientTape() as tape:
            penalty = gradient_penalty(lambda x: critic(x, training=True)["score"], real, fake, mix)
        return tape.gradient(penalty, critic.trainable_variables)

    wave = tf.TensorSpec((2, 1024, 1))
    graph = step.get_concrete_function(wave, wave, tf.TensorSpec((2,))).graph
    used = [output.op.name for output in graph.outputs]
    live = tf.compat.v1.graph_util.extract_sub_graph(graph.as_graph_def(), used)
    count = collections.Counter(node.op for node in live.node)
    assert (count["Conv2D"], count["Conv2DBackpropInput"], count["Conv2DBackpropFilter"]) == (6, 3, 1)
    products = [node for node in live.node if node.op == "MatMul" and node.attr["transpose_a"].b]
    assert len(products) == 2 * 7 + 1  # and the dense layer's


def test_the_exported_graph_has_the_plain_operation(rng):
    x = rng.normal(0, 1, (2, 8)).astype(np.float32)
    layer = LeakyReLU(negative_slope=0.2)
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))
    graph = tf.function(lambda x: layer(x, training=False)).get_concrete_function(tf.TensorSpec((2, 8))).graph
    assert {node.op for node in graph.as_graph_def().node} <= {"Placeholder", "LeakyRelu", "Identity"}


def test_pixel_norm_gives_each_position_a_mean_square_of_1(rng):
    x = (10.0 ** rng.uniform(0, 3, (2, 5, 3, 1)) * rng.normal(size=(2, 5, 3, 8))).astype(np.float32)
    y = PixelNorm()(x).numpy()
    np.testing.assert_allclose(np.mean(np.square(y), axis=-1), 1.0, rtol=1e-3)
    np.testing.assert_allclose(y, x / np.sqrt(np.mean(np.square(x), axis=-1, keepdims=True)), rtol=1e-3)
    assert not np.any(PixelNorm()(tf.zeros((1, 4, 8))))


def stddevs(x, group_size):
    """Return the channel that the layer appends, the rest being its input."""
    y = MinibatchStddev(group_size)(tf.constant(x)).numpy()
    np.testing.assert_array_equal(y[..., :-1], x)
    return y[..., -1]


def test_minibatch_stddev_by_hand():
    """Of two groups of two examples, two positions, one channel: deviations 1 and 2, and 0 and 4."""
    x = np.array([[[0], [5]], [[2], [1]], [[3], [8]], [[3], [0]]], np.float32)
    np.testing.assert_allclose(stddevs(x, 2), [[1.5, 1.5], [1.5, 1.5], [2, 2], [2, 2]], atol=1e-4)


def test_groups_do_not_mix(rng):
    """So real examples do not see the fake ones behind them in the batch, which may be any."""
    real, fake, other = (rng.normal(0, scale, (8, 4, 4, 3)).astype(np.float32) for scale in (1, 3, 5))
    both = stddevs(np.concatenate([real, fake]), 4)
    np.testing.assert_array_equal(both[:8], stddevs(np.concatenate([real, other]), 4)[:8])
    np.testing.assert_array_equal(both[8:], stddevs(fake, 4))
    for group in range(4):
        examples = np.concatenate([real, fake]).astype(np.float64)[4 * group : 4 * group + 4]
        np.testing.assert_allclose(both[4 * group : 4 * group + 4], np.mean(np.std(examples, axis=0)), rtol=1e-5)


def test_identical_examples_have_finite_gradients():
    x = tf.ones((4, 8, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(MinibatchStddev(4)(x)[..., -1])
    assert 0 <= float(total) < 0.01
    assert np.isfinite(tape.gradient(total, x)).all()


def test_a_group_has_two_examples_or_more():
    with pytest.raises(ValueError, match="`group_size` must be an integer of at least 2. Received: group_size=1"):
        MinibatchStddev(1)
    assert keras.layers.deserialize(keras.layers.serialize(MinibatchStddev(8))).group_size == 8
