from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgan.audio.spectral import (
    TINY,
    decibels,
    griffin_lim,
    mel_matrices,
    multiply_banded,
    nearest_mel_bins,
    squared_magnitude,
    unit_phasor,
)
from kgan.errors import InputError
from kgan.representations.spectrogram import Spectrogram, checked_iterations

FLOOR = 1e-4  # magnitude, -80 dB; levels and phases below it are not worth learning
LEVEL_RANGE = 0.8  # levels of the data are scaled to [-0.8, 0.8], because tanh reaches 1 only at infinity


@keras.saving.register_keras_serializable(package="kgan")
class MelIF(Spectrogram):
    """GANSynth's representation: log magnitude and instantaneous frequency on the mel scale.

    The instantaneous frequency of a bin is the advance of its phase from frame to frame, in units of pi, [-1, 1]. A steady
    partial has a constant value, and decoded phases are coherent. If a mel bin covers several linear bins, its frequency is
    the angle of the sum of X_t conj(X_t-1): the strongest partial dominates, and no phase unwrapping is needed. The first
    frame holds the phase itself. Frequencies of bins near the floor of -80 dB fade to 0. The level is that of the mean power
    in a mel bin, scaled so that the range of the data given to `adapt` becomes [-0.8, 0.8].

    Args:
        length_samples: Samples of a clip.
        channels: 1 for mono, 2 for stereo.
        fft_samples: Length of a frame, a power of two; 2048 for GANSynth's high frequency resolution.
        hop_samples: Samples between frames; 512 for that resolution.
        sample_rate_hz: Sample rate, for the mel scale.
        griffin_lim_iterations: Iterations of the Griffin-Lim algorithm in `decode`, starting from the decoded phases.
        **kwargs: Keyword arguments of `Spectrogram`, such as `name`.

    Shape of examples: `(batch, frames, fft_samples / 2, 2 * channels)`, by default `(batch, 64, 512, 2)`.

    Raises:
        ValueError: `griffin_lim_iterations` is below 0.
        InputError: It is used before `adapt`, adapted to no data or to silence, or the sizes of the transform do not fit, see
            `Spectrogram`.

    Reference: Engel et al. 2019, "GANSynth: Adversarial Neural Audio Synthesis", section 2. https://arxiv.org/abs/1902.08710

    Example:
        >>> melif = MelIF()
        >>> melif.adapt([tf.random.uniform((8, 16384), -1, 1)])
        >>> melif.encode(tf.zeros((2, 16384))).shape
        TensorShape([2, 64, 512, 2])
    """

    features = 2

    def __init__(
        self,
        length_samples: int = 16384,
        channels: int = 1,
        fft_samples: int = 1024,
        hop_samples: int = 256,
        sample_rate_hz: int = 16000,
        griffin_lim_iterations: int = 2,
        **kwargs: Any,
    ):
        super().__init__(length_samples, channels, fft_samples, hop_samples, **kwargs)
        self.sample_rate_hz = sample_rate_hz
        self.griffin_lim_iterations = checked_iterations(griffin_lim_iterations)
        self._to_mel, self._from_mel = mel_matrices(self.bins + 1, sample_rate_hz)
        self._mel_of_linear = nearest_mel_bins(self.bins + 1, sample_rate_hz)
        self.level_range = self.add_weight(name="level_range", shape=(2,), initializer="zeros", trainable=False)

    def adapt(self, batches: Iterable[np.ndarray | tf.Tensor]) -> None:
        extremes = []
        for batch in batches:
            levels = self._levels(squared_magnitude(self.transform(tf.convert_to_tensor(batch, tf.float32))))
            extremes.append((tf.reduce_min(levels), tf.reduce_max(levels)))
        if not extremes:
            raise InputError("Statistics need at least one batch of sounds. Received: none.")
        low, high = min(low for low, _ in extremes), max(high for _, high in extremes)
        if high - low < 1e-3:
            raise InputError("The levels of the data must vary. Received: sounds that do not, such as silence.")
        self.level_range.assign((low, high))

    def encode_transform(self, transform):
        low, high = self._range()
        real, imag = transform
        slope = 2.0 * LEVEL_RANGE / (high - low)  # constants are combined: each pass over a batch takes milliseconds
        levels = slope * self._levels(tf.square(real) + tf.square(imag)) - (slope * low + LEVEL_RANGE)
        # X_t conj(X_t-1), with 1 before the first frame
        real_before = tf.concat([tf.ones_like(real[:, :1]), real[:, :-1]], axis=1)
        imag_before = tf.concat([tf.zeros_like(imag[:, :1]), imag[:, :-1]], axis=1)
        sine = multiply_banded(imag * real_before - real * imag_before, self._to_mel)
        cosine = multiply_banded(real * real_before + imag * imag_before, self._to_mel)
        return tf.stack([tf.clip_by_value(levels, -1.0, 1.0), tf.atan2(sine, cosine + FLOOR**2) / np.pi], axis=1)

    def decode_features(self, features):
        powers = tf.exp(2.0 * self._decoded_levels(features)) - FLOOR**2
        powers = tf.maximum(tf.tensordot(powers, self._from_mel, 1), 0.0)
        phases = tf.cumsum(tf.gather(features[:, 1], self._mel_of_linear, axis=2), axis=1)
        magnitudes, start = tf.sqrt(tf.maximum(powers, TINY**2)) * self.full_scale, unit_phasor(np.pi * phases)
        return self.without_clicks(griffin_lim(magnitudes, *self.framing, self.griffin_lim_iterations, start))

    def feature_levels_db(self, features):
        return decibels(tf.exp(self._decoded_levels(features)))

    def _levels(self, powers):
        return 0.5 * tf.math.log(multiply_banded(powers, self._to_mel) + FLOOR**2)

    def _decoded_levels(self, features):
        low, high = self._range()
        return low + (features[:, 0] / LEVEL_RANGE + 1.0) / 2.0 * (high - low)

    def _range(self):
        with tf.init_scope():  # reads the value of the weight, also while a graph is traced
            if not np.any(self.level_range.numpy()):
                raise InputError("A MelIF must be adapted to the data first: melif.adapt(batches of audio).")
        return tf.unstack(tf.convert_to_tensor(self.level_range))

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate_hz": self.sample_rate_hz,
            "griffin_lim_iterations": self.griffin_lim_iterations,
        }
