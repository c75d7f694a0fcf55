from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kgan")
class Representation(keras.layers.Layer):
    """What a network sees in place of audio: a layer with a way there, `encode`, and back, `decode`.

    It computes in float32 under any precision. Statistics of the data are weights, so they are saved with it.

    Args:
        length_samples: samples of a clip.
        channels: 1 for mono, 2 for stereo.
        dtype: `"float32"`.
        **kwargs: those of `keras.layers.Layer`, such as `name`.

    Attributes:
        example_shape: shape of what a network sees of one clip, the last axis its channels.
        label_kinds: kinds of labels that `encode` and `decode` take beside what they convert, each `(batch,)`.
        encodes_once: whether to encode a set of sounds once, because that takes too long for every iteration.

    Audio shape: float32 `(batch, samples)` in [-1, 1], or `(batch, samples, channels)` for more channels than one.

    Raises:
        ValueError: a size is below 1, or `dtype` is not `"float32"`.
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
        self.built = True  # what weights there are, subclasses make at once

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of what a network sees of one clip, the last axis its channels."""
        raise NotImplementedError

    def adapt(self, batches: Iterable[np.ndarray | tf.Tensor]) -> None:
        """Learn the statistics of the data. What needs none reads nothing.

        Args:
            batches: audio, a batch at a time: float32 in [-1, 1], `(batch, samples[, channels])`.

        Raises:
            InputError: there are statistics to learn, and no sounds, or sounds that do not vary.
        """

    def encode(self, audio: np.ndarray | tf.Tensor, *labels: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Return what a network sees of audio.

        Args:
            audio: float32 in [-1, 1], `(batch, samples[, channels])`.
            *labels: `(batch,)` for each of `label_kinds`.

        Returns:
            float32 `(batch, *example_shape)`.

        Raises:
            ValueError: a clip has another length or another number of channels.
            InputError: statistics are needed, and `adapt` was not called.
        """
        raise NotImplementedError

    def decode(self, x: tf.Tensor, *labels: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Return the audio of what a network made.

        Args:
            x: float32 `(batch, *example_shape)`.
            *labels: `(batch,)` for each of `label_kinds`.

        Returns:
            float32 `(batch, samples[, channels])`, within [-1, 1] where the network keeps to what sounds can have.

        Raises:
            InputError: statistics are needed, and `adapt` was not called.
        """
        raise NotImplementedError

    def levels_db(self, x: tf.Tensor) -> tf.Tensor | None:
        """Return a picture of what a network made, in decibels.

        0 dB is a sine at full scale; a bin that averages several shows their mean power. Stereo shows its first channel.

        Args:
            x: float32 `(batch, *example_shape)`.

        Returns:
            float32 `(batch, frames, bins)`; None where there is nothing to see.

        Raises:
            InputError: statistics are needed, and `adapt` was not called.
        """
        return None

    def call(self, audio):
        return self.encode(audio)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self.example_shape)

    def get_config(self):
        return {**super().get_config(), "length_samples": self.length_samples, "channels": self.channels}
