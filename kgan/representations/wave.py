import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="kgan")
class Wave(keras.layers.Layer):
    """The waveform itself: a network sees every sample.

    Audio shape: float32 `(batch, samples)` in [-1, 1], or `(batch, samples, channels)` for more channels than one.
    Network's shape: `(batch, samples, channels)`.

    Example:
        >>> Wave().encode(tf.zeros((2, 16384))).shape
        TensorShape([2, 16384, 1])
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True  # it has no weights

    def encode(self, audio):
        return audio if audio.shape.rank == 3 else audio[..., tf.newaxis]

    def decode(self, x):
        return tf.squeeze(x, axis=-1) if x.shape[-1] == 1 else x

    def call(self, audio):
        return self.encode(audio)
