from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kgan")
class Representation(keras.layers.Layer):
    """Base class of representations: a layer that encodes audio as examples for a network, and decodes examples to audio.

    It computes in float32 under any precision. Statistics of the data are weights, so they are saved with the layer.

    Args:
        length_samples: Samples of a clip.
        channels: 1 for mono, 2 for stereo.
        dtype: `"float32"`.
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name`.

    Attributes:
        example_shape: Shape of one example; the last axis holds its channels.
        label_kinds: Kinds of labels that `encode` and `decode` need as further arguments, each `(batch,)`.
        encodes_once: Whether to encode a data set once, because encoding in every iteration would take too long.

    Audio shape: float32 `(batch, samples)` in [-1, 1], or `(batch, samples, channels)` for several channels.

    Raises:
        ValueError: A size is below 1, or `dtype` is not `"float32"`.
    """

    label_kinds = ()
    encodes_once = False

    def __init__(
        self, length_samples: int = 16384, channels: int = 1, dtype: str | keras.DTypePolicy = "float32", **kwargs: Any
    ):
        super().__init__(dtype=dtype, **kwargs)
        if self.dtype_policy.name != "float32":
            raise ValueError(f'`dtype` must be "float32". Received: dtype={self.dtype_policy.name!r}')
        for name, value in (("length_samples", length_samples), ("channels", channels)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")
        self.length_samples = length_samples
        self.channels = channels
        self.built = True  # subclasses create their weights in the constructor

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example; the last axis holds its channels."""
        raise NotImplementedError

    def adapt(self, batches: Iterable[np.ndarray | tf.Tensor]) -> None:
        """Learn the statistics of the data. A representation without statistics does not read the batches.

        Args:
            batches: Batches of audio, float32 in [-1, 1], `(batch, samples[, channels])`.

        Raises:
            InputError: Statistics are needed, but there are no sounds or the sounds do not vary.
        """

    def encode(self, audio: np.ndarray | tf.Tensor, *labels: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Encode audio as examples for a network.

        Args:
            audio: float32 in [-1, 1], `(batch, samples[, channels])`.
            *labels: `(batch,)` for each of `label_kinds`.

        Returns:
            float32 `(batch, *example_shape)`.

        Raises:
            ValueError: A clip has another length or another number of channels.
            InputError: Statistics are needed, but `adapt` was not called.
        """
        raise NotImplementedError

    def decode(self, x: tf.Tensor, *labels: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Decode examples, such as the outputs of a generator, to audio.

        Args:
            x: float32 `(batch, *example_shape)`.
            *labels: `(batch,)` for each of `label_kinds`.

        Returns:
            float32 `(batch, samples[, channels])`. It is in [-1, 1] if the examples are like those of real sounds.

        Raises:
            InputError: Statistics are needed, but `adapt` was not called.
        """
        raise NotImplementedError

    def levels_db(self, x: tf.Tensor) -> tf.Tensor | None:
        """Return the levels of examples in decibels, for pictures.

        0 dB is a full-scale sine. A bin that averages several bins has their mean power. Only the first channel is used.

        Args:
            x: float32 `(batch, *example_shape)`.

        Returns:
            float32 `(batch, frames, bins)`, or None if the representation has no levels to show.

        Raises:
            InputError: Statistics are needed, but `adapt` was not called.
        """
        return None

    def call(self, audio):
        return self.encode(audio)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.example_shape)

    def get_config(self):
        return {**super().get_config(), "length_samples": self.length_samples, "channels": self.channels}
