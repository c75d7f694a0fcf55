"""What the builders of networks share."""

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
    """Keras's layer with padding "same", whose bias has the right gradient in bfloat16, see `add_bias`.

    (Of `keras.layers.Conv2D` TensorFlow computes it with the kernel's, in float32.)
    """

    def call(self, inputs, training=False):
        outputs = keras.ops.conv_transpose(inputs, self.kernel, self.strides, self.padding)
        return (add_bias if training else tf.nn.bias_add)(outputs, tf.convert_to_tensor(self.bias))


def activation_layer(name):
    """Return a new layer, `"relu"` or `"leaky_relu"` of slope 0.2."""
    layers = {"relu": keras.layers.ReLU, "leaky_relu": lambda: LeakyReLU(negative_slope=NEGATIVE_SLOPE)}
    if name not in layers:
        raise ValueError(f"`activation` must be one of {sorted(layers)}. Received: activation={name!r}")
    return layers[name]()
