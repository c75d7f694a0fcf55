import keras
import tensorflow as tf

from kgan.representations.representation import Representation


@keras.saving.register_keras_serializable(package="kgan")
class Wave(Representation):
    """The waveform itself: a network sees every sample.

    Args: those of `Representation`.

    Network's shape: `(batch, samples, channels)`.

    Example:
        >>> Wave().encode(tf.zeros((2, 16384))).shape
        TensorShape([2, 16384, 1])
    """

    @property
    def example_shape(self):
        return (self.length_samples, self.channels)

    def encode(self, audio):
        audio = tf.convert_to_tensor(audio)
        return audio if audio.shape.rank == 3 else audio[..., tf.newaxis]

    def decode(self, x):
        return tf.squeeze(x, axis=-1) if x.shape[-1] == 1 else x
