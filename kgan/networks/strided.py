"""Strided 1-D convolution and its transpose, computed as dense convolutions over folded samples.

With stride s, fold s neighbouring samples into channels: (time, channels) -> (time / s, s * channels), a free reshape.
A convolution of stride s and k taps over samples is then a convolution of stride 1 and about k / s taps over folded
positions, with the same weights laid out differently. Processors run the second much faster than the first, forward,
backward and twice backward, as a gradient penalty needs.
"""

import keras
import tensorflow as tf

from kgan.networks.convolution import add_bias, convolve, pieces


class _Strided(keras.layers.Layer):
    """What the convolution and its transpose share: hyper-parameters, and taps aligned to the stride."""

    def __init__(
        self,
        filters,
        kernel_size,
        strides,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("kernel_size", kernel_size), ("strides", strides)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")
        self.filters = filters
        self.kernel_size = kernel_size
        self.strides = strides
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        # "same" padding of a strided convolution puts `before` zeros in front of the first sample. Zero taps are added
        # until the window starts and ends on a folded position, as many positions before the centre as after it.
        before = max(kernel_size - strides, 0) // 2
        reach = max(-(-before // strides), -(-(kernel_size - before) // strides) - 1)
        self._folded_taps = 2 * reach + 1
        self._taps_before = reach * strides - before
        self._taps_after = self._folded_taps * strides - self._taps_before - kernel_size

    def _add_weights(self, kernel_shape):
        self.kernel = self.add_weight(name="kernel", shape=kernel_shape, initializer=self.kernel_initializer)
        if self.use_bias:
            self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer=self.bias_initializer)

    def _kernel_by_position(self):
        """Return the kernel as (folded taps, strides, *, *)."""
        kernel = tf.pad(tf.convert_to_tensor(self.kernel), [[self._taps_before, self._taps_after], [0, 0], [0, 0]])
        return tf.reshape(kernel, (self._folded_taps, self.strides, *self.kernel.shape[1:]))

    def _convolve(self, inputs, kernel, training):
        return convolve(inputs, kernel) if training else tf.nn.conv1d(inputs, kernel, stride=1, padding="SAME")

    def _with_bias(self, outputs, training):
        if not self.use_bias:
            return outputs
        return (add_bias if training else tf.nn.bias_add)(outputs, tf.convert_to_tensor(self.bias))

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
        }


@keras.saving.register_keras_serializable(package="kgan")
class StridedConv1D(_Strided):
    """`keras.layers.Conv1D(filters, kernel_size, strides, padding="same")`, the same weights and result, faster.

    Args:
        filters: channels of the output.
        kernel_size: taps, in samples.
        strides: samples per step; the input's length must be a multiple of it.
        use_bias: whether to add a bias to each channel.
        kernel_initializer: initializer of the kernel, shape `(kernel_size, channels, filters)`.
        bias_initializer: initializer of the bias, shape `(filters,)`.

    Input shape: `(batch, time, channels)`. Output shape: `(batch, time / strides, filters)`.

    Raises:
        ValueError: a hyper-parameter is below 1, or the length is unknown or no multiple of the stride.

    Example:
        >>> StridedConv1D(8, kernel_size=25, strides=4)(tf.zeros((2, 64, 1))).shape
        TensorShape([2, 16, 8])
    """

    def build(self, input_shape):
        _, length, channels = input_shape
        if length is None or length % self.strides:
            raise ValueError(f"The length must be a multiple of strides={self.strides}. Received: length={length}")
        self._add_weights((self.kernel_size, channels, self.filters))

    def call(self, inputs, training=False):
        _, length, channels = inputs.shape
        folded = tf.reshape(inputs, (-1, length // self.strides, self.strides * channels))
        kernel = tf.reshape(
            self._kernel_by_position(), (self._folded_taps, self.strides * channels, self.filters)
        )  # (folded taps, strides * channels, filters)
        return self._with_bias(self._convolve(folded, kernel, training), training)

    def compute_output_shape(self, input_shape):
        batch, length, _ = input_shape
        return batch, length // self.strides, self.filters


@keras.saving.register_keras_serializable(package="kgan")
class StridedConv1DTranspose(_Strided):
    """`keras.layers.Conv1DTranspose(filters, kernel_size, strides, padding="same")`, the same result, faster.

    Args:
        filters: channels of the output.
        kernel_size: taps, in samples of the output.
        strides: samples of the output per sample of the input.
        use_bias: whether to add a bias to each channel.
        kernel_initializer: initializer of the kernel, shape `(kernel_size, filters, channels)`.
        bias_initializer: initializer of the bias, shape `(filters,)`.

    Input shape: `(batch, time, channels)`. Output shape: `(batch, time * strides, filters)`.

    Raises:
        ValueError: a hyper-parameter is below 1.

    Example:
        >>> StridedConv1DTranspose(1, kernel_size=25, strides=4)(tf.zeros((2, 16, 8))).shape
        TensorShape([2, 64, 1])
    """

    def build(self, input_shape):
        self._add_weights((self.kernel_size, self.filters, input_shape[-1]))

    def call(self, inputs, training=False):
        folded = self._convolve(inputs, self.folded_kernel(), training)
        return self._with_bias(tf.reshape(folded, (-1, inputs.shape[1] * self.strides, self.filters)), training)

    def folded_kernel(self):
        """Return the kernel of the dense convolution, `(folded taps, channels, strides * filters)`."""
        # Every output sample is a dot product with the inputs around it, taken in reverse order: its phase within the
        # stride picks the taps. (folded taps, strides, filters, channels) -> (folded taps, channels, strides, filters)
        kernel = tf.transpose(tf.reverse(self._kernel_by_position(), axis=[0]), (0, 3, 1, 2))
        return tf.reshape(kernel, (self._folded_taps, self.kernel.shape[2], self.strides * self.filters))

    def take_folded(self, folded):
        """Take over the kernel whose `folded_kernel` this is."""
        taps, channels = self._folded_taps, self.kernel.shape[2]
        kernel = tf.transpose(tf.reshape(folded, (taps, channels, self.strides, self.filters)), (0, 2, 3, 1))
        kernel = tf.reshape(tf.reverse(kernel, axis=[0]), (taps * self.strides, self.filters, channels))
        self.kernel.assign(kernel[self._taps_before : self._taps_before + self.kernel_size])

    def compute_output_shape(self, input_shape):
        batch, length, _ = input_shape
        return batch, length * self.strides, self.filters


class FoldedConv1DTranspose(keras.layers.Layer):
    """What a `StridedConv1DTranspose` computes, in float32, for inference: its kernel is folded once, not at each call.

    Args:
        layer: the built `StridedConv1DTranspose`; see `take`.

    Input and output shape: as the layer's.
    """

    def __init__(self, layer):
        super().__init__(name=layer.name, dtype="float32", trainable=False)
        self.strides, self.filters = layer.strides, layer.filters
        shapes = [piece.shape for piece in pieces(layer.folded_kernel(), axis=2)]
        self.kernels = [self.add_weight(name=f"kernel_{i}", shape=shape) for i, shape in enumerate(shapes)]
        self.bias = self.add_weight(name="bias", shape=(layer.filters,)) if layer.use_bias else None
        self.built = True
        self.take(layer)

    def take(self, layer):
        """Take over the weights that the layer has now."""
        for mine, piece in zip(self.kernels, pieces(layer.folded_kernel(), axis=2), strict=True):
            mine.assign(piece)
        if self.bias is not None:
            self.bias.assign(layer.bias)

    def give_back(self, layer):
        """Let the layer take over the weights here, the reverse of `take`."""
        folded = tf.concat([tf.convert_to_tensor(kernel) for kernel in self.kernels], axis=2)
        layer.take_folded(folded)
        if self.bias is not None:
            layer.bias.assign(self.bias)

    def call(self, inputs):
        folded = [tf.nn.conv1d(inputs, tf.convert_to_tensor(kernel), stride=1, padding="SAME") for kernel in self.kernels]
        outputs = tf.reshape(tf.concat(folded, axis=2), (-1, inputs.shape[1] * self.strides, self.filters))
        return outputs if self.bias is None else tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))

    def compute_output_shape(self, input_shape):
        batch, length, _ = input_shape
        return batch, length * self.strides, self.filters
