import keras
import tensorflow as tf

OFFSET = 1e-6


class LogMel(keras.layers.Layer):
    """Log mel spectrograms: float32 `(batch, samples)` -> `(batch, frames, bins)`.

    The logarithm of 1e-6 plus the magnitudes of a Hann-windowed transform, summed over triangles on HTK's mel scale.

    Args:
        sample_rate_hz: samples per second.
        fft_samples, hop_samples: of the transform.
        bins: mel bins.
        low_hz, high_hz: where they begin and end; the end is at most half the rate.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", sections 5.1 and 5.2. https://arxiv.org/abs/1802.04208
    """

    def __init__(self, sample_rate_hz, fft_samples, hop_samples=128, bins=128, low_hz=40.0, high_hz=7800.0, **kwargs):
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self._mel = keras.layers.MelSpectrogram(
            fft_length=fft_samples,
            sequence_stride=hop_samples,
            sequence_length=fft_samples,
            sampling_rate=sample_rate_hz,
            num_mel_bins=bins,
            min_freq=low_hz,
            max_freq=min(high_hz, sample_rate_hz / 2),
            power_to_db=False,
            mag_exp=1.0,
            dtype="float32",
        )

    def call(self, audio):
        return tf.math.log(tf.transpose(self._mel(audio), [0, 2, 1]) + OFFSET)
