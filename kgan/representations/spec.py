from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from kgan.audio.spectral import TINY, Transform, decibels
from kgan.representations.spectrogram import Spectrogram

COMPANDINGS = ("log", "raw")
LARGEST = 2.0  # largest possible magnitude, of a constant at full scale; a full-scale sine has 1
MU = 1000.0
LOG_OF_WHOLE = float(np.log1p(MU))


@keras.saving.register_keras_serializable(package="kgan")
class Spec(Spectrogram):
    """The complex spectrogram: the real and imaginary part of every bin, invertible without loss.

    `companding="log"` maps magnitudes r, of which the largest possible is 1, into the range of tanh by
    log(1 + 1000 r) / log(1001), and keeps phases. `"raw"` uses the values of the transform, far outside that range, as this
    representation was first trained. The bin at half the sample rate is stored in place of the imaginary part at 0 Hz, which
    is always zero. The number of bins is therefore a power of two, and nothing is lost.

    Args:
        length_samples: Samples of a clip.
        channels: 1 for mono, 2 for stereo.
        fft_samples: Length of a frame, a power of two.
        hop_samples: Samples between frames.
        companding: `"log"` or `"raw"`.
        **kwargs: Keyword arguments of `Spectrogram`, such as `name`.

    Shape of examples: `(batch, frames, fft_samples / 2, 2 * channels)`, by default `(batch, 128, 128, 2)`.

    Raises:
        ValueError: `companding` is neither of the two.
        InputError: The sizes of the transform do not fit, see `Spectrogram`.

    Example:
        >>> Spec().encode(tf.zeros((2, 16384))).shape
        TensorShape([2, 128, 128, 2])
    """

    features = 2

    def __init__(
        self,
        length_samples: int = 16384,
        channels: int = 1,
        fft_samples: int = 256,
        hop_samples: int = 128,
        *,
        companding: Literal["log", "raw"] = "log",
        **kwargs: Any,
    ):
        super().__init__(length_samples, channels, fft_samples, hop_samples, **kwargs)
        if companding not in COMPANDINGS:
            raise ValueError(f'`companding` must be "log" or "raw". Received: companding={companding!r}')
        self.companding = companding

    def encode_transform(self, transform):
        real = transform.real[..., :-1]
        imag = tf.concat([transform.real[..., -1:], transform.imag[..., 1:-1]], axis=-1)
        features = tf.stack([real, imag], axis=1)
        if self.companding == "raw":
            return features * self.full_scale
        return _with_magnitudes(features / LARGEST, lambda r: tf.math.log1p(MU * r) / LOG_OF_WHOLE)

    def decode_features(self, features):
        real, imag = tf.unstack(self._expanded(features), axis=1)
        real = tf.concat([real, imag[..., :1]], axis=-1)
        imag = tf.pad(imag[..., 1:], [[0, 0], [0, 0], [1, 1]])
        return self.inverse_transform(Transform(real, imag))

    def feature_levels_db(self, features):
        expanded = self._expanded(features)
        lowest = tf.abs(expanded[:, 0, :, :1])  # its imaginary part is the bin at half the sample rate
        return decibels(tf.concat([lowest, _magnitudes(expanded)[:, 0, :, 1:]], axis=-1))

    def _expanded(self, features):
        if self.companding == "raw":
            return features / self.full_scale
        return LARGEST * _with_magnitudes(features, lambda r: (tf.exp(tf.minimum(r, 1.0) * LOG_OF_WHOLE) - 1.0) / MU)

    def get_config(self):
        return {**super().get_config(), "companding": self.companding}


def _with_magnitudes(features, law):
    """Map the magnitudes r of complex features to law(r), and keep their phases."""
    r = _magnitudes(features)
    return features * (law(r) / r)


def _magnitudes(features):
    """Return magnitudes `(batch, 1, frames, bins)` of `(batch, 2, frames, bins)`, with a finite gradient at zero."""
    real, imag = tf.split(features, 2, axis=1)
    return tf.sqrt(tf.maximum(tf.square(real) + tf.square(imag), TINY**2))
