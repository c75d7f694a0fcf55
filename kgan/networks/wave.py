"""WaveGAN's generator and critic: 1-D convolutions with 25 taps and stride 4.

Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", appendix. https://arxiv.org/abs/1802.04208
"""

import math
from typing import Literal

import keras

from kgan.errors import InputError
from kgan.networks.layers import (
    MinibatchStddev,
    PixelNorm,
    activation_layer,
    generator_inputs,
    initializer_factory,
    named_outputs,
)
from kgan.networks.phase_shuffle import PhaseShuffle
from kgan.networks.strided import StridedConv1D, StridedConv1DTranspose

START_LENGTH = 16  # positions after the generator's dense layer


def wave_strides(length_samples: int) -> list[int]:
    """Return the strides that lead from 16 positions to `length_samples`: fours, and a final two if needed.

    Args:
        length_samples: Samples of a clip, 16 times a power of two.

    Returns:
        The strides from the first to the last layer, the same for generator and critic.

    Raises:
        InputError: The length is not 16 times a power of two.

    Example:
        >>> wave_strides(16384), wave_strides(32768)
        ([4, 4, 4, 4, 4], [4, 4, 4, 4, 4, 2])
    """
    doublings = round(math.log2(max(length_samples, 2 * START_LENGTH) / START_LENGTH))
    nearest = START_LENGTH * 2**doublings
    if length_samples != nearest:
        raise InputError(
            f"The clip length must be {START_LENGTH} times a power of two, such as 8192, 16384, 32768 or 65536 samples."
            f" Received: {length_samples}. Nearest: {nearest}."
        )
    return [4] * (doublings // 2) + [2] * (doublings % 2)


def wave_generator(
    length_samples: int = 16384,
    channels: int = 1,
    dim: int = 64,
    latent_dim: int = 100,
    kernel_size: int = 25,
    activation: Literal["relu", "leaky_relu"] = "leaky_relu",
    weight_stddev: float | None = None,
    pixel_norm: bool = False,
    label_width: int = 0,
    label_gain: float = 1.0,
) -> keras.Model:
    """Build the generator: latents `(batch, latent_dim)` -> waves `(batch, length_samples, channels)` in [-1, 1].

    Args:
        length_samples: Samples of a clip, 16 times a power of two.
        channels: 1 for mono, 2 for stereo.
        dim: Channels before the last layer. The layers before it have 2, 4, 8... times as many.
        latent_dim: Width of the latents.
        label_width: Width of the one-hot labels, a second input; 0 for none.
        label_gain: Factor that multiplies the labels.
        kernel_size: Taps of every convolution.
        activation: `"relu"`, or `"leaky_relu"` with slope 0.2.
        weight_stddev: Standard deviation of normal initial weights; None draws Glorot uniform weights.
        pixel_norm: Whether a `PixelNorm` follows the activation of every convolution except the last.

    Returns:
        A `keras.Model`. The last layer computes in float32 under any precision: bfloat16 would quantise the sound to 8 bits.

    Raises:
        InputError: `length_samples` is not 16 times a power of two.
        ValueError: `activation` is neither of the two.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", appendix. https://arxiv.org/abs/1802.04208

    Example:
        >>> wave_generator(dim=64).count_params()
        19065345
    """
    strides = wave_strides(length_samples)
    initializer = initializer_factory(weight_stddev)
    widths = [dim * 2**i for i in reversed(range(len(strides)))]  # 16 d, 8 d, ... d for 16384 samples
    inputs, x = generator_inputs(latent_dim, label_width, label_gain)
    x = keras.layers.Dense(START_LENGTH * widths[0], kernel_initializer=initializer())(x)
    x = keras.layers.Reshape((START_LENGTH, widths[0]))(x)
    x = activation_layer(activation)(x)
    for width, stride in zip(widths[1:], strides, strict=False):
        x = StridedConv1DTranspose(width, kernel_size, stride, kernel_initializer=initializer())(x)
        x = activation_layer(activation)(x)
        x = PixelNorm()(x) if pixel_norm else x
    x = StridedConv1DTranspose(channels, kernel_size, strides[-1], kernel_initializer=initializer(), dtype="float32")(x)
    return keras.Model(inputs, keras.layers.Activation("tanh", dtype="float32")(x), name="wave_generator")


def wave_critic(
    length_samples: int = 16384,
    channels: int = 1,
    dim: int = 64,
    kernel_size: int = 25,
    weight_stddev: float | None = None,
    phase_shuffle: int = 0,
    phase_shuffle_per: Literal["example", "batch"] = "example",
    seed: int = 0,
    label_width: int = 0,
    minibatch_stddev: int = 0,
) -> keras.Model:
    """Build the critic: waves `(batch, length_samples, channels)` -> `{"score": (batch, 1)}`, float32 and unbounded.

    Args:
        length_samples: Samples of a clip, 16 times a power of two.
        channels: 1 for mono, 2 for stereo.
        dim: Channels of the first layer. Each next layer doubles them.
        kernel_size: Taps of every convolution.
        weight_stddev: Standard deviation of normal initial weights; None draws Glorot uniform weights.
        label_width: Width of the one-hot labels; above 0 there is a second output, `"labels"`, `(batch, label_width)`.
        minibatch_stddev: Group size of the `MinibatchStddev` before the last layer; 0 for none.
        phase_shuffle: Radius in samples of the phase shuffle after every layer except the last; 0 for none, 2 in the paper.
        phase_shuffle_per: `"example"` or `"batch"`, see `PhaseShuffle`.
        seed: Random seed of the phase shuffle.

    Returns:
        A `keras.Model`. The last layer computes in float32 under any precision.

    Raises:
        InputError: `length_samples` is not 16 times a power of two.
        ValueError: An argument is out of its range, see `PhaseShuffle` and `MinibatchStddev`.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", appendix. https://arxiv.org/abs/1802.04208

    Example:
        >>> wave_critic(dim=64).count_params()
        17427969
    """
    strides = wave_strides(length_samples)
    initializer = initializer_factory(weight_stddev)
    waves = keras.Input((length_samples, channels), name="waves")
    x = waves
    for i, stride in enumerate(strides):
        x = StridedConv1D(dim * 2**i, kernel_size, stride, kernel_initializer=initializer())(x)
        x = activation_layer("leaky_relu")(x)
        if phase_shuffle and i < len(strides) - 1:
            x = PhaseShuffle(phase_shuffle, phase_shuffle_per, seed=seed + i)(x)
    x = MinibatchStddev(minibatch_stddev)(x) if minibatch_stddev else x
    x = keras.layers.Flatten(data_format="channels_last")(x)
    x = keras.layers.Dense(1 + label_width, kernel_initializer=initializer(), dtype="float32")(x)
    return keras.Model(waves, named_outputs(x), name="wave_critic")
