import numpy as np
import pytest
import tensorflow as tf

from kgan.audio.fourier import irfft, portable, repeated, rfft

SIZES = [2, 8, 12, 34, 250, 256, 1024, 2048]  # 34 is twice a prime: a transform of 17 points is one product


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("of_products", [False, True])
def test_it_is_numpy_s_in_float64_and_so_is_the_way_back(rng, samples, of_products):
    frames = rng.uniform(-1, 1, (2, 3, samples)).astype(np.float32)
    expected = np.fft.rfft(frames.astype(np.float64))
    noise = expected + rng.normal(size=expected.shape) + 1j * rng.normal(size=expected.shape)
    back = np.fft.irfft(noise, samples)

    @tf.function(input_signature=[tf.TensorSpec([None, 3, samples]), *[tf.TensorSpec([None, 3, samples // 2 + 1])] * 2])
    def both_ways(frames, real, imag):
        return *rfft(frames), irfft(real, imag, samples)

    inputs = tf.constant(frames), *tf.constant([noise.real, noise.imag], tf.float32)
    if of_products:
        with portable():
            both = both_ways.get_concrete_function()
        assert not [node.op for node in both.graph.as_graph_def().node if "FFT" in node.op or "omplex" in node.op]
    else:
        both = both_ways
    real, imag, waves = both(*inputs)
    np.testing.assert_allclose(real, expected.real, atol=1e-6 * samples)
    np.testing.assert_allclose(imag, expected.imag, atol=1e-6 * samples)
    np.testing.assert_allclose(waves, back, atol=3e-6)


def test_a_loop_is_one_in_the_graph_unless_told_otherwise():
    @tf.function
    def power(x):
        return repeated(lambda y, n: (y * x, n + 1), (tf.constant(1.0), tf.constant(0)), 5)

    def operations():
        return [operation.type for operation in power.get_concrete_function(tf.constant(3.0)).graph.get_operations()]

    assert "StatelessWhile" in operations()
    assert [float(value) for value in power(tf.constant(3.0))] == [243.0, 5.0]
    with portable(unrolled=True):
        power = tf.function(power.python_function)
        assert operations().count("Mul") == 5
        assert "StatelessWhile" not in operations()
        assert [float(value) for value in power(tf.constant(3.0))] == [243.0, 5.0]
