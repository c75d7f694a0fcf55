"""From latents to audio: the one place where a representation is decoded."""

import contextlib
from typing import Protocol, runtime_checkable

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.audio.files import wav_names, write_wav
from kgan.audio.fourier import portable
from kgan.errors import InputError
from kgan.files import new_folder, whole_folder
from kgan.networks import FoldedConv1DTranspose, StridedConv1DTranspose
from kgan.noise import folded_seed, latent_noise

BATCH_SIZE = 64  # sounds made at once by `generate`


@runtime_checkable
class SoundMaker(Protocol):
    """What makes sounds on request: a `Synthesizer` on this machine, a `Client` of a server."""

    def generate(self, latents=None, labels=None, *, count=None, seed=0, progress=False):
        """Return audio, float32 `(count, samples[, channels])`, see `Synthesizer.generate`."""

    def write_wavs(self, folder, latents=None, labels=None, *, count=None, seed=0, progress=False):
        """Write WAV files to a new folder and return their paths, see `Synthesizer.write_wavs`."""


class Synthesizer:
    """Makes sounds of latents and labels. `kgan.load` returns one, of a run or of a SavedModel.

    Previews, files, scores and SavedModels all come from here, so they cannot disagree. Subclasses have `audio` and `weights`.

    Attributes:
        sample_rate_hz: samples per second of the audio.
        latent_dim: width of a latent.
        latent_distribution: `"normal"`, N(0, 1), or `"uniform"`, U(-1, 1).
        labels: the `Labels` that sounds can be asked for by; without any kind where the GAN is unconditional.
        step: iterations that the weights have been trained for.

    Example:
        >>> synthesizer = kgan.load("saved_models/notes_fast")
        >>> synthesizer.generate(count=4, seed=7, labels={"pitch": "C4", "family": "organ"}).shape
        (4, 16384)
    """

    def audio(self, latents, *labels):
        """Return audio as tensors: `(batch, samples[, channels])` in [-1, 1].

        Args:
            latents: `(batch, latent_dim)`.
            *labels: int32 `(batch,)` for each kind of `labels`, in their order.
        """
        raise NotImplementedError

    @property
    def weights(self):
        """float32 arrays: the weights of the generator, and those of the representation."""
        raise NotImplementedError

    def levels_db(self, latents, labels=None):
        """Return what the generator made before it was decoded, as decibels `(batch, frames, bins)`; None where it is unknown.

        Args: those of `generate`.
        """
        return None

    def latents(self, count, seed=0, first=0):
        """Return latents `first` to `first + count`, float32 `(count, latent_dim)`. Each depends on seed and number alone."""
        # Tensors, not Python's integers: the graph would be traced again for every other count and seed.
        count, seed, first = tf.constant(count), tf.constant(seed, tf.int64), tf.constant(first, tf.int64)
        return item_latents(count, seed, self.latent_dim, self.latent_distribution, first).numpy()

    def chosen_labels(self, count, asked=None, seed=0, first=0):
        """Return labels for `count` sounds, `{kind: int32 (count,)}`: those asked for, the rest drawn as the data has them.

        Number i depends on the seed and on i alone.

        Args:
            count: how many sounds.
            asked: `{kind: a value or (count,) values}`; a value is an integer or a text, such as `"C4"` or `"organ"`, and
                several may be one text, see `Labels.parsed`. -1, and a kind that is missing, is drawn.
            seed: of the draws.
            first: number of the first sound.

        Raises:
            InputError: a kind or a value is not one that the GAN was trained on.
            ValueError: there are not `count` values.
        """
        asked = {kind: self._numbers(kind, values) for kind, values in (asked or {}).items()}
        self.labels.check(asked)
        for kind, values in asked.items():
            if values.shape not in ((), (count,)) or values.dtype.kind not in "iu":
                raise ValueError(f"`{kind}` must be an integer or {count} of them. Received: {values.dtype} {values.shape}")
        where = tf.constant(count), tf.constant(seed, tf.int64), tf.constant(first, tf.int64)
        chosen = self.labels.completed(asked, *where)
        return {kind: values.numpy() for kind, values in chosen.items()}

    def generate(self, latents=None, labels=None, *, count=None, seed=0, progress=False):
        """Return audio, float32 `(count, samples[, channels])` in [-1, 1].

        Args:
            latents: `(count, latent_dim)`; None draws them.
            labels: what to make of them, see `chosen_labels`.
            count: how many sounds to make where latents are drawn; None makes one.
            seed: of latents and labels that are drawn. A sound depends on it and on its number alone.
            progress: whether to show a bar.

        Raises:
            InputError: a label is not one that the GAN was trained on, or there is a count beside latents.
            ValueError: `latents` is not `(count, latent_dim)`, or not finite.
        """
        return self._generate(*self._chosen(latents, labels, count, seed), progress)

    def write_wavs(self, folder, latents=None, labels=None, *, count=None, seed=0, progress=False):
        """Write 16-bit WAV files to a new folder and return their paths.

        Args:
            folder: it must not exist.
            latents, labels, count, seed, progress: those of `generate`.

        Raises:
            InputError: the folder exists, or as by `generate`.
        """
        folder = new_folder(folder)
        audio = self.generate(latents, labels, count=count, seed=seed, progress=progress)
        with whole_folder(folder) as scratch:
            for name, clip in zip(wav_names(len(audio)), audio, strict=True):
                write_wav(scratch / name, clip, self.sample_rate_hz)
        return [folder / name for name in wav_names(len(audio))]

    def _chosen(self, latents, labels, count, seed):
        """Return latents `(count, latent_dim)` and labels, int32 `(count,)` for each kind."""
        if latents is None:
            latents = self.latents(1 if count is None else count, seed)
        elif count is not None:
            raise InputError(f"There are as many sounds as latents. Received: count={count} beside latents.")
        latents = np.asarray(latents, np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim or not len(latents):
            raise ValueError(f"Latents must be (count, {self.latent_dim}). Received: shape {latents.shape}")
        if not np.isfinite(latents).all():
            raise ValueError("Latents must be finite. Received: NaN or infinity")
        return latents, self.chosen_labels(len(latents), labels, seed)

    def _generate(self, latents, labels, progress):
        given = [latents, *labels.values()]
        batches = [[each[i : i + BATCH_SIZE] for each in given] for i in range(0, len(latents), BATCH_SIZE)]
        bar = tqdm(batches, desc="Generating", unit="batch", disable=not progress)
        return np.concatenate([self.audio(*map(tf.constant, batch)).numpy() for batch in bar])

    def _numbers(self, kind, values):
        if not isinstance(values, str):
            return np.asarray(values)
        values = self.labels.parsed(kind, values)
        return np.asarray(values if len(values) > 1 else values[0])


class GANSynthesizer(Synthesizer):
    """The synthesizer of a GAN: its generator, and the way back from its representation to audio.

    It computes in float32 whatever the precision of training.

    Args:
        gan: an `AdversarialModel`; its `best_generator` is copied, see `refresh`.
        representation: the layer whose `encode` made the real examples.
        sample_rate_hz: samples per second of the audio.

    Attributes:
        parameters: number of the generator's weights.

    Example:
        >>> synthesizer = GANSynthesizer(gan, Wave(), sample_rate_hz=16000)
        >>> synthesizer.generate(synthesizer.latents(count=4, seed=7)).shape
        (4, 16384)
    """

    def __init__(self, gan, representation, sample_rate_hz):
        self.sample_rate_hz = sample_rate_hz
        self.latent_dim = gan.latent_dim
        self.latent_distribution = gan.latent_distribution
        self.labels = gan.labels
        self.representation = representation
        self.generator = _inference_copy(gan.best_generator)
        self.parameters = gan.best_generator.count_params()
        self.refresh(gan)
        self._audio = self._audio_function()
        self._levels_db = tf.function(lambda *given: representation.levels_db(self._made(*given)))

    def refresh(self, gan):
        """Take over the weights that the GAN has now."""
        for layer in gan.best_generator.layers:
            mine = self.generator.get_layer(layer.name)
            if isinstance(mine, FoldedConv1DTranspose):
                mine.take(layer)
            else:
                mine.set_weights(layer.get_weights())
        self.step = gan.steps_done

    def give_back(self, gan):
        """Let the GAN's generator and running average take over the weights here, the reverse of `refresh`."""
        for layer in gan.generator.layers:
            mine = self.generator.get_layer(layer.name)
            if isinstance(mine, FoldedConv1DTranspose):
                mine.give_back(layer)
            else:
                layer.set_weights(mine.get_weights())
        if gan.ema_generator is not None:
            gan.ema_generator.set_weights(gan.generator.get_weights())

    def audio(self, latents, *labels):
        return self._audio(latents, *labels)["audio"]

    def _audio_function(self, stored=None):
        def audio(*given):
            with contextlib.nullcontext() if stored is None else keras.StatelessScope(_as_float32(self.generator, stored)):
                return {"audio": limited(self.representation.decode(self._made(*given)))}

        return tf.function(audio, input_signature=self.input_signature)

    @property
    def input_signature(self):
        """What `audio` takes, a list of `tf.TensorSpec`."""
        labels = [tf.TensorSpec([None], tf.int32, name=name) for name in self.labels.inputs.values()]
        return [tf.TensorSpec([None, self.latent_dim], tf.float32, name="latents"), *labels]

    def _made(self, latents, *labels):
        """Return what the network makes of latents and labels, not decoded."""
        if not labels:
            return self.generator(latents, training=False)
        one_hot = self.labels.one_hot(dict(zip(self.labels.kinds, labels, strict=True)))
        return self.generator([latents, one_hot], training=False)

    def portable_audio(self, unrolled=False):
        """Return `audio` as a concrete function, `-> {"audio": ...}`, of operations that converters know, see `portable`."""
        with portable(unrolled):
            return self._audio_function().get_concrete_function()

    def half_audio(self):
        """Return a function like `audio` whose weights are stored as float16, computed in float32, and a list of these."""
        stored = [tf.Variable(tf.cast(weight.value, tf.float16)) for weight in self.generator.weights]
        function = self._audio_function(stored)
        return lambda *given: function(*given)["audio"], stored

    def levels_db(self, latents, labels=None):
        given = self.chosen_labels(len(latents), labels)
        levels = self._levels_db(tf.convert_to_tensor(latents), *map(tf.constant, given.values()))
        return None if levels is None else levels.numpy()

    @property
    def weights(self):
        return [weight.numpy() for weight in (*self.generator.weights, *self.representation.weights)]


@tf.function(reduce_retracing=True)
def item_latents(count, seed, latent_dim, distribution, first=0):
    """Draw latents item by item, each from (seed, index): asking for more does not change the first."""
    return tf.map_fn(
        lambda index: latent_noise([latent_dim], folded_seed(seed, index), distribution),
        tf.cast(first, tf.int64) + tf.range(tf.cast(count, tf.int64)),
        fn_output_signature=tf.TensorSpec([latent_dim], tf.float32),
    )


def interpolate(start, end, count, distribution="normal"):
    """Return `count` latents from `start` to `end`, both `(latent_dim,)`, ends included, see `between`."""
    return between(start, end, np.linspace(0.0, 1.0, count)[:, None], distribution)


def between(start, end, t, distribution="normal"):
    """Return the latent at `t` on the way from `start`, 0, to `end`, 1.

    Normal latents lie near a sphere, so the path follows its surface (slerp); uniform ones are joined by a straight line.

    Args:
        start, end: `(latent_dim,)`.
        t: a number, or `(count, 1)`.
        distribution: `"normal"` or `"uniform"`.

    Reference: White 2016, "Sampling Generative Networks", section 2.1. https://arxiv.org/abs/1609.04468
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    cosine = start @ end / (np.linalg.norm(start) * np.linalg.norm(end))
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if distribution == "uniform" or np.sin(angle) < 1e-6:
        return ((1.0 - t) * start + t * end).astype(np.float32)
    return ((np.sin((1.0 - t) * angle) * start + np.sin(t * angle) * end) / np.sin(angle)).astype(np.float32)


def limited(audio):
    """Return audio `(batch, samples, ...)` with each clip whose peak is above full scale brought down to it, as a whole.

    What a network makes of a spectrogram can be louder than any file holds, and would be clipped there.
    """
    peaks = tf.reduce_max(tf.abs(audio), axis=range(1, audio.shape.rank), keepdims=True)
    return audio / tf.maximum(peaks, 1.0)


def _as_float32(network, stored):
    return [(weight, tf.cast(value, tf.float32)) for weight, value in zip(network.weights, stored, strict=True)]


def _inference_copy(model):
    def inference_layer(layer):
        if isinstance(layer, StridedConv1DTranspose):
            return FoldedConv1DTranspose(layer)
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    return keras.models.clone_model(model, clone_function=inference_layer)
