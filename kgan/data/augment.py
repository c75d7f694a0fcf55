"""Random data augmentation. All augmentations are off by default."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from kgan.errors import InputError
from kgan.quiet import import_tensorflow_io_quietly


@dataclass(frozen=True)
class Augmentation:
    """Which augmentations to apply, and how strongly. Random values are drawn each time a sound is used, from a seed.

    Attributes:
        gain_db: maximum change of the level in decibels, up or down; samples beyond full scale are clipped.
        polarity: whether to invert the waveform with a probability of one half.
        pitch_semitones: maximum change of the playback speed in semitones, up or down, like a tape.
        shift_samples: maximum shift in samples, earlier or later; the gap is silent.
        fade_samples: length of the linear fade-in and fade-out in samples.
        frequency_mask_bins: maximum number of neighbouring spectrogram bins that are replaced by those of silence.
        time_mask_frames: maximum number of neighbouring spectrogram frames that are replaced by those of silence.

    The generator also learns to generate masks. They are meant for small sets, where that is better than memorising the sounds.

    Reference for the masks: Park et al. 2019, "SpecAugment", section 2. https://arxiv.org/abs/1904.08779
    """

    gain_db: float = 0.0
    polarity: bool = False
    pitch_semitones: float = 0.0
    shift_samples: int = 0
    fade_samples: int = 0
    frequency_mask_bins: int = 0
    time_mask_frames: int = 0

    def of_audio(self, audio, seed):
        """Augment float32 audio `(batch, samples[, channels])`, each example with its own random values.

        Args:
            audio: audio in [-1, 1].
            seed: stateless seed, int32 `(2,)`.

        Raises:
            InputError: a fade is longer than half the sound.
        """
        count, length = tf.shape(audio)[0], audio.shape[1]
        per_example = [-1] + [1] * (audio.shape.rank - 1)

        def draw(number, low, high):
            return tf.random.stateless_uniform([count], _folded(seed, number), low, high)

        if self.pitch_semitones:
            audio = _at_speed(audio, 2.0 ** (draw(0, -self.pitch_semitones, self.pitch_semitones) / 12.0))
        if self.shift_samples:
            audio = _shifted(audio, tf.cast(tf.round(draw(1, -self.shift_samples, self.shift_samples)), tf.int32))
        if self.fade_samples:
            if 2 * self.fade_samples > length:
                raise InputError(f"`fade_samples` must be at most half a clip, {length // 2}. Received: {self.fade_samples}.")
            audio = _faded(audio, self.fade_samples)
        if self.gain_db:
            gain = 10.0 ** (draw(2, -self.gain_db, self.gain_db) / 20.0)
            audio = tf.clip_by_value(audio * tf.reshape(gain, per_example), -1.0, 1.0)
        if self.polarity:
            audio *= tf.reshape(tf.where(draw(3, -1.0, 1.0) < 0.0, -1.0, 1.0), per_example)
        return audio

    def of_spectrogram(self, x, silence, seed):
        """Mask `(batch, frames, bins, channels)` with the spectrogram of silence, `(1, frames, bins, channels)`."""
        for number, (axis, widest) in enumerate(((1, self.time_mask_frames), (2, self.frequency_mask_bins))):
            if widest:
                x = tf.where(_mask(tf.shape(x)[0], x.shape, axis, widest, _folded(seed, 4 + number)), silence, x)
        return x


_folded = tf.random.experimental.stateless_fold_in


def _at_speed(audio, speeds):
    """Change the playback speed of each example by a factor, by linear interpolation; beyond its end is silence."""
    length = audio.shape[1]
    places = speeds[:, None] * tf.range(length, dtype=tf.float32)
    below = tf.floor(places)
    share = tf.reshape(places - below, [-1, length] + [1] * (audio.shape.rank - 2))
    padded = tf.pad(audio, [[0, 0], [0, 2], *[[0, 0]] * (audio.shape.rank - 2)])
    below = tf.minimum(tf.cast(below, tf.int32), length)
    return (1.0 - share) * tf.gather(padded, below, batch_dims=1) + share * tf.gather(padded, below + 1, batch_dims=1)


def _shifted(audio, shifts):
    """Delay each example by a number of samples; negative shifts move it earlier."""
    length = audio.shape[1]
    places = tf.range(length) - shifts[:, None]
    inside = tf.reshape((places >= 0) & (places < length), [-1, length] + [1] * (audio.shape.rank - 2))
    return tf.where(inside, tf.gather(audio, tf.clip_by_value(places, 0, length - 1), batch_dims=1), 0.0)


def _faded(audio, samples):
    """Fade examples in and out with tensorflow-io or, if it is not installed, with the same result without it."""
    tensorflow_io = import_tensorflow_io_quietly()
    if tensorflow_io is not None:
        order = [1, 0, 2][: audio.shape.rank]  # tensorflow-io fades along the first axis
        return tf.transpose(tensorflow_io.audio.fade(tf.transpose(audio, order), samples, samples, "linear"), order)
    rise, rest = tf.linspace(0.0, 1.0, samples), tf.ones([audio.shape[1] - samples])
    gain = tf.concat([rise, rest], 0) * tf.concat([rest, 1.0 - rise], 0)
    return audio * tf.reshape(gain, [-1] + [1] * (audio.shape.rank - 2))


def _mask(count, shape, axis, widest, seed):
    """Return a boolean mask that broadcasts to `shape`: for each example, a run of 0 to `widest` along `axis`."""
    size = shape[axis]
    widths = tf.random.stateless_uniform([count], _folded(seed, 0), 0, min(widest, size) + 1, dtype=tf.int32)
    starts = tf.random.stateless_uniform([count], _folded(seed, 1))
    starts = tf.cast(starts * tf.cast(size - widths + 1, tf.float32), tf.int32)
    place = tf.range(size)
    run = (place >= starts[:, None]) & (place < (starts + widths)[:, None])
    return tf.reshape(run, [-1, *np.where(np.arange(1, len(shape)) == axis, size, 1)])
