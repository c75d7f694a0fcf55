"""Layers and functions that all networks share."""

import numbers

import keras
import tensorflow as tf

from kgan.networks.convolution import add_bias

NEGATIVE_SLOPE = 0.2


def initializer_factory(weight_stddev):
    """Return a factory of initializers. Each weight needs its own, or equal shapes would start with equal values.

    `weight_stddev` is the standard deviation of normal weights; None draws Glorot uniform weights.
    """
    if weight_stddev is None:
        return keras.initializers.GlorotUniform
    return lambda: keras.initializers.RandomNormal(stddev=weight_stddev)


def generator_inputs(latent_dim, label_width, label_gain):
    """Return a generator's inputs (latents, or latents and one-hot labels) and the input of its first layer.

    Beside a hundred latents of variance 1, a one-hot label is only a hundredth of that input's power. `label_gain`
    multiplies the labels.
    """
    latents = keras.Input((latent_dim,), name="latents")
    if not label_width:
        return latents, latents
    labels = keras.Input((label_width,), name="labels")
    louder = labels if label_gain == 1 else keras.layers.Rescaling(float(label_gain))(labels)
    return [latents, labels], keras.layers.Concatenate()([latents, louder])


def label_gain(generator):
    """Return the `label_gain` of a generator, see `generator_inputs`."""
    return next((layer.scale for layer in generator.layers if isinstance(layer, keras.layers.Rescaling)), 1.0)


def named_outputs(outputs):
    """Return a critic's outputs `(batch, 1 + label_width)` as a dictionary, see `AdversarialModel`."""
    return {"score": outputs[:, :1], "labels": outputs[:, 1:]} if outputs.shape[1] > 1 else {"score": outputs}


@keras.saving.register_keras_serializable(package="kgan")
class LeakyReLU(keras.layers.LeakyReLU):
    """Keras's layer with a faster second-order gradient.

    The second derivative is zero. TensorFlow returns it as a tensor of zeros, which a gradient penalty then propagates
    through all convolutions: a seventh of the operations of a WGAN-GP iteration.
    """

    def call(self, inputs, training=False):
        return _leaky_relu(inputs, self.negative_slope) if training else tf.nn.leaky_relu(inputs, self.negative_slope)


def _leaky_relu(inputs, slope):
    @tf.custom_gradient
    def activate(x):
        y = tf.nn.leaky_relu(x, slope)

        def gradient(upstream):  # the output has the sign of the input, so the input need not be kept
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=tf.stop_gradient(y), alpha=slope)

        return y, gradient

    return activate(inputs)


@keras.saving.register_keras_serializable(package="kgan")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's layer with an accurate gradient of the bias in bfloat16, see `add_bias`.

    (`keras.layers.Conv2D` does not need this: TensorFlow computes its bias gradient in float32, with the kernel's.)

    Args:
        *args: Arguments of `keras.layers.Conv2DTranspose`.
        **kwargs: Keyword arguments of `keras.layers.Conv2DTranspose`; `data_format` must be `"channels_last"`, Keras's
            default.

    Raises:
        ValueError: `data_format` is `"channels_first"`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.data_format != "channels_last":
            raise ValueError(f'`data_format` must be "channels_last". Received: data_format={self.data_format!r}')

    def call(self, inputs, training=False):
        options = self.strides, self.padding, self.output_padding, self.data_format, self.dilation_rate
        outputs = keras.ops.conv_transpose(inputs, self.kernel, *options)
        if self.use_bias:
            outputs = (add_bias if training else tf.nn.bias_add)(outputs, tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)


@keras.saving.register_keras_serializable(package="kgan")
class PixelNorm(keras.layers.Layer):
    """Scale the channels at each position to a mean square of 1.

    Input and output shape: `(batch, ..., channels)`.

    Reference: Karras et al. 2018, "Progressive Growing of GANs", section 4.2. https://arxiv.org/abs/1710.10196
    """

    def call(self, inputs):
        return inputs * tf.math.rsqrt(tf.reduce_mean(tf.square(inputs), axis=-1, keepdims=True) + 1e-4)


@keras.saving.register_keras_serializable(package="kgan")
class MinibatchStddev(keras.layers.Layer):
    """Append a channel that measures how much the examples of a group differ, so that a critic can detect mode collapse.

    The channel holds the standard deviation over a group, averaged over positions and channels. A group is `group_size`
    consecutive examples, so real and fake examples in one batch do not mix.

    Args:
        group_size: Examples in a group, at least 2. The batch size must be a multiple of it.

    Input shape: `(batch, ..., channels)`. Output shape: `(batch, ..., channels + 1)`.

    Raises:
        ValueError: `group_size` is not an integer, or is below 2.

    Reference: Karras et al. 2018, "Progressive Growing of GANs", section 3. https://arxiv.org/abs/1710.10196

    Example:
        >>> MinibatchStddev(4)(tf.zeros((8, 16, 3))).shape
        TensorShape([8, 16, 4])
    """

    def __init__(self, group_size=4, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(group_size, numbers.Integral) or group_size < 2:
            raise ValueError(f"`group_size` must be an integer of at least 2. Received: group_size={group_size!r}")
        self.group_size = group_size

    def call(self, inputs):
        shape = tf.shape(inputs)
        groups = tf.reshape(tf.cast(inputs, tf.float32), (-1, self.group_size, inputs.shape[1:].num_elements()))
        deviations = tf.sqrt(tf.math.reduce_variance(groups, axis=1) + 1e-8)
        means = tf.repeat(tf.reduce_mean(deviations, axis=1), self.group_size)  # (batch,)
        means = tf.reshape(tf.cast(means, inputs.dtype), (-1, *[1] * (inputs.shape.rank - 1)))
        return tf.concat([inputs, tf.broadcast_to(means, tf.concat([shape[:-1], [1]], axis=0))], axis=-1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] + 1)

    def get_config(self):
        return {**super().get_config(), "group_size": self.group_size}


def activation_layer(name):
    """Return a new activation layer: `"relu"`, or `"leaky_relu"` with slope 0.2."""
    layers = {"relu": keras.layers.ReLU, "leaky_relu": lambda: LeakyReLU(negative_slope=NEGATIVE_SLOPE)}
    if name not in layers:
        raise ValueError(f"`activation` must be one of {sorted(layers)}. Received: activation={name!r}")
    return layers[name]()
