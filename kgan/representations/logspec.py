from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgan.audio.spectral import decibels, griffin_lim, magnitude, scaled
from kgan.errors import InputError
from kgan.representations.spectrogram import Spectrogram, checked_iterations

EPSILON = 1e-6
CLIPPED_STDDEVS = 3.0
LEAST_STDDEV = 1e-3


@keras.saving.register_keras_serializable(package="kgan")
class LogSpec(Spectrogram):
    """SpecGAN's representation: log(|X| + 1e-6), standardised for each bin, divided by 3 and clipped to [-1, 1].

    X is the unscaled transform, in which a full-scale sine has the magnitude `fft_samples` / 4. The decoder estimates phases
    with the fast Griffin-Lim algorithm. Examples lack the bin at half the sample rate; the decoder gives it its mean level.

    Args:
        length_samples: Samples of a clip.
        channels: 1 for mono, 2 for stereo.
        fft_samples: Length of a frame, a power of two.
        hop_samples: Samples between frames.
        griffin_lim_iterations: Iterations of the Griffin-Lim algorithm in `decode`.
        **kwargs: Keyword arguments of `Spectrogram`, such as `name`.

    Shape of examples: `(batch, frames, fft_samples / 2, channels)`, by default `(batch, 128, 128, 1)`.

    Raises:
        ValueError: `griffin_lim_iterations` is below 0.
        InputError: It is used before `adapt`, adapted to no data or to sounds that do not differ, or the sizes of the
            transform do not fit, see `Spectrogram`.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", section 3.4. https://arxiv.org/abs/1802.04208

    Example:
        >>> logspec = LogSpec()
        >>> logspec.adapt([tf.random.uniform((8, 16384), -1, 1)])
        >>> logspec.encode(tf.zeros((2, 16384))).shape
        TensorShape([2, 128, 128, 1])
    """

    def __init__(
        self,
        length_samples: int = 16384,
        channels: int = 1,
        fft_samples: int = 256,
        hop_samples: int = 128,
        *,
        griffin_lim_iterations: int = 32,
        **kwargs: Any,
    ):
        super().__init__(length_samples, channels, fft_samples, hop_samples, **kwargs)
        self.griffin_lim_iterations = checked_iterations(griffin_lim_iterations)
        options = {"shape": (self.bins + 1,), "initializer": "zeros", "trainable": False}
        self.mean = self.add_weight(name="mean", **options)
        self.stddev = self.add_weight(name="stddev", **options)

    def adapt(self, batches: Iterable[np.ndarray | tf.Tensor]) -> None:
        count, mean, squared_deviations = 0, 0.0, 0.0  # merged per batch (Chan et al. 1979); sums of squares lose precision
        for batch in batches:
            levels = self._levels(self.transform(tf.convert_to_tensor(batch, tf.float32))).numpy().astype(np.float64)
            levels = levels.reshape(-1, self.bins + 1)
            gap = levels.mean(axis=0) - mean
            count, before = count + len(levels), count
            mean = mean + gap * len(levels) / count
            squared_deviations = squared_deviations + levels.var(axis=0) * len(levels) + gap**2 * before * len(levels) / count
        if not count:
            raise InputError("Statistics need at least one batch of sounds. Received: none.")
        stddev = np.sqrt(squared_deviations / count)
        if stddev.min() < LEAST_STDDEV:
            raise InputError("The levels of the data must vary in every bin. Received: sounds that do not, such as silence.")
        self.mean.assign(mean)
        self.stddev.assign(stddev)

    def encode_transform(self, transform):
        self._require_statistics()
        standardised = (self._levels(transform) - self.mean) / self.stddev
        return tf.clip_by_value(standardised[:, tf.newaxis, :, :-1] / CLIPPED_STDDEVS, -1.0, 1.0)

    def decode_features(self, features):
        return self.without_clicks(griffin_lim(self._magnitudes(features), *self.framing, self.griffin_lim_iterations))

    def feature_levels_db(self, features):
        return decibels(self._magnitudes(features)[..., :-1] / self.full_scale)

    def _levels(self, transform):
        return tf.math.log(magnitude(scaled(transform, self.full_scale)) + EPSILON)

    def _magnitudes(self, features):
        self._require_statistics()
        standardised = tf.pad(CLIPPED_STDDEVS * features[:, 0], [[0, 0], [0, 0], [0, 1]])
        return tf.maximum(tf.exp(standardised * self.stddev + self.mean) - EPSILON, 0.0)

    def _require_statistics(self):
        with tf.init_scope():  # reads the values of the weights, also while a graph is traced
            if not np.all(self.stddev.numpy()):
                raise InputError("A LogSpec must be adapted to the data first: logspec.adapt(batches of audio).")

    def get_config(self):
        return {**super().get_config(), "griffin_lim_iterations": self.griffin_lim_iterations}
