"""Critics of the sound beside the critic of its representation, each at a resolution of its own.

Reference: Jang et al. 2021, "UnivNet", section 2.2: a discriminator for each of several spectrograms of the waveform.
https://arxiv.org/abs/2106.07889
"""

import keras
import numpy as np
import tensorflow as tf

from kgan.audio.spectral import magnitude, stft
from kgan.networks.spectrogram import spectrogram_critic

FLOOR = 1e-4  # of magnitudes, -80 dB


@keras.saving.register_keras_serializable(package="kgan")
class Sound(keras.layers.Layer):
    """The audio of examples, float32 `(batch, samples, channels)`: a representation's way back, as a layer of a network.

    Args:
        representation: the layer whose `decode` it is.

    Input shape: the representation's, `(batch, *example_shape)`.
    """

    def __init__(self, representation, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.representation = representation

    def call(self, examples):
        audio = self.representation.decode(tf.cast(examples, tf.float32))
        return audio[..., tf.newaxis] if audio.shape.rank == 2 else audio

    def compute_output_spec(self, inputs):
        """Say the shape without a call: a representation may have no statistics yet."""
        shape = (inputs.shape[0], self.representation.length_samples, self.representation.channels)
        return keras.KerasTensor(shape, "float32")

    def get_config(self):
        return {**super().get_config(), "representation": keras.saving.serialize_keras_object(self.representation)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "representation": keras.saving.deserialize_keras_object(config["representation"])})


@keras.saving.register_keras_serializable(package="kgan")
class LogMagnitudes(keras.layers.Layer):
    """Log magnitudes of a short-time Fourier transform, float32: -1 below -80 dB, 1 for a sine at full scale.

    Args:
        fft_samples: length of a frame; the next one begins a quarter of it later.

    Input shape: `(batch, samples, channels)`, the samples a multiple of a quarter of `fft_samples`.
    Output shape: `(batch, 4 * samples / fft_samples, fft_samples / 2, channels)`.

    Raises:
        ValueError: the frames do not divide the samples.
    """

    def __init__(self, fft_samples, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.fft_samples, self.hop_samples = fft_samples, fft_samples // 4

    def call(self, audio):
        outside = self.fft_samples - self.hop_samples
        framing = self.fft_samples, self.hop_samples, (outside // 2, outside - outside // 2)
        transform = stft(tf.transpose(audio, (0, 2, 1)) / (self.fft_samples / 4), *framing)
        levels = 1.0 - tf.math.log(magnitude(transform) + FLOOR) * np.float32(2.0 / np.log(FLOOR))
        return tf.transpose(levels[..., :-1], (0, 2, 3, 1))

    def compute_output_shape(self, input_shape):
        batch, samples, channels = input_shape
        if samples % self.hop_samples:
            raise ValueError(f"Samples must be a multiple of {self.hop_samples}. Received: {samples}")
        return batch, samples // self.hop_samples, self.fft_samples // 2, channels

    def get_config(self):
        return {**super().get_config(), "fft_samples": self.fft_samples}


def with_stft_critics(critic, representation, fft_samples=(512, 1024, 2048), **options):
    """Return a critic with further scores of the sound at several resolutions, before those of `critic`.

    Args:
        critic: a `keras.Model` from examples to scores and logits, `(batch, outputs)`.
        representation: of the examples.
        fft_samples: lengths of transforms, one critic for each.
        **options: of each `spectrogram_critic`.

    Returns:
        A `keras.Model` from examples to `(batch, len(fft_samples) + outputs)`.
    """
    examples = keras.Input(critic.input_shape[1:], name="examples")
    sound = Sound(representation)(examples)
    scores = []
    for each in fft_samples:
        picture = LogMagnitudes(each)(sound)
        of_sound = spectrogram_critic(picture.shape[1:], **options)
        scores.append(keras.Model(of_sound.input, of_sound.output, name=f"stft_critic_{each}")(picture))
    return keras.Model(examples, keras.layers.Concatenate(dtype="float32")([*scores, critic(examples)]), name="critics")
