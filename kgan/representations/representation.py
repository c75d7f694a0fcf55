import keras


class Representation(keras.layers.Layer):
    """What a network sees in place of audio: a layer with a way there, `encode`, and back, `decode`.

    It computes in float32 under any precision. Statistics of the data are weights, so they are saved with it.

    Args:
        length_samples: samples of a clip.
        channels: 1 for mono, 2 for stereo.

    Attributes:
        example_shape: shape of what a network sees of one clip, the last axis its channels.
        label_kinds: kinds of labels that `encode` and `decode` take beside what they convert, each `(batch,)`.
        encodes_once: whether to encode a set of sounds once, because that takes too long for every iteration.

    Audio shape: float32 `(batch, samples)` in [-1, 1], or `(batch, samples, channels)` for more channels than one.
    """

    label_kinds = ()
    encodes_once = False

    def __init__(self, length_samples=16384, channels=1, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        for name, value in (("length_samples", length_samples), ("channels", channels)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1. Received: {name}={value}")
        self.length_samples = length_samples
        self.channels = channels
        self.built = True  # what weights there are, subclasses make at once

    @property
    def example_shape(self):
        raise NotImplementedError

    def adapt(self, batches):
        """Learn the statistics of the data from an iterable of audio batches. The base needs none and reads nothing."""

    def encode(self, audio, *labels):
        """Return what a network sees of audio, `(batch, *example_shape)`."""
        raise NotImplementedError

    def decode(self, x, *labels):
        """Return the audio of what a network made."""
        raise NotImplementedError

    def levels_db(self, x):
        """Return a picture of what a network made: decibels, `(batch, frames, bins)`; None where there is nothing to see.

        0 dB is a sine at full scale; a bin that averages several shows their mean power. Stereo shows its first channel.
        """
        return None

    def call(self, audio):
        return self.encode(audio)

    def get_config(self):
        return {**super().get_config(), "length_samples": self.length_samples, "channels": self.channels}
