"""An independent embedding, trained on other data: the music tagger musicnn, from the package of that name."""

import importlib.util
from pathlib import Path

import keras
import librosa
import numpy as np
import soxr
import tensorflow as tf
from tqdm import tqdm

from kgan.audio.signal import mono
from kgan.errors import InputError

PACKAGE = "musicnn"
RATE_HZ, FFT_SAMPLES, HOP_SAMPLES, BINS = 16_000, 512, 256, 96
GAIN = 1e4  # of the power, before the logarithm
CHECKPOINT = "MTT_musicnn"  # trained on MagnaTagATune, whose tags name instruments
BATCH_SIZE = 64


def musicnn_folder():
    """Return the folder of the package `musicnn`, which is not imported because it needs TensorFlow 1.

    Raises:
        InputError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None:
        raise InputError(
            "The metric musicnn needs the package musicnn: pip install --no-deps musicnn==0.1.0. Received: no such package."
        )
    return Path(found.submodule_search_locations[0])


class Musicnn:
    """Embeds sounds with the penultimate layer of musicnn, 200 features.

    musicnn was trained on windows of 3 s. As its features are pooled over time, it takes clips of any length; each clip is one
    window, neither padded nor cut. Sounds with another sample rate are resampled to its 16 kHz.

    Raises:
        InputError: the package `musicnn` is not installed.

    Reference: Pons and Serra 2019, "musicnn: Pre-trained convolutional neural networks for music audio tagging".
        https://arxiv.org/abs/1909.06654
    """

    def __init__(self):
        network = musicnn_network(tf.compat.v1.train.NewCheckpointReader(f"{musicnn_folder() / CHECKPOINT}/"))
        self._embed = tf.function(
            lambda audio: network(log_mel(audio), training=False), input_signature=[tf.TensorSpec([None, None], tf.float32)]
        )

    def embed(self, sounds, progress=False):
        """Return the features of `Sounds`, float32 `(count, 200)`."""
        features = []
        for start in tqdm(range(0, len(sounds), BATCH_SIZE), "Embedding", unit="batch", leave=False, disable=not progress):
            audio = mono(sounds.waveforms(slice(start, start + BATCH_SIZE)))
            if sounds.sample_rate_hz != RATE_HZ:
                audio = np.stack([soxr.resample(clip, sounds.sample_rate_hz, RATE_HZ) for clip in audio])
            features.append(self._embed(audio).numpy())
        return np.concatenate(features)


def log_mel(audio):
    """Return musicnn's input, log10(1 + 1e4 power) of 96 mel bins: `(batch, samples)` -> `(batch, frames, 96)`."""
    padded = tf.pad(audio, [[0, 0], [FFT_SAMPLES // 2, FFT_SAMPLES // 2]])
    power = tf.square(tf.abs(tf.signal.stft(padded, FFT_SAMPLES, HOP_SAMPLES)))
    filters = librosa.filters.mel(sr=RATE_HZ, n_fft=FFT_SAMPLES, n_mels=BINS).T
    return tf.math.log(1.0 + GAIN * power @ filters) / tf.math.log(10.0)


def musicnn_network(checkpoint):
    """Return musicnn up to its penultimate layer: `(batch, frames, 96)` -> `(batch, 200)`.

    Args:
        checkpoint: reader of musicnn's TensorFlow 1 checkpoint.
    """
    layers = keras.layers
    counts = {"conv2d": 0, "batch_normalization": 0, "dense": 0}  # the checkpoint numbers variables in order

    def applied(layer, kind, names, x):
        y = layer(x)
        prefix = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        values = (checkpoint.get_tensor(f"{prefix}/{name}") for name in names)
        layer.set_weights([value.reshape(weight.shape) for value, weight in zip(values, layer.weights, strict=True)])
        return y

    def normalised(x):
        names = "gamma", "beta", "moving_mean", "moving_variance"
        return applied(layers.BatchNormalization(), "batch_normalization", names, x)

    def convolved(layer, x):
        return normalised(applied(layer, "conv2d", ("kernel", "bias"), x))

    def strongest_over_bins(x):
        return layers.Reshape((-1, x.shape[3]))(layers.MaxPooling2D((1, x.shape[2]))(x))

    levels = keras.Input((None, BINS))
    x = normalised(layers.Reshape((-1, BINS, 1))(levels))
    in_time = layers.ZeroPadding2D((3, 0))(x)
    front = [convolved(layers.Conv2D(204, (7, height), activation="relu"), in_time) for height in (38, 67)]
    front += [convolved(layers.Conv2D(51, (taps, 1), padding="same", activation="relu"), x) for taps in (128, 64, 32)]
    middle = [layers.Concatenate()([strongest_over_bins(each) for each in front])]
    for _ in range(3):
        y = convolved(layers.Conv1D(64, 7, padding="same", activation="relu"), middle[-1])
        middle.append(y if len(middle) == 1 else y + middle[-1])
    y = layers.Concatenate()(middle)
    pooled = [layers.Reshape((-1, 1))(pool()(y)) for pool in (layers.GlobalMaxPooling1D, layers.GlobalAveragePooling1D)]
    y = normalised(layers.Flatten()(layers.Concatenate()(pooled)))  # maximum and mean of each feature, interleaved
    return keras.Model(levels, normalised(applied(layers.Dense(200, activation="relu"), "dense", ("kernel", "bias"), y)))
