import numpy as np
import pytest
import tensorflow as tf

from kgan.networks import convolution
from kgan.networks.convolution import FEW_POSITIONS, add_bias, convolve


def plain(inputs, kernel):
    return tf.nn.conv1d(inputs, kernel, stride=1, padding="SAME")


def derivatives(convolution, inputs, kernel):
    """Return the result, both gradients, and those of the inner gradient's square with respect to all that it depends on."""
    upstream = tf.random.stateless_normal((*inputs.shape[:2], kernel.shape[2]), (1, 2), dtype="float64")
    with tf.GradientTape() as outer:
        outer.watch([inputs, kernel, upstream])
        with tf.GradientTape() as inner:
            inner.watch([inputs, kernel])
            result = convolution(inputs, kernel)
            loss = tf.reduce_sum(result * upstream)
        of_inputs, of_kernel = inner.gradient(loss, [inputs, kernel])
        penalty = tf.reduce_sum(of_inputs**2) + tf.reduce_sum(of_kernel**2)
    return [result, of_inputs, of_kernel, *outer.gradient(penalty, [inputs, kernel, upstream])]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("positions", "taps"), [(16, 7), (FEW_POSITIONS, 3), (5, 1), (2, 7), (1, 3)])
def test_its_derivatives_are_those_of_tensorflow_s(positions, taps, compiled):
    inputs = tf.random.stateless_normal((3, positions, 5), (0, 1), dtype="float64")
    kernel = tf.random.stateless_normal((taps, 5, 4), (0, 2), dtype="float64")
    mine = (tf.function(derivatives) if compiled else derivatives)(convolve, inputs, kernel)
    for received, expected in zip(mine, derivatives(plain, inputs, kernel), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-10)


def test_a_kernel_in_pieces_is_that_kernel(monkeypatch):
    inputs = tf.random.stateless_normal((3, 16, 6), (0, 1), dtype="float64")
    kernel = tf.random.stateless_normal((7, 6, 8), (0, 2), dtype="float64")
    monkeypatch.setattr(convolution, "PIECE_BYTES", kernel.shape.num_elements() * 8 // 3)
    assert [piece.shape[2] for piece in convolution.pieces(kernel, axis=2)] == [2, 2, 2, 2]
    assert [piece.shape[1] for piece in convolution.pieces(kernel, axis=1)] == [3, 3]
    for received, expected in zip(derivatives(convolve, inputs, kernel), derivatives(plain, inputs, kernel), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-10, atol=1e-10)


def test_few_positions_take_one_matrix_product_for_each_tap():
    @tf.function(jit_compile=False)
    def kernel_gradient(inputs, kernel):
        return tf.gradients(convolve(inputs, kernel), kernel)

    def operations(positions):
        graph = kernel_gradient.get_concrete_function(tf.zeros((2, positions, 5)), tf.zeros((7, 5, 4))).graph
        return [operation.type for operation in graph.get_operations()]

    assert operations(FEW_POSITIONS).count("MatMul") == 7
    assert "Conv2DBackpropFilter" not in operations(FEW_POSITIONS)
    assert "Conv2DBackpropFilter" in operations(FEW_POSITIONS + 1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_the_gradient_of_a_bias_is_the_sum_over_many_positions(dtype):
    upstream = tf.cast(tf.random.stateless_uniform((64, 4096, 3), (0, 1), -0.2, 1.0), dtype)
    with tf.GradientTape() as tape:
        bias = tf.zeros(3, dtype)
        tape.watch(bias)
        result = add_bias(tf.zeros_like(upstream), bias)
    gradient = tape.gradient(result, bias, output_gradients=upstream)
    expected = tf.reduce_sum(tf.cast(upstream, "float64"), axis=(0, 1))
    last_place = 2**-7 if dtype == "bfloat16" else 1e-4  # without bfloat16 instructions digits are cut off, not rounded
    np.testing.assert_allclose(tf.cast(gradient, "float64"), expected, rtol=last_place)


def test_the_gradient_of_a_bias_is_differentiable():
    upstream = tf.random.stateless_normal((2, 5, 3), (0, 1), dtype="float64")
    with tf.GradientTape() as outer:
        outer.watch(upstream)
        with tf.GradientTape() as inner:
            bias = tf.constant([1.0, -2.0, 0.5], "float64")
            inner.watch(bias)
            result = tf.reduce_sum(add_bias(tf.zeros_like(upstream), bias) * upstream)
        squares = tf.reduce_sum(inner.gradient(result, bias) ** 2)
    expected = np.broadcast_to(2.0 * upstream.numpy().sum(axis=(0, 1)), (2, 5, 3))
    np.testing.assert_allclose(outer.gradient(squares, upstream), expected, rtol=1e-12)
