"""SpecGAN's generator and critic: 2-D convolutions with 5 x 5 taps and stride 2, for spectrograms of any size.

Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", appendix, table 5. https://arxiv.org/abs/1802.04208
"""

from typing import Literal

import keras

from kgan.networks.layers import (
    Conv2DTranspose,
    MinibatchStddev,
    PixelNorm,
    activation_layer,
    generator_inputs,
    initializer_factory,
    named_outputs,
)

LAYERS = 5
CHANNELS_LAST = {"data_format": "channels_last"}  # independent of Keras's configuration


def spectrogram_strides(shape):
    """Return the strides of the critic's five layers for a spectrogram `(frames, bins, ...)`.

    A stride is 2 while the size of the axis is divisible by 2, then 1.

    Example:
        >>> spectrogram_strides((128, 128, 2))
        [(2, 2), (2, 2), (2, 2), (2, 2), (2, 2)]
        >>> spectrogram_strides((8, 64, 2))
        [(2, 2), (2, 2), (2, 2), (1, 2), (1, 2)]
    """
    return [tuple(1 if size % 2 ** (layer + 1) else 2 for size in shape[:2]) for layer in range(LAYERS)]


def spectrogram_generator(
    shape: tuple[int, int, int] = (128, 128, 1),
    dim: int = 64,
    latent_dim: int = 100,
    kernel_size: int = 5,
    activation: Literal["relu", "leaky_relu"] = "leaky_relu",
    weight_stddev: float | None = None,
    pixel_norm: bool = False,
    label_width: int = 0,
    label_gain: float = 1.0,
) -> keras.Model:
    """Build the generator: latents `(batch, latent_dim)` -> spectrograms `(batch, *shape)` in [-1, 1].

    Args:
        shape: Frames, bins and channels of a spectrogram. Five layers double both sides, so the first layer has 4 x 4
            positions for 128 x 128. A side that is not a multiple of 32 is doubled fewer times.
        dim: Channels before the last layer. The layers before it have 2, 4, 8 and 16 times as many.
        latent_dim: Width of the latents.
        label_width: Width of the one-hot labels, a second input; 0 for none.
        label_gain: Factor that multiplies the labels.
        kernel_size: Taps of every convolution along both sides.
        activation: `"relu"`, or `"leaky_relu"` with slope 0.2.
        weight_stddev: Standard deviation of normal initial weights; None draws Glorot uniform weights.
        pixel_norm: Whether a `PixelNorm` follows the activation of every convolution except the last.

    Returns:
        A `keras.Model`. The last layer computes in float32 under any precision.

    Raises:
        ValueError: `activation` is neither of the two.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", appendix, table 5. https://arxiv.org/abs/1802.04208

    Example:
        >>> spectrogram_generator((128, 128, 1), dim=64).count_params()
        19065345
    """
    strides = spectrogram_strides(shape)[::-1]
    initializer = initializer_factory(weight_stddev)
    frames, bins, channels = shape
    for along_frames, along_bins in strides:
        frames, bins = frames // along_frames, bins // along_bins
    widths = [dim * 2**i for i in reversed(range(LAYERS))]  # 16 d, 8 d, ... d
    options = {"padding": "same", **CHANNELS_LAST}
    inputs, x = generator_inputs(latent_dim, label_width, label_gain)
    x = keras.layers.Dense(frames * bins * widths[0], kernel_initializer=initializer())(x)
    x = keras.layers.Reshape((frames, bins, widths[0]))(x)
    x = activation_layer(activation)(x)
    for width, stride in zip(widths[1:], strides, strict=False):
        x = Conv2DTranspose(width, kernel_size, stride, kernel_initializer=initializer(), **options)(x)
        x = activation_layer(activation)(x)
        x = PixelNorm()(x) if pixel_norm else x
    options["dtype"] = "float32"
    x = Conv2DTranspose(channels, kernel_size, strides[-1], kernel_initializer=initializer(), **options)(x)
    return keras.Model(inputs, keras.layers.Activation("tanh", dtype="float32")(x), name="spectrogram_generator")


def spectrogram_critic(
    shape: tuple[int, int, int] = (128, 128, 1),
    dim: int = 64,
    kernel_size: int = 5,
    weight_stddev: float | None = None,
    label_width: int = 0,
    minibatch_stddev: int = 0,
) -> keras.Model:
    """Build the critic: spectrograms `(batch, *shape)` -> `{"score": (batch, 1)}`, float32 and unbounded.

    Args:
        shape: Frames, bins and channels of a spectrogram, see `spectrogram_generator`.
        dim: Channels of the first layer. Each of the next four layers doubles them.
        kernel_size: Taps of every convolution along both sides.
        weight_stddev: Standard deviation of normal initial weights; None draws Glorot uniform weights.
        label_width: Width of the one-hot labels; above 0 there is a second output, `"labels"`, `(batch, label_width)`.
        minibatch_stddev: Group size of the `MinibatchStddev` before the last layer; 0 for none.

    Returns:
        A `keras.Model`. The last layer computes in float32 under any precision.

    Raises:
        ValueError: `minibatch_stddev` is 1 or below 0, see `MinibatchStddev`.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", appendix, table 5. https://arxiv.org/abs/1802.04208

    Example:
        >>> spectrogram_critic((128, 128, 1), dim=64).count_params()
        17427969
    """
    initializer = initializer_factory(weight_stddev)
    pictures = keras.Input(shape, name="pictures")
    x = pictures
    for i, stride in enumerate(spectrogram_strides(shape)):
        options = {"kernel_initializer": initializer(), "padding": "same", **CHANNELS_LAST}
        x = keras.layers.Conv2D(dim * 2**i, kernel_size, stride, **options)(x)
        x = activation_layer("leaky_relu")(x)
    x = MinibatchStddev(minibatch_stddev)(x) if minibatch_stddev else x
    x = keras.layers.Flatten(**CHANNELS_LAST)(x)
    x = keras.layers.Dense(1 + label_width, kernel_initializer=initializer(), dtype="float32")(x)
    return keras.Model(pictures, named_outputs(x), name="spectrogram_critic")
