import numpy as np
import pytest
import tensorflow as tf

from kgan.errors import InputError
from kgan.networks import wave_critic, wave_generator, wave_strides


def test_published_parameter_counts():
    assert wave_generator(dim=64).count_params() == 19_065_345
    assert wave_critic(dim=64).count_params() == 17_427_969


@pytest.mark.parametrize(
    ("length", "strides"),
    [
        (1024, [4, 4, 4]),
        (8192, [4, 4, 4, 4, 2]),
        (16384, [4, 4, 4, 4, 4]),
        (32768, [4, 4, 4, 4, 4, 2]),
        (65536, [4, 4, 4, 4, 4, 4]),
    ],
)
def test_strides(length, strides):
    assert wave_strides(length) == strides


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("length", [8192, 16384, 32768, 65536])
def test_every_length_and_channel_count(length, channels):
    generator = wave_generator(length, channels, dim=2, latent_dim=5)
    critic = wave_critic(length, channels, dim=2)
    waves = generator(tf.random.stateless_normal((3, 5), (0, 1)))
    assert waves.shape == (3, length, channels)
    assert np.abs(waves).max() < 1
    assert critic(waves)["score"].shape == (3, 1)
    widths = [layer.filters for layer in critic.layers if hasattr(layer, "filters")]
    assert widths == [2 * 2**i for i in range(len(wave_strides(length)))]
    widths = [layer.filters for layer in generator.layers if hasattr(layer, "filters")]
    assert widths == [2 * 2**i for i in reversed(range(len(wave_strides(length)) - 1))] + [channels]


@pytest.mark.parametrize(("length", "nearest"), [(16000, 16384), (20000, 16384), (100, 128), (1, 32), (64000, 65536)])
def test_impossible_length(length, nearest):
    with pytest.raises(InputError, match=f"Received: {length}. Nearest: {nearest}."):
        wave_generator(length)


def test_initial_weights():
    kernels = [w.numpy() for w in wave_critic(dim=16, weight_stddev=0.02).trainable_variables if w.ndim > 1]
    assert abs(np.concatenate([k.ravel() for k in kernels]).std() - 0.02) < 1e-4
    glorot = wave_critic(dim=16).layers[3].kernel.numpy()  # 25 taps, 16 -> 32 channels
    limit = np.sqrt(6 / (25 * 16 + 25 * 32))
    assert 0.99 * limit < np.abs(glorot).max() <= limit
    first, second = (wave_generator(dim=4, latent_dim=4).layers[i].kernel.numpy().std() for i in (1, 4))
    assert first != second


def test_last_layers_compute_in_float32_under_mixed_precision():
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        generator, critic = wave_generator(1024, dim=2, latent_dim=3), wave_critic(1024, dim=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert generator.layers[-2].compute_dtype == "float32"
    assert generator.layers[4].compute_dtype == "bfloat16"
    assert critic.layers[-1].compute_dtype == "float32"
    assert critic(generator(tf.zeros((1, 3))))["score"].dtype == tf.float32


def test_phase_shuffle_stands_after_all_layers_but_the_last():
    names = [layer.__class__.__name__ for layer in wave_critic(16384, dim=2, phase_shuffle=2).layers]
    assert names.count("PhaseShuffle") == 4
    assert names[-3:] == ["LeakyReLU", "Flatten", "Dense"]
