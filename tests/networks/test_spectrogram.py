import itertools
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.networks import spectrogram_critic, spectrogram_generator
from kgan.networks.layers import label_gain
from kgan.networks.spectrogram import spectrogram_strides
from kgan.networks.wave import wave_generator


def test_parameters_at_the_published_size():
    """By hand: 25 taps of 5 layers and two dense ones, as many as WaveGAN's."""
    d = 64
    channels = [16 * d, 8 * d, 4 * d, 2 * d, d, 1]
    convolutions = sum(25 * a * b for a, b in itertools.pairwise(channels))
    generator = spectrogram_generator((128, 128, 1), dim=d)
    assert generator.count_params() == 101 * 16 * 16 * d + convolutions + sum(channels[1:]) == 19065345
    critic = spectrogram_critic((128, 128, 1), dim=d)
    assert critic.count_params() == convolutions + sum(channels[:-1]) + 16 * 16 * d + 1 == 17427969


@pytest.mark.parametrize(
    ("shape", "start"),
    [
        ((128, 128, 2), (4, 4, 32)),
        ((64, 512, 2), (2, 16, 32)),
        ((32, 1024, 2), (1, 32, 32)),
        ((256, 512, 4), (8, 16, 32)),
        ((8, 128, 1), (1, 4, 32)),
        ((12, 40, 3), (3, 5, 32)),
    ],
)
def test_sizes_follow_from_the_shape(shape, start):
    generator, critic = spectrogram_generator(shape, dim=2, latent_dim=5), spectrogram_critic(shape, dim=2)
    assert generator.output_shape == (None, *shape)
    assert next(layer for layer in generator.layers if isinstance(layer, keras.layers.Reshape)).output.shape[1:] == start
    assert critic.output["score"].shape == (None, 1)
    made = [layer.output.shape[1:] for layer in generator.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    seen = [layer.output.shape[1:] for layer in critic.layers if isinstance(layer, keras.layers.Conv2D)]
    assert [picture[:2] for picture in [start, *made[:-1]]] == [picture[:2] for picture in seen[::-1]]  # mirrored
    assert [picture[2] for picture in seen] == [2, 4, 8, 16, 32]
    pictures = generator(tf.random.stateless_normal((3, 5), (0, 0)))
    assert np.abs(pictures).max() <= 1.0
    assert critic(pictures)["score"].shape == (3, 1)


def test_strides_halve_for_as_long_as_an_axis_does():
    assert spectrogram_strides((128, 64, 1)) == [(2, 2)] * 5
    assert spectrogram_strides((12, 32, 1)) == [(2, 2), (2, 2), (1, 2), (1, 2), (1, 2)]


def test_the_last_layers_are_float32_under_mixed_precision():
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        generator, critic = spectrogram_generator((8, 8, 1), dim=2), spectrogram_critic((8, 8, 1), dim=2)
    finally:
        keras.config.set_dtype_policy(previous)
    assert generator.layers[-1].compute_dtype == generator.layers[-2].compute_dtype == "float32"
    assert critic.layers[-1].compute_dtype == "float32"
    assert generator.layers[1].compute_dtype == critic.layers[1].compute_dtype == "bfloat16"
    assert generator(tf.zeros((1, 100))).dtype == critic(tf.zeros((1, 8, 8, 1)))["score"].dtype == tf.float32


def test_initial_weights():
    normal = spectrogram_critic((128, 128, 1), dim=16, weight_stddev=0.02)
    for layer in normal.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert np.std(layer.kernel) == pytest.approx(0.02, rel=0.2)
    uniform, other = (spectrogram_critic((8, 8, 2), dim=2) for _ in range(2))
    kernels = [model.layers[1].kernel.numpy() for model in (uniform, other)]
    assert not np.array_equal(*kernels)
    limit = np.sqrt(6 / (25 * 2 + 25 * 2))  # Glorot's, of 25 taps from two channels to two
    assert 0.8 * limit < np.abs(kernels[0]).max() <= limit


@pytest.mark.parametrize("build", [wave_generator, partial(spectrogram_generator, (32, 32, 1))])
def test_labels_are_heard_as_loud_as_they_are_told_to_be(rng, build):
    plain, louder = build(dim=2, latent_dim=7), build(dim=2, latent_dim=4, label_width=3, label_gain=10.0)
    louder.set_weights(plain.get_weights())
    inputs = rng.normal(size=(4, 7)).astype(np.float32)
    np.testing.assert_allclose(
        louder([inputs[:, :4], inputs[:, 4:]]), plain(inputs * ([1] * 4 + [10] * 3)), rtol=1e-4, atol=1e-5
    )
    assert (label_gain(plain), label_gain(louder)) == (1.0, 10.0)


def test_channels_are_last_however_keras_is_configured():
    previous = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        generator, critic = spectrogram_generator((32, 64, 2), dim=2, latent_dim=3), spectrogram_critic((32, 64, 2), dim=2)
    finally:
        keras.config.set_image_data_format(previous)
    assert critic(generator(tf.zeros((1, 3))))["score"].shape == (1, 1)
    expected = spectrogram_generator((32, 64, 2), dim=2, latent_dim=3), spectrogram_critic((32, 64, 2), dim=2)
    for mine, usual in zip((generator, critic), expected, strict=True):
        assert [weight.shape for weight in mine.weights] == [weight.shape for weight in usual.weights]
