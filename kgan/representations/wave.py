import keras
import numpy as np
import tensorflow as tf

from kgan.representations.representation import Representation


@keras.saving.register_keras_serializable(package="kgan")
class Wave(Representation):
    """The waveform itself: a network sees every sample.

    `encode` accepts clips of any length and any number of channels; `example_shape` follows from the arguments.

    Args:
        length_samples: Samples of a clip.
        channels: 1 for mono, 2 for stereo.
        dtype: `"float32"`.
        **kwargs: Keyword arguments of `Representation`, such as `name`.

    Shape of examples: `(batch, samples, channels)`.

    Example:
        >>> Wave().encode(tf.zeros((2, 16384))).shape
        TensorShape([2, 16384, 1])
    """

    @property
    def example_shape(self) -> tuple[int, int]:
        return (self.length_samples, self.channels)

    def encode(self, audio: np.ndarray | tf.Tensor) -> tf.Tensor:
        audio = tf.convert_to_tensor(audio)
        return audio if audio.shape.rank == 3 else audio[..., tf.newaxis]

    def compute_output_shape(self, input_shape):
        return tuple(input_shape) if len(input_shape) == 3 else (*input_shape, 1)

    def decode(self, x: tf.Tensor) -> tf.Tensor:
        return tf.squeeze(x, axis=-1) if x.shape[-1] == 1 else x
