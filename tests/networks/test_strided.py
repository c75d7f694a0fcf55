import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.networks import FoldedConv1DTranspose, StridedConv1D, StridedConv1DTranspose, convolution

PAIRS = [
    (StridedConv1D, keras.layers.Conv1D),
    (StridedConv1DTranspose, keras.layers.Conv1DTranspose),
]
SHAPES = [(25, 4), (25, 2), (24, 4), (9, 3), (5, 4), (4, 4), (3, 2), (2, 4), (25, 1)]


def pair(ours_class, keras_class, kernel_size, strides, dtype="float64"):
    ours = ours_class(6, kernel_size, strides, bias_initializer="random_normal", dtype=dtype)
    theirs = keras_class(6, kernel_size, strides, padding="same", dtype=dtype)
    inputs = tf.random.stateless_normal((3, 12 * strides, 5), (0, 1), dtype=dtype)
    ours(inputs), theirs(inputs)
    theirs.set_weights(ours.get_weights())
    return ours, theirs, inputs


@pytest.mark.parametrize(("ours_class", "keras_class"), PAIRS)
@pytest.mark.parametrize(("kernel_size", "strides"), SHAPES)
def test_equals_keras_forward_and_gradient(ours_class, keras_class, kernel_size, strides):
    ours, theirs, inputs = pair(ours_class, keras_class, kernel_size, strides)
    assert [w.shape for w in ours.weights] == [w.shape for w in theirs.weights]
    results = []
    for layer, training in ((ours, {"training": True}), (theirs, {})):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, **training)
            loss = tf.reduce_sum(tf.sin(outputs) * tf.random.stateless_normal(outputs.shape, (0, 2), dtype="float64"))
        results.append([outputs, *tape.gradient(loss, [inputs, *layer.trainable_variables])])
    for mine, expected in zip(*results, strict=True):
        assert mine.shape == expected.shape
        np.testing.assert_allclose(mine, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("ours_class", "keras_class"), PAIRS)
def test_equals_keras_in_float32_within_rounding(ours_class, keras_class):
    ours, theirs, inputs = pair(ours_class, keras_class, 25, 4, dtype="float32")
    np.testing.assert_allclose(ours(inputs), theirs(inputs), atol=2e-6)


def test_gradient_of_a_gradient_equals_keras():
    ours, theirs, inputs = pair(StridedConv1D, keras.layers.Conv1D, 25, 4)
    results = []
    for layer, training in ((ours, {"training": True}), (theirs, {})):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(inputs)
                score = tf.reduce_sum(tf.nn.softplus(layer(inputs, **training)))
            penalty = tf.reduce_sum(tf.square(inner.gradient(score, inputs)))
        results.append(outer.gradient(penalty, layer.kernel))
    np.testing.assert_allclose(results[0], results[1], rtol=1e-9)


def test_transpose_is_the_adjoint_of_the_convolution(rng):
    """<conv(x), y> = <x, transpose(y)> for one kernel: the defining property."""
    forward = StridedConv1D(7, 25, 4, use_bias=False, dtype="float64")
    backward = StridedConv1DTranspose(5, 25, 4, use_bias=False, dtype="float64")
    x, y = tf.constant(rng.normal(size=(2, 64, 5))), tf.constant(rng.normal(size=(2, 16, 7)))
    forward(x), backward(y)
    backward.set_weights(forward.get_weights())  # (taps, channels, filters) is (taps, filters, channels) of the other
    np.testing.assert_allclose(tf.reduce_sum(forward(x) * y), tf.reduce_sum(x * backward(y)), rtol=1e-12)


def test_bfloat16_computes_in_bfloat16_with_float32_weights():
    layer = StridedConv1D(6, 25, 4, dtype="mixed_bfloat16")
    assert layer(tf.ones((1, 64, 1))).dtype == tf.bfloat16
    assert layer.kernel.dtype == "float32"


def test_configuration_round_trip():
    for layer_class in (StridedConv1D, StridedConv1DTranspose):
        layer = layer_class(6, 9, 3, use_bias=False, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5))
        copy = layer_class.from_config(layer.get_config())
        assert copy.get_config() == layer.get_config()


def test_errors_state_rule_and_value():
    with pytest.raises(ValueError, match=r"`strides` must be an integer of at least 1. Received: strides=0"):
        StridedConv1D(6, 25, 0)
    with pytest.raises(ValueError, match=r"multiple of strides=4. Received: length=66"):
        StridedConv1D(6, 25, 4)(tf.zeros((1, 66, 1)))


@pytest.mark.parametrize("use_bias", [True, False])
def test_folded_once_it_is_the_same_layer(monkeypatch, use_bias):
    layer = StridedConv1DTranspose(6, 25, 4, use_bias=use_bias, bias_initializer="random_normal")
    inputs = tf.random.stateless_normal((3, 16, 8), (0, 1))
    expected = layer(inputs)
    monkeypatch.setattr(convolution, "PIECE_BYTES", 2000)
    folded = FoldedConv1DTranspose(layer)
    assert len(folded.kernels) == 4
    np.testing.assert_allclose(folded(inputs), expected, atol=1e-6)
    layer.kernel.assign(-2.0 * layer.kernel)
    np.testing.assert_allclose(folded(inputs), expected, atol=1e-6)
    folded.take(layer)
    np.testing.assert_allclose(folded(inputs), layer(inputs), atol=2e-6)
