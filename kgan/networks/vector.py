"""Networks for vectors, such as the components of `Harmonic`: dense layers with residual connections."""

from typing import Literal

import keras

from kgan.networks.layers import (
    NEGATIVE_SLOPE,
    LeakyReLU,
    MinibatchStddev,
    PixelNorm,
    activation_layer,
    generator_inputs,
    initializer_factory,
    named_outputs,
)

BLOCKS = 3  # residual blocks of two dense layers each


def vector_generator(
    components: int = 256,
    dim: int = 512,
    latent_dim: int = 100,
    activation: Literal["relu", "leaky_relu"] = "leaky_relu",
    weight_stddev: float | None = None,
    pixel_norm: bool = False,
    label_width: int = 0,
    label_gain: float = 1.0,
) -> keras.Model:
    """Build the generator: latents `(batch, latent_dim)` -> vectors `(batch, components)`, unbounded.

    The layers are a dense layer, three residual blocks of two dense layers, each after its activation, and a dense layer
    (He et al. 2016, "Identity Mappings in Deep Residual Networks", https://arxiv.org/abs/1603.05027).

    Args:
        components: Width of a vector.
        dim: Width of every layer except the last.
        latent_dim: Width of the latents.
        activation: `"relu"`, or `"leaky_relu"` with slope 0.2.
        weight_stddev: Standard deviation of normal initial weights; None draws Glorot uniform weights.
        pixel_norm: Whether each block begins with a `PixelNorm`.
        label_width: Width of the one-hot labels, a second input; 0 for none.
        label_gain: Factor that multiplies the labels.

    Returns:
        A `keras.Model`. The last layer computes in float32 under any precision.

    Raises:
        ValueError: `activation` is neither of the two.

    Example:
        >>> vector_generator(256, dim=512, latent_dim=100).output_shape
        (None, 256)
    """
    initializer = initializer_factory(weight_stddev)
    inputs, x = generator_inputs(latent_dim, label_width, label_gain)
    x = keras.layers.Dense(dim, kernel_initializer=initializer())(x)
    for _ in range(BLOCKS):
        x = _residual_block(x, activation, initializer, pixel_norm)
    x = activation_layer(activation)(x)
    x = keras.layers.Dense(components, kernel_initializer=initializer(), dtype="float32")(x)
    return keras.Model(inputs, x, name="vector_generator")


def vector_critic(
    components: int = 256,
    dim: int = 512,
    weight_stddev: float | None = None,
    label_width: int = 0,
    minibatch_stddev: int = 0,
) -> keras.Model:
    """Build the critic: vectors `(batch, components)` -> `{"score": (batch, 1)}`, float32 and unbounded.

    Args:
        components: Width of a vector.
        dim: Width of every layer except the last. The layers are those of `vector_generator`.
        weight_stddev: Standard deviation of normal initial weights; None draws Glorot uniform weights.
        label_width: Width of the one-hot labels; above 0 there is a second output, `"labels"`, `(batch, label_width)`.
        minibatch_stddev: Group size of the `MinibatchStddev` before the last layer; 0 for none.

    Returns:
        A `keras.Model`. The last layer computes in float32 under any precision.

    Raises:
        ValueError: An argument is out of its range, see `MinibatchStddev`.

    Example:
        >>> vector_critic(256, dim=512, label_width=48).output["labels"].shape
        (None, 48)
    """
    initializer = initializer_factory(weight_stddev)
    vectors = keras.Input((components,), name="vectors")
    x = keras.layers.Dense(dim, kernel_initializer=initializer())(vectors)
    for _ in range(BLOCKS):
        x = _residual_block(x, "leaky_relu", initializer)
    x = LeakyReLU(negative_slope=NEGATIVE_SLOPE)(x)
    x = MinibatchStddev(minibatch_stddev)(x) if minibatch_stddev else x
    x = keras.layers.Dense(1 + label_width, kernel_initializer=initializer(), dtype="float32")(x)
    return keras.Model(vectors, named_outputs(x), name="vector_critic")


def _residual_block(x, activation, initializer, pixel_norm=False):
    y = PixelNorm()(x) if pixel_norm else x
    for _ in range(2):
        y = keras.layers.Dense(x.shape[-1], kernel_initializer=initializer())(activation_layer(activation)(y))
    return keras.layers.Add()([x, y])
