import keras
import tensorflow as tf

FLOOR_DB = -60.0  # relative to a clip's strongest mel bin; lower levels are hardly audible beside it
OFFSET = 1e-6  # added to magnitudes, to keep the logarithm of silence finite


@keras.saving.register_keras_serializable(package="kgan")
class LogMel(keras.layers.Layer):
    """Log mel spectrograms with an audible floor: float32 `(batch, samples)` -> `(batch, frames, bins)`.

    Magnitudes of a Hann-windowed Fourier transform are summed over triangular filters on HTK's mel scale. A floor is added
    before the logarithm: 60 dB below the clip's strongest mel bin, plus 1e-6. The paper has no such floor. Without it,
    inaudible parts such as the silence after a note take up half of the range of the logarithms.

    Args:
        sample_rate_hz: samples per second.
        fft_samples, hop_samples: window and hop length of the transform.
        bins: number of mel bins.
        low_hz, high_hz: frequency range of the bins; the upper limit is at most half the sample rate.

    Reference: Donahue et al. 2019, "Adversarial Audio Synthesis", sections 5.1 and 5.2. https://arxiv.org/abs/1802.04208
    """

    def __init__(self, sample_rate_hz, fft_samples, hop_samples=128, bins=128, low_hz=40.0, high_hz=7800.0, **kwargs):
        super().__init__(**kwargs | {"dtype": "float32", "trainable": False})
        self._options = {
            "sample_rate_hz": sample_rate_hz, "fft_samples": fft_samples, "hop_samples": hop_samples, "bins": bins,
            "low_hz": low_hz, "high_hz": high_hz,
        }  # fmt: skip
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

    def build(self, input_shape):
        self._mel.build(input_shape)

    def call(self, audio):
        mel = tf.transpose(self._mel(audio), [0, 2, 1])
        strongest = tf.reduce_max(mel, axis=[1, 2], keepdims=True)
        return tf.math.log(mel + 10.0 ** (FLOOR_DB / 20.0) * strongest + OFFSET)

    def get_config(self):
        return super().get_config() | self._options
