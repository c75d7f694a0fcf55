"""What the builders of networks share."""

import numbers

import keras
import tensorflow as tf

from kgan.networks.convolution import add_bias

NEGATIVE_SLOPE = 0.2


def initializer_factory(weight_stddev):
    """Return a factory: each weight needs an initializer of its own, or equal shapes would start with equal values.

    `weight_stddev` is that of normal weights; None draws Glorot uniform ones.
    """
    if weight_stddev is None:
        return keras.initializers.GlorotUniform
    return lambda: keras.initializers.RandomNormal(stddev=weight_stddev)


def generator_inputs(latent_dim, label_width, label_gain):
    """Return a generator's inputs, latents alone or latents and one-hot labels, and what its first layer sees of them.

    A one-hot label beside a hundred latents of variance 1 is a hundredth of what that layer hears: `label_gain` multiplies it.
    """
    latents = keras.Input((latent_dim,), name="latents")
    if not label_width:
        return latents, latents
    labels = keras.Input((label_width,), name="labels")
    louder = labels if label_gain == 1 else keras.layers.Rescaling(float(label_gain))(labels)
    return [latents, labels], keras.layers.Concatenate()([latents, louder])


def label_gain(generator):
    """Return what `generator_inputs` multiplies a generator's labels by."""
    return next((layer.scale for layer in generator.layers if isinstance(layer, keras.layers.Rescaling)), 1.0)


def named_outputs(outputs):
    """Return a critic's outputs `(batch, 1 + label_width)` by their names, see `AdversarialModel`."""
    return {"score": outputs[:, :1], "labels": outputs[:, 1:]} if outputs.shape[1] > 1 else {"score": outputs}


@keras.saving.register_keras_serializable(package="kgan")
class LeakyReLU(keras.layers.LeakyReLU):
    """Keras's layer, for gradients of gradients: it has no second derivative.

    TensorFlow's own gradient says so with a tensor of zeros, which a gradient penalty then sends back through all
    convolutions: a seventh of the operations of a WGAN-GP iteration.
    """

    def call(self, inputs, training=False):
        return _leaky_relu(inputs, self.negative_slope) if training else tf.nn.leaky_relu(inputs, self.negative_slope)


def _leaky_relu(inputs, slope):
    @tf.custom_gradient
    def activate(x):
        y = tf.nn.leaky_relu(x, slope)

        def gradient(upstream):  # by the output, whose sign is the input's: the input's memory is free
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=tf.stop_gradient(y), alpha=slope)

        return y, gradient

    return activate(inputs)


@keras.saving.register_keras_serializable(package="kgan")
class Conv2DTranspose(keras.layers.Conv2DTranspose):
    """Keras's layer, whose bias has the right gradient in bfloat16, see `add_bias`.

    (Of `keras.layers.Conv2D` TensorFlow computes it with the kernel's, in float32.)

    Args:
        *args: those of `keras.layers.Conv2DTranspose`.
        **kwargs: likewise; `data_format` is `"channels_last"`, which it is unless Keras is configured otherwise.

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
    """Append a channel that says how much the examples of a group differ: a critic sees a collapse of the generator.

    It holds the mean, over positions and channels, of the standard deviation over a group. A group is `group_size` examples
    that follow each other, so that real and fake examples in one batch do not mix.

    Args:
        group_size: examples in a group, 2 or more; a batch must be a multiple of it.

    Input shape: `(batch, ..., channels)`. Output shape: `(batch, ..., channels + 1)`.

    Raises:
        ValueError: `group_size` is no integer, or below 2.

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
    """Return a new layer, `"relu"` or `"leaky_relu"` of slope 0.2."""
    layers = {"relu": keras.layers.ReLU, "leaky_relu": lambda: LeakyReLU(negative_slope=NEGATIVE_SLOPE)}
    if name not in layers:
        raise ValueError(f"`activation` must be one of {sorted(layers)}. Received: activation={name!r}")
    return layers[name]()
