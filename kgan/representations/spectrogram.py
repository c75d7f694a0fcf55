import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgan.audio.signal import edge_window
from kgan.audio.spectral import inverse_stft, stft
from kgan.errors import InputError
from kgan.representations.representation import Representation

LARGEST_UNIT = 32  # the networks have five layers of stride 2


@keras.saving.register_keras_serializable(package="kgan")
class Spectrogram(Representation):
    """Base of representations that use a short-time Fourier transform with a Hann window.

    The number of frames suits five layers of stride 2: it is a multiple of 32 or, for a shorter clip, of the largest power
    of two that the clip fills. Frames reach beyond the clip, which is padded with zeros: half a frame minus half a hop after
    it, so that the windows cover its last samples well, and the rest before it.

    Args:
        length_samples: Samples of a clip.
        channels: 1 for mono, 2 for stereo.
        fft_samples: Length of a frame, a power of two.
        hop_samples: Samples between frames; a divisor of `fft_samples` of at most half of it.
        **kwargs: Keyword arguments of `Representation`.

    Attributes:
        frames: Number of frames.
        bins: Number of bins in a frame of an example.
        padding_samples: Numbers of zeros before and after the clip.

    Shape of examples: `(batch, frames, bins, channels * features)`; the features of the first channel come first.

    Raises:
        InputError: `fft_samples` is not a power of two or exceeds the clip, or `hop_samples` is not such a divisor.
    """

    features = 1  # channels of an example per channel of the audio

    def __init__(
        self,
        length_samples: int = 16384,
        channels: int = 1,
        fft_samples: int = 256,
        hop_samples: int = 128,
        **kwargs: Any,
    ):
        super().__init__(length_samples, channels, **kwargs)
        if fft_samples < 4 or fft_samples & (fft_samples - 1):
            raise InputError(f"`fft_samples` must be a power of two, at least 4. Received: {fft_samples}.")
        if hop_samples < 1 or fft_samples % hop_samples or hop_samples > fft_samples // 2:
            raise InputError(
                "`hop_samples` must divide `fft_samples` into two parts or more, such as half or a quarter of it."
                f" Received: {hop_samples} with fft_samples={fft_samples}."
            )
        if length_samples < fft_samples:
            raise InputError(f"A clip must be at least one transform long, {fft_samples} samples. Received: {length_samples}.")
        self.fft_samples = fft_samples
        self.hop_samples = hop_samples
        self.bins = fft_samples // 2
        needed = math.ceil(length_samples / hop_samples)
        unit = min(LARGEST_UNIT, 2 ** int(math.log2(needed)))
        self.frames = math.ceil(needed / unit) * unit
        after = (fft_samples - hop_samples) // 2
        before = (self.frames - 1) * hop_samples + fft_samples - length_samples - after
        self.padding_samples = (before, after)

    @property
    def example_shape(self) -> tuple[int, int, int]:
        return (self.frames, self.bins, self.channels * self.features)

    def encode(self, audio: np.ndarray | tf.Tensor) -> tf.Tensor:
        audio = tf.convert_to_tensor(audio, tf.float32)
        audio = tf.ensure_shape(audio, self._checked_shape(audio.shape))
        features = self.encode_transform(self.transform(audio))  # (batch * channels, features, frames, bins)
        features = tf.reshape(features, (-1, self.channels * self.features, self.frames, self.bins))
        return tf.transpose(features, (0, 2, 3, 1))

    def decode(self, x: tf.Tensor) -> tf.Tensor:
        audio = self.decode_features(self._split_channels(x))
        audio = tf.reshape(audio, (-1, self.channels, self.length_samples))
        return audio[:, 0] if self.channels == 1 else tf.transpose(audio, (0, 2, 1))

    def levels_db(self, x: tf.Tensor) -> tf.Tensor:
        levels = self.feature_levels_db(self._split_channels(x))
        return tf.reshape(levels, (-1, self.channels, self.frames, self.bins))[:, 0]

    def transform(self, audio):
        """Return the transform of each channel, `(batch * channels, frames, bins + 1)`, in which a full-scale sine has 1."""
        if self.channels > 1:
            audio = tf.reshape(tf.transpose(audio, (0, 2, 1)), (-1, self.length_samples))
        return stft(audio / self.full_scale, *self.framing)

    def inverse_transform(self, transform):
        """Return audio `(batch * channels, samples)`, the inverse of `transform`."""
        return inverse_stft(transform, *self.framing) * self.full_scale

    def without_clicks(self, audio):
        """Return audio `(batch, samples)` faded in and out over a sixteenth of a transform: 4 ms for 1024 samples at 16 kHz.

        Generated magnitudes and phases do not give exact silence before and after a clip. Without the fade, this would click.
        """
        return audio * edge_window(self.length_samples, max(1, self.fft_samples // 16))

    @property
    def framing(self):
        return self.fft_samples, self.hop_samples, self.padding_samples

    @property
    def full_scale(self):
        """The magnitude of a full-scale sine in an unscaled transform."""
        return self.fft_samples / 4

    def encode_transform(self, transform):
        """Return features `(batch, features, frames, bins)` of a transform `(batch, frames, bins + 1)`."""
        raise NotImplementedError

    def decode_features(self, features):
        """Return the audio `(batch, samples)` of features."""
        raise NotImplementedError

    def feature_levels_db(self, features):
        """Return the levels `(batch, frames, bins)` of features in decibels."""
        raise NotImplementedError

    def _checked_shape(self, shape):
        """Return the expected shape of audio, with None for the batch.

        Raises:
            ValueError: `shape`, whose axes may be None, is not compatible with it.
        """
        expected = (None, self.length_samples, *([self.channels] if self.channels > 1 else []))
        if not tf.TensorShape(shape).is_compatible_with(expected):
            raise ValueError(f"Audio must be {expected}. Received: shape {tuple(shape)}")
        return expected

    def _split_channels(self, x):
        return tf.reshape(tf.transpose(x, (0, 3, 1, 2)), (-1, self.features, self.frames, self.bins))

    def compute_output_shape(self, input_shape):
        self._checked_shape(input_shape)
        return super().compute_output_shape(input_shape)

    def get_config(self):
        return {**super().get_config(), "fft_samples": self.fft_samples, "hop_samples": self.hop_samples}


def checked_iterations(griffin_lim_iterations):
    """Return a number of iterations that is at least 0, or raise a `ValueError`."""
    if griffin_lim_iterations < 0:
        raise ValueError(f"`griffin_lim_iterations` must be at least 0. Received: {griffin_lim_iterations}")
    return griffin_lim_iterations
