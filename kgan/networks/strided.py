"""Strided 1-D convolution and its transpose, computed as convolutions of stride 1 over folded samples.

With stride s, a reshape folds s neighbouring samples into channels: (time, channels) -> (time / s, s * channels).
A convolution of stride s with k taps over samples equals a convolution of stride 1 with about k / s taps over folded
positions; the weights are the same in another layout. CPUs compute the second form much faster, in the forward pass, in the
backward pass and in the second-order gradient of a gradient penalty.
"""

import numbers
from typing import Any

import keras
import tensorflow as tf

from kgan.networks.convolution import add_bias, convolve, pieces


class _Strided:
    """Base of the convolution and its transpose, to be listed before Keras's class: aligns the taps to the stride."""

    def __init__(self, filters, kernel_size, strides, **kwargs):
        kernel_size, strides = _one(kernel_size), _one(strides)
        for name, value in (("filters", filters), ("kernel_size", kernel_size), ("strides", strides)):
            if not isinstance(value, numbers.Integral) or value < 1:
                raise ValueError(f"`{name}` must be an integer of at least 1. Received: {name}={value!r}")
        super().__init__(int(filters), int(kernel_size), int(strides), **kwargs)
        for name, only in {"padding": "same", "output_padding": None, "data_format": "channels_last"}.items():
            _check_only(only, **{name: getattr(self, name, only)})
        _check_only(1, dilation_rate=_one(self.dilation_rate))
        _check_only(1, groups=getattr(self, "groups", 1))
        self.input_spec = keras.layers.InputSpec(ndim=3)
        # "same" padding of a strided convolution puts `before` zeros before the first sample. Zero taps are added until the
        # window starts and ends at a folded position, with the same number of positions before and after the centre.
        before = max(kernel_size - strides, 0) // 2
        reach = max(-(-before // strides), -(-(kernel_size - before) // strides) - 1)
        self._stride = strides
        self._folded_taps = 2 * reach + 1
        self._taps_before = reach * strides - before
        self._taps_after = self._folded_taps * strides - self._taps_before - kernel_size

    def _kernel_by_position(self):
        """Return the kernel as (folded taps, strides, *, *)."""
        kernel = tf.pad(tf.convert_to_tensor(self.kernel), [[self._taps_before, self._taps_after], [0, 0], [0, 0]])
        return tf.reshape(kernel, (self._folded_taps, self._stride, *self.kernel.shape[1:]))

    def _convolve(self, inputs, kernel, training):
        return convolve(inputs, kernel) if training else tf.nn.conv1d(inputs, kernel, stride=1, padding="SAME")

    def _activated(self, outputs, training):
        """Return the outputs of the layer: the convolution plus the bias, if any, through the activation, if any."""
        if self.use_bias:
            outputs = (add_bias if training else tf.nn.bias_add)(outputs, tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)


def _one(value):
    """Return the element of a sequence of length one, as Keras writes sizes of one axis; return other values unchanged."""
    return value[0] if isinstance(value, tuple | list) and len(value) == 1 else value


def _check_only(only, **argument):
    """Raise a `ValueError` unless an argument of Keras's class has the only supported value."""
    ((name, value),) = argument.items()
    if value != only:
        raise ValueError(f"`{name}` must be {only!r}, the only value that folding supports. Received: {name}={value!r}")


@keras.saving.register_keras_serializable(package="kgan")
class StridedConv1D(_Strided, keras.layers.Conv1D):
    """A faster `keras.layers.Conv1D(filters, kernel_size, strides, padding="same")` with the same weights and results.

    Args:
        filters: Channels of the output.
        kernel_size: Taps, in samples.
        strides: Samples per step. The length of the input must be a multiple of it.
        padding: `"same"`.
        data_format: `"channels_last"`.
        dilation_rate: 1.
        groups: 1.
        **kwargs: Other arguments of `keras.layers.Conv1D`: activation, bias, initializers, regularizers and constraints.

    Input shape: `(batch, time, channels)`. Output shape: `(batch, time / strides, filters)`.

    Raises:
        ValueError: A size is not an integer of at least 1, an argument differs from the only value listed above, or the
            length is unknown or not a multiple of the stride.

    Example:
        >>> StridedConv1D(8, kernel_size=25, strides=4)(tf.zeros((2, 64, 1))).shape
        TensorShape([2, 16, 8])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int],
        strides: int | tuple[int] = 1,
        padding: str = "same",
        data_format: str = "channels_last",
        dilation_rate: int | tuple[int] = 1,
        groups: int = 1,
        **kwargs: Any,
    ):
        fixed = {"padding": padding, "data_format": data_format, "dilation_rate": dilation_rate, "groups": groups}
        super().__init__(filters, kernel_size, strides, **fixed, **kwargs)

    def call(self, inputs, training=False):
        _, length, channels = inputs.shape
        folded = tf.reshape(inputs, (-1, self._steps(length), self._stride * channels))
        kernel = tf.reshape(
            self._kernel_by_position(), (self._folded_taps, self._stride * channels, self.filters)
        )  # (folded taps, strides * channels, filters)
        return self._activated(self._convolve(folded, kernel, training), training)

    def _steps(self, length):
        if length is None or length % self._stride:
            raise ValueError(f"The length must be a multiple of strides={self._stride}. Received: length={length}")
        return length // self._stride

    def compute_output_shape(self, input_shape):
        batch, length, _ = input_shape
        return batch, self._steps(length), self.filters


@keras.saving.register_keras_serializable(package="kgan")
class StridedConv1DTranspose(_Strided, keras.layers.Conv1DTranspose):
    """A faster `keras.layers.Conv1DTranspose(filters, kernel_size, strides, padding="same")`, equal in weights and results.

    Args:
        filters: Channels of the output.
        kernel_size: Taps, in samples of the output.
        strides: Samples of the output per sample of the input.
        padding: `"same"`.
        output_padding: None.
        data_format: `"channels_last"`.
        dilation_rate: 1.
        **kwargs: Other arguments of `keras.layers.Conv1DTranspose`: activation, bias, initializers, regularizers and
            constraints.

    Input shape: `(batch, time, channels)`. Output shape: `(batch, time * strides, filters)`.

    Raises:
        ValueError: A size is not an integer of at least 1, an argument differs from the only value listed above, or the
            length is unknown.

    Example:
        >>> StridedConv1DTranspose(1, kernel_size=25, strides=4)(tf.zeros((2, 16, 8))).shape
        TensorShape([2, 64, 1])
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int],
        strides: int | tuple[int] = 1,
        padding: str = "same",
        output_padding: None = None,
        data_format: str = "channels_last",
        dilation_rate: int | tuple[int] = 1,
        **kwargs: Any,
    ):
        fixed = {"padding": padding, "data_format": data_format, "dilation_rate": dilation_rate}
        super().__init__(filters, kernel_size, strides, output_padding=output_padding, **fixed, **kwargs)

    def call(self, inputs, training=False):
        folded = self._convolve(inputs, self.folded_kernel(), training)
        return self._activated(tf.reshape(folded, (-1, *self.compute_output_shape(inputs.shape)[1:])), training)

    def folded_kernel(self):
        """Return the kernel of the dense convolution, `(folded taps, channels, strides * filters)`."""
        # Every output sample is a dot product with the inputs around it, in reverse order. Its phase within the stride
        # selects the taps. (folded taps, strides, filters, channels) -> (folded taps, channels, strides, filters)
        kernel = tf.transpose(tf.reverse(self._kernel_by_position(), axis=[0]), (0, 3, 1, 2))
        return tf.reshape(kernel, (self._folded_taps, self.kernel.shape[2], self._stride * self.filters))

    def take_folded(self, folded):
        """Set the kernel from a folded one, the reverse of `folded_kernel`."""
        taps, channels = self._folded_taps, self.kernel.shape[2]
        kernel = tf.transpose(tf.reshape(folded, (taps, channels, self._stride, self.filters)), (0, 2, 3, 1))
        kernel = tf.reshape(tf.reverse(kernel, axis=[0]), (taps * self._stride, self.filters, channels))
        self.kernel.assign(kernel[self._taps_before : self._taps_before + self.kernel_size[0]])

    def compute_output_shape(self, input_shape):
        return _lengthened(input_shape, self._stride, self.filters)


def _lengthened(input_shape, stride, filters):
    batch, length, _ = input_shape
    if length is None:
        raise ValueError("The length must be known. Received: length=None")
    return batch, length * stride, filters


@keras.saving.register_keras_serializable(package="kgan")
class FoldedConv1DTranspose(keras.layers.Layer):
    """A `StridedConv1DTranspose` for inference, in float32. Its kernel is folded once instead of at each call.

    Regularizers and constraints are not copied.

    Args:
        layer: A built `StridedConv1DTranspose`; its weights are copied, see `take`.
        name: Name of the layer; None for the name of `layer`.
        dtype: `"float32"`.
        trainable: False.

    Input and output shape: those of `layer`.

    Raises:
        ValueError: `layer` is not a built `StridedConv1DTranspose`, or an argument differs from the only value above.
    """

    def __init__(
        self,
        layer: StridedConv1DTranspose,
        name: str | None = None,
        dtype: str | keras.DTypePolicy = "float32",
        trainable: bool = False,
    ):
        if not isinstance(layer, StridedConv1DTranspose) or not layer.built:
            raise ValueError(f"`layer` must be a built `StridedConv1DTranspose`. Received: {layer!r}")
        if trainable:
            raise ValueError(f"`trainable` must be False: the layer is for inference. Received: trainable={trainable}")
        super().__init__(name=name or layer.name, dtype=dtype, trainable=False)
        if self.dtype_policy.name != "float32":
            raise ValueError(f'`dtype` must be "float32". Received: dtype={self.dtype_policy.name!r}')
        self.filters, self.kernel_size, self.strides = layer.filters, layer.kernel_size, layer.strides
        self.use_bias, self.activation = layer.use_bias, layer.activation
        self.channels = layer.kernel.shape[2]
        shapes = [piece.shape for piece in pieces(layer.folded_kernel(), axis=2)]
        self.kernels = [self.add_weight(name=f"kernel_{i}", shape=shape) for i, shape in enumerate(shapes)]
        self.bias = self.add_weight(name="bias", shape=(layer.filters,)) if layer.use_bias else None
        self.built = True
        self.take(layer)

    def take(self, layer):
        """Copy the current weights of the layer."""
        for mine, piece in zip(self.kernels, pieces(layer.folded_kernel(), axis=2), strict=True):
            mine.assign(piece)
        if self.bias is not None:
            self.bias.assign(layer.bias)

    def give_back(self, layer):
        """Copy the weights to the layer, the reverse of `take`."""
        folded = tf.concat([tf.convert_to_tensor(kernel) for kernel in self.kernels], axis=2)
        layer.take_folded(folded)
        if self.bias is not None:
            layer.bias.assign(self.bias)

    def call(self, inputs):
        folded = [tf.nn.conv1d(inputs, tf.convert_to_tensor(kernel), stride=1, padding="SAME") for kernel in self.kernels]
        outputs = tf.reshape(tf.concat(folded, axis=2), (-1, *self.compute_output_shape(inputs.shape)[1:]))
        outputs = outputs if self.bias is None else tf.nn.bias_add(outputs, tf.convert_to_tensor(self.bias))
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape):
        return _lengthened(input_shape, self.strides[0], self.filters)

    def get_config(self):
        """Return the configuration of a layer of the same shapes. Its weights are loaded separately."""
        options = {"activation": self.activation, "use_bias": self.use_bias, "name": self.name, "dtype": "float32"}
        layer = StridedConv1DTranspose(self.filters, self.kernel_size, self.strides, **options)
        folded = {"layer": keras.saving.serialize_keras_object(layer), "channels": self.channels}
        return {**super().get_config(), **folded}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        layer = keras.saving.deserialize_keras_object(config.pop("layer"))
        layer.build((None, None, config.pop("channels")))
        return cls(layer, **config)
