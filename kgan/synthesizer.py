"""Audio from latents and labels. This is the only place where a representation is decoded."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.audio.files import wav_names, write_wav
from kgan.audio.fourier import portable
from kgan.audio.notes import HIGHEST_PITCH, NOT_PLAYED, note_batches
from kgan.audio.signal import checked_rate_hz
from kgan.errors import InputError
from kgan.files import new_folder, whole_folder
from kgan.gans.adversarial import AdversarialModel
from kgan.labels import midi_number
from kgan.networks import FoldedConv1DTranspose, StridedConv1DTranspose
from kgan.noise import folded_seed, latent_noise
from kgan.representations import Representation

BATCH_SIZE = 64  # sounds that `generate` makes at once


@runtime_checkable
class SoundMaker(Protocol):
    """Protocol of objects that make sounds: a `Synthesizer` on this machine or a `Client` of a server."""

    def generate(
        self,
        latents: np.ndarray | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> np.ndarray:
        """Return audio.

        Args:
            latents, labels, count, seed, progress: As in `Synthesizer.generate`.

        Returns:
            float32 `(count, samples[, channels])`.
        """

    def play(
        self,
        latents: np.ndarray | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        duration_s: float | None = None,
        bend_semitones: Any = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Return notes of any pitch and duration.

        Args:
            latents, labels, count, seed, duration_s, bend_semitones, progress: As in `Synthesizer.play`.

        Returns:
            float32 `(count, samples[, channels])`.
        """

    def write_wavs(
        self,
        folder: str | Path,
        latents: np.ndarray | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        sample_rate_hz: int | None = None,
        progress: bool = False,
    ) -> list[Path]:
        """Write WAV files to a new folder.

        Args:
            folder, latents, labels, count, seed, sample_rate_hz, progress: As in `Synthesizer.write_wavs`.

        Returns:
            The paths of the files.
        """


class Synthesizer:
    """Makes sounds from latents and labels. `kgan.load` returns one for a run or a SavedModel.

    Previews, files, scores and SavedModels all use this class, so they agree. Subclasses implement `audio` and `weights`.

    Attributes:
        sample_rate_hz: Sample rate of the audio.
        latent_dim: Width of the latents.
        latent_distribution: `"normal"`, N(0, 1), or `"uniform"`, U(-1, 1).
        labels: The `Labels` that you can ask for; it has no kinds if the GAN is unconditional.
        step: Number of iterations that the weights were trained for.
        clip_s: Duration of a sound in seconds.

    Example:
        >>> synthesizer = kgan.load("saved_models/notes_fast")
        >>> synthesizer.generate(count=4, seed=7, labels={"pitch": "C4", "family": "organ"}).shape
        (4, 16384)
    """

    def audio(self, latents, *labels):
        """Return audio as a tensor, `(batch, samples[, channels])` in [-1, 1].

        Args:
            latents: `(batch, latent_dim)`.
            *labels: int32 `(batch,)` for each kind of `labels`, in this order.
        """
        raise NotImplementedError

    @property
    def weights(self):
        """The weights of the generator and of the representation, float32 arrays."""
        raise NotImplementedError

    def levels_db(self, latents: np.ndarray, labels: Mapping[str, Any] | None = None) -> np.ndarray | None:
        """Return the generator's output, before decoding to audio, as levels in decibels.

        Args:
            latents, labels: As in `Synthesizer.generate`.

        Returns:
            float32 `(batch, frames, bins)`, or None if there are no such levels.
        """
        return None

    @property
    def plays(self):
        """Whether `play` works: notes of any pitch and duration."""
        return False

    def play(
        self,
        latents: np.ndarray | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        duration_s: float | None = None,
        bend_semitones: Any = None,
        progress: bool = False,
    ) -> np.ndarray:
        """Return notes of any pitch and duration.

        The first fifth of a clip and its release keep their duration. The part between them is stretched or left out.

        Args:
            latents, labels, count, seed: As in `generate`, but `pitch` is a number or `(count,)` numbers. Pitches may be
                fractional and outside the training data: 60.5 is half a semitone above middle C.
            duration_s: Duration of a note including its release; None for the duration of a clip.
            bend_semitones: Pitch bend in semitones upwards, `(points,)` or `(count, points)`, evenly spaced over the
                duration; None for a steady pitch.
            progress: Whether to show a progress bar.

        Returns:
            float32 `(count, samples[, channels])` in [-1, 1].

        Raises:
            InputError: The generator cannot play (see `plays`), a pitch is not from 0 to 127, the duration is not above 0
                and at most 60 s, a bend is not finite, the number of pitches or bends differs from that of the latents, or
                `generate` would raise.
        """
        if not self.plays:
            raise InputError(NOT_PLAYED)
        labels = dict(labels or {})
        pitch = labels.pop("pitch", None)
        latents, chosen = self._chosen(latents, labels, count, seed)
        others = {kind: values for kind, values in chosen.items() if kind != "pitch"}
        pitch = chosen["pitch"] if pitch is None else self._numbers("pitch", pitch)
        duration_s = self.clip_s if duration_s is None else duration_s
        batches = note_batches(latents, pitch, duration_s, bend_semitones, others, self.sample_rate_hz)
        bar = tqdm(batches, "Playing", unit="batch", disable=not progress)
        return np.concatenate([self.notes(*map(tf.constant, batch.values())).numpy() for batch in bar])

    def notes(self, latents, pitch, duration_s, bend_semitones, *labels):
        """Return the audio of notes as a tensor, `(batch, samples[, channels])`, see `play`.

        Args:
            latents: `(batch, latent_dim)`.
            pitch: float32 `(batch,)`.
            duration_s: float32 scalar.
            bend_semitones: float32 `(batch, points)`.
            *labels: int32 `(batch,)` for each kind of `labels` except `pitch`, in this order.
        """
        raise NotImplementedError

    def latents(self, count: int, seed: int = 0, first: int = 0) -> np.ndarray:
        """Return random latents. Each depends only on the seed and its number.

        Args:
            count: Number of latents.
            seed: Random seed.
            first: Number of the first latent.

        Returns:
            float32 `(count, latent_dim)`.
        """
        # Tensors: with Python integers the graph would be traced again for every new count and seed.
        count, seed, first = tf.constant(count), tf.constant(seed, tf.int64), tf.constant(first, tf.int64)
        return item_latents(count, seed, self.latent_dim, self.latent_distribution, first).numpy()

    def chosen_labels(
        self, count: int, asked: Mapping[str, Any] | None = None, seed: int = 0, first: int = 0
    ) -> dict[str, np.ndarray]:
        """Return labels for sounds: the requested values, and random ones, distributed as in the data, for the rest.

        The labels of sound i depend only on the seed and on i.

        Args:
            count: Number of sounds.
            asked: `{kind: a value or (count,) values}`. A value is an integer or a text, such as `"C4"` or `"organ"`. One
                text may hold several values, see `Labels.parsed`. -1 or a missing kind is drawn at random.
            seed: Random seed.
            first: Number of the first sound.

        Returns:
            `{kind: int32 (count,)}`.

        Raises:
            InputError: The GAN was not trained on such a kind or value.
            ValueError: The number of values is not `count`.
        """
        asked = {kind: self._numbers(kind, values) for kind, values in (asked or {}).items()}
        self.labels.check(asked)
        for kind, values in asked.items():
            if values.shape not in ((), (count,)) or values.dtype.kind not in "iu":
                raise ValueError(f"`{kind}` must be an integer or {count} of them. Received: {values.dtype} {values.shape}")
        where = tf.constant(count), tf.constant(seed, tf.int64), tf.constant(first, tf.int64)
        chosen = self.labels.completed(asked, *where)
        return {kind: values.numpy() for kind, values in chosen.items()}

    def generate(
        self,
        latents: np.ndarray | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        progress: bool = False,
    ) -> np.ndarray:
        """Return audio.

        Args:
            latents: `(count, latent_dim)`; None draws them at random.
            labels: Requested labels, see `asked` of `chosen_labels`.
            count: Number of sounds if `latents` is None; None makes one.
            seed: Random seed of latents and labels. A sound depends only on the seed and its number.
            progress: Whether to show a progress bar.

        Returns:
            float32 `(count, samples[, channels])` in [-1, 1].

        Raises:
            InputError: The GAN was not trained on a label, or both `count` and `latents` are given.
            ValueError: `latents` is not `(count, latent_dim)`, or not finite.
        """
        latents, chosen = self._chosen(latents, labels, count, seed)
        given = [latents, *chosen.values()]
        batches = [[each[i : i + BATCH_SIZE] for each in given] for i in range(0, len(latents), BATCH_SIZE)]
        bar = tqdm(batches, desc="Generating", unit="batch", disable=not progress)
        return np.concatenate([self.audio(*map(tf.constant, batch)).numpy() for batch in bar])

    def write_wavs(
        self,
        folder: str | Path,
        latents: np.ndarray | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        count: int | None = None,
        seed: int = 0,
        sample_rate_hz: int | None = None,
        progress: bool = False,
    ) -> list[Path]:
        """Write 16-bit WAV files to a new folder.

        Args:
            folder: New folder; it must not exist.
            latents, labels, count, seed, progress: As in `generate`.
            sample_rate_hz: Sample rate of the files, 1 to 384,000; None for the rate of the audio. Resampling adds nothing
                above half the rate that the generator was trained at.

        Returns:
            The paths of the files.

        Raises:
            InputError: The folder exists, the rate is out of range, or `generate` raises.
        """
        folder = new_folder(folder)
        file_rate_hz = self.sample_rate_hz if sample_rate_hz is None else checked_rate_hz(sample_rate_hz)
        audio = self.generate(latents, labels, count=count, seed=seed, progress=progress)
        with whole_folder(folder) as scratch:
            for name, clip in zip(wav_names(len(audio)), audio, strict=True):
                write_wav(scratch / name, clip, self.sample_rate_hz, file_rate_hz)
        return [folder / name for name in wav_names(len(audio))]

    def _chosen(self, latents, labels, count, seed):
        """Return latents `(count, latent_dim)` and labels, int32 `(count,)` for each kind."""
        if latents is None:
            latents = self.latents(1 if count is None else count, seed)
        elif count is not None:
            raise InputError(f"`count` cannot be combined with latents. Received: count={count}.")
        latents = np.asarray(latents, np.float32)
        if latents.ndim != 2 or latents.shape[1] != self.latent_dim or not len(latents):
            raise ValueError(f"Latents must be (count, {self.latent_dim}). Received: shape {latents.shape}")
        if not np.isfinite(latents).all():
            raise ValueError("Latents must be finite. Received: NaN or infinity")
        return latents, self.chosen_labels(len(latents), labels, seed)

    def parsed(self, kind: str, text: str) -> list[int] | list[float]:
        """Parse label values, see `Labels.parsed`. If `plays` is true, any pitch from 0 to 127 is valid, such as `60.5`.

        Args:
            kind: Kind of label.
            text: Text such as `60`, `C4`, `48-72` or `organ,flute`.

        Returns:
            The values.

        Raises:
            InputError: The kind or a value is unknown.
        """
        if kind != "pitch" or not self.plays:
            return self.labels.parsed(kind, text)
        values = []
        for part in text.split(","):
            try:
                values.append(float(part) if re.fullmatch(r"\s*\d+\.\d+\s*", part) else midi_number(part))
            except ValueError:
                values += self.labels.parsed(kind, part)
        if max(values) > HIGHEST_PITCH:
            raise InputError(f"`pitch` must be from 0 to {HIGHEST_PITCH}. Received: {text}.")
        return values

    def _numbers(self, kind, values):
        if not isinstance(values, str):
            return np.asarray(values)
        values = self.parsed(kind, values)
        return np.asarray(values if len(values) > 1 else values[0])


class GANSynthesizer(Synthesizer):
    """The synthesizer of a GAN: its generator, followed by the decoder of its representation.

    It computes in float32, whatever the precision of training.

    Args:
        gan: `AdversarialModel`; its `best_generator` is copied, see `refresh`.
        representation: The layer whose `encode` made the real examples.
        sample_rate_hz: Sample rate of the audio.

    Attributes:
        parameters: Number of weights of the generator.

    Example:
        >>> synthesizer = GANSynthesizer(gan, Wave(), sample_rate_hz=16000)
        >>> synthesizer.generate(synthesizer.latents(count=4, seed=7)).shape
        (4, 16384)
    """

    def __init__(self, gan: AdversarialModel, representation: Representation, sample_rate_hz: int):
        self.sample_rate_hz = sample_rate_hz
        self.latent_dim = gan.latent_dim
        self.latent_distribution = gan.latent_distribution
        self.labels = gan.labels
        self.representation = representation
        self.clip_s = representation.length_samples / sample_rate_hz
        self.generator = _inference_copy(gan.best_generator)
        self.parameters = gan.best_generator.count_params()
        self.refresh(gan)
        self._audio = self._graph(self._decoded, self.input_signature)
        self._notes = self._graph(self._played, self.notes_signature) if self.plays else None
        self._levels_db = tf.function(lambda *given: representation.levels_db(self._made(*given)))

    def refresh(self, gan: AdversarialModel) -> None:
        """Copy the current weights of the GAN.

        Args:
            gan: The GAN that this synthesizer was made from, or one with the same architecture.
        """
        for layer in gan.best_generator.layers:
            mine = self.generator.get_layer(layer.name)
            if isinstance(mine, FoldedConv1DTranspose):
                mine.take(layer)
            else:
                mine.set_weights(layer.get_weights())
        self.step = gan.steps_done

    def give_back(self, gan):
        """Copy the weights to the GAN's generator and its running average, the reverse of `refresh`."""
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

    def _graph(self, body, signature, stored=()):
        """Return `body` as a graph `-> {"audio": ...}`. `stored` holds pairs of a weight and the variable to use instead."""

        def function(*given):
            standing_in = [(weight, tf.cast(variable, tf.float32)) for weight, variable in stored]
            with keras.StatelessScope(standing_in) if stored else contextlib.nullcontext():
                return {"audio": limited(body(*given))}

        return tf.function(function, input_signature=signature)

    @property
    def input_signature(self):
        """The inputs of `audio`, a list of `tf.TensorSpec`."""
        labels = [tf.TensorSpec([None], tf.int32, name=name) for name in self.labels.inputs.values()]
        return [tf.TensorSpec([None, self.latent_dim], tf.float32, name="latents"), *labels]

    @property
    def plays(self):
        return hasattr(self.representation, "play")

    @property
    def notes_signature(self):
        """The inputs of `notes`, a list of `tf.TensorSpec`."""
        others = [name for kind, name in self.labels.inputs.items() if kind != "pitch"]
        return [
            tf.TensorSpec([None, self.latent_dim], tf.float32, name="latents"),
            tf.TensorSpec([None], tf.float32, name="pitch"),
            tf.TensorSpec([], tf.float32, name="duration_s"),
            tf.TensorSpec([None, None], tf.float32, name="bend_semitones"),
            *(tf.TensorSpec([None], tf.int32, name=name) for name in others),
        ]

    def notes(self, latents, pitch, duration_s, bend_semitones, *labels):
        return self._notes(latents, pitch, duration_s, bend_semitones, *labels)["audio"]

    def _decoded(self, *given):
        """Return the audio for latents and labels."""
        labels = dict(zip(self.labels.kinds, given[1:], strict=True))
        return self.representation.decode(self._made(*given), *(labels[kind] for kind in self.representation.label_kinds))

    def _played(self, latents, pitch, duration_s, bend_semitones, *others):
        """Return the audio of notes. The generator gets the nearest pitch that it was trained on."""
        trained = tf.constant(self.labels.values["pitch"])
        nearest = tf.gather(trained, tf.argmin(tf.abs(pitch[:, tf.newaxis] - tf.cast(trained, tf.float32)), axis=1))
        labels = dict(zip((kind for kind in self.labels.kinds if kind != "pitch"), others, strict=True)) | {"pitch": nearest}
        made = self._made(latents, *(labels[kind] for kind in self.labels.kinds))
        return self.representation.play(made, pitch, duration_s, bend_semitones)

    def _made(self, latents, *labels):
        """Return the generator's output for latents and labels, before decoding."""
        if not labels:
            return self.generator(latents, training=False)
        one_hot = self.labels.one_hot(dict(zip(self.labels.kinds, labels, strict=True)))
        return self.generator([latents, one_hot], training=False)

    def portable_audio(self, unrolled=False):
        """Return `audio` as a concrete function `-> {"audio": ...}` that converters support, see `portable`."""
        with portable(unrolled):
            return self._graph(self._decoded, self.input_signature).get_concrete_function()

    def half(self):
        """Return `audio` and `notes` with weights stored as float16, and a list of all their variables.

        They compute in float32. Vectors and scalars of the representation stay float32.
        """
        weights = [*self.generator.weights, *(weight for weight in self.representation.weights if len(weight.shape) > 1)]
        stored = [(weight, tf.Variable(tf.cast(weight.value, tf.float16))) for weight in weights]
        others = [weight.value for weight in self.representation.weights if len(weight.shape) <= 1]
        functions = [self._graph(self._decoded, self.input_signature, stored)]
        functions += [self._graph(self._played, self.notes_signature, stored)] if self.plays else []
        return [_audio_of(each) for each in functions], [*(variable for _, variable in stored), *others]

    def levels_db(self, latents: np.ndarray, labels: Mapping[str, Any] | None = None) -> np.ndarray | None:
        if self.plays:
            return None
        given = self.chosen_labels(len(latents), labels)
        levels = self._levels_db(tf.convert_to_tensor(latents), *map(tf.constant, given.values()))
        return None if levels is None else levels.numpy()

    @property
    def weights(self):
        return [weight.numpy() for weight in (*self.generator.weights, *self.representation.weights)]


@tf.function(reduce_retracing=True)
def item_latents(count, seed, latent_dim, distribution, first=0):
    """Draw latents one by one, each from (seed, index), so that a larger count does not change the first ones."""
    return tf.map_fn(
        lambda index: latent_noise([latent_dim], folded_seed(seed, index), distribution),
        tf.cast(first, tf.int64) + tf.range(tf.cast(count, tf.int64)),
        fn_output_signature=tf.TensorSpec([latent_dim], tf.float32),
    )


def interpolate(start: np.ndarray, end: np.ndarray, count: int, distribution: str = "normal") -> np.ndarray:
    """Return evenly spaced latents on the path between two latents, including both, see `between`.

    Args:
        start, end: Latents `(latent_dim,)`.
        count: Number of latents.
        distribution: `"normal"` or `"uniform"`.

    Returns:
        float32 `(count, latent_dim)`.
    """
    return between(start, end, np.linspace(0.0, 1.0, count)[:, None], distribution)


def between(start, end, t, distribution="normal"):
    """Return the latent at `t` on the path from `start` (t = 0) to `end` (t = 1).

    Normal latents lie near a sphere, so the path follows its surface (slerp). Uniform latents use a straight line.

    Args:
        start, end: Latents `(latent_dim,)`.
        t: A number, or numbers `(count, 1)`.
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
    """Return audio `(batch, samples, ...)` in which each clip with a peak above full scale is scaled down to it.

    Decoded spectrograms can exceed full scale, and would be clipped in a file.
    """
    peaks = tf.reduce_max(tf.abs(audio), axis=range(1, audio.shape.rank), keepdims=True)
    return audio / tf.maximum(peaks, 1.0)


def _audio_of(function):
    return lambda *given: function(*given)["audio"]


def _inference_copy(model):
    def inference_layer(layer):
        if isinstance(layer, StridedConv1DTranspose):
            return FoldedConv1DTranspose(layer)
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    return keras.models.clone_model(model, clone_function=inference_layer)
