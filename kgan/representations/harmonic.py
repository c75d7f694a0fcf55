import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kgan.audio.fourier import irfft
from kgan.audio.harmonic import BANDS, HIGHEST, OVERLAP, PARTIAL_FLOOR, PARTIALS, HarmonicAnalysis, hann, phases
from kgan.audio.pitch import midi_to_hz
from kgan.errors import InputError
from kgan.representations.representation import Representation

TIME_SHAPES, LEVEL_SHAPES = 64, 208  # numbers of shapes; a component belongs to a product of two of them
ATTACK, RELEASE = 0.2, 0.75  # fractions of a clip: end of the attack, and release of the key, as in the notes and in NSynth
LEAST_WEIGHT = 1e-3  # of partials that few pitches have
FLOOR_MARGIN = 1.05  # times the floor's power is subtracted, so that the floor itself makes no noise
PITCHES = 128  # number of MIDI pitches
RIPPLE_DB = 1.5  # smaller deviations of a level from its trend are ripples


@keras.saving.register_keras_serializable(package="kgan")
class Harmonic(Representation):
    """Harmonic plus noise, aligned to the pitch: components of the levels of partials and noise.

    Partial k has k times the frequency of a sound's labelled pitch, so sounds of all pitches look alike. Levels are
    logarithms above a floor, every 4 ms at the beginning and every 8 or 16 ms later, see `kgan.audio.harmonic`. An example
    holds components of these levels, scaled to a mean square of 1 over all components. Each component is the coefficient
    of a product of a shape over time and a shape over levels. The shapes are the principal components of the data along
    each axis, and only the strongest products are kept.

    Phases are not kept: partials are in tune and steady, and the noise is always the same. Ripples are not kept either:
    if a level deviates from its trend, a mean over about 32 ms to either side, by less than 1.5 dB, `decode` moves it to
    the trend. Sums of components waver there, real notes do not. Attacks and tremolo deviate more and are kept.

    Args:
        length_samples, channels: As in `Representation`.
        sample_rate_hz: Sample rate.
        components: Number of components.
        **kwargs: Keyword arguments of `Representation`.

    Shape of examples: `(batch, components)`.

    Raises:
        InputError: It is used before `adapt`, a pitch is not a MIDI pitch, or the data has fewer than two sounds.

    Reference: see `kgan.audio.harmonic` for the analysis and synthesis.
    """

    label_kinds = ("pitch",)
    encodes_once = True

    def __init__(
        self,
        length_samples: int = 16384,
        channels: int = 1,
        sample_rate_hz: int = 16000,
        components: int = 2048,
        **kwargs: Any,
    ):
        super().__init__(length_samples, channels, **kwargs)
        self.sample_rate_hz = sample_rate_hz
        self.components = components
        self.analysis = HarmonicAnalysis(length_samples, sample_rate_hz)
        frames, levels = self.levels_shape
        shapes = min(TIME_SHAPES, frames), min(LEVEL_SHAPES * channels, levels)
        if not 1 <= components <= shapes[0] * shapes[1]:
            raise InputError(f"`components` must be from 1 to {shapes[0] * shapes[1]}. Received: {components}.")

        def weight(name, *shape):
            return self.add_weight(name=name, shape=shape, initializer="zeros", trainable=False)

        self.mean = weight("mean", frames, levels)
        self.time_shapes = weight("time_shapes", frames, shapes[0])
        self.level_shapes = weight("level_shapes", levels, shapes[1])
        self.component_of = weight("component_of", shapes[0] * shapes[1])  # of each product; `components` means none
        self.component_of.assign(np.full(shapes[0] * shapes[1], components))
        spectra = self.analysis.noise_spectra
        self.noise = weight("noise", 2, *spectra.shape)  # a weight, so that an exported model stores it once
        self.noise.assign((spectra.real, spectra.imag))

    @property
    def example_shape(self) -> tuple[int, ...]:
        return (self.components,)

    @property
    def levels_shape(self):
        """The shape of a sound's levels, `(frames, levels of all channels)`."""
        return len(self.analysis.grid), self.channels * (PARTIALS + BANDS)

    def adapt(self, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Learn the basis.

        Args:
            batches: Pairs of audio `(batch, samples[, channels])` and MIDI pitches `(batch,)`.

        Raises:
            InputError: There are fewer than two sounds, or a pitch is not a MIDI pitch.
        """
        self.fit([self.analyse(*batch) for batch in batches])

    def analyse(self, audio, pitch):
        """Return the levels of sounds, float32 `(batch, *levels_shape)`. One sound takes 0.1 s on one core.

        Args:
            audio: `(batch, samples[, channels])`.
            pitch: MIDI pitches `(batch,)`.
        """
        audio, pitch = np.asarray(audio), np.asarray(pitch)
        if pitch.min() < 0 or pitch.max() >= PITCHES:
            raise InputError(f"`pitch` must be MIDI's, 0 to 127. Received: {pitch.min()} to {pitch.max()}.")
        if not np.isfinite(audio).all():
            raise InputError("Audio must be finite. Received: NaN or infinity.")
        return self.analysis.analyse_all(audio, pitch)

    def fit(self, levels):
        """Learn the basis from levels: a sequence of arrays `(batch, *levels_shape)`, which is read several times.

        Covariances are summed in double precision, and memory use does not grow with the number of sounds.
        """
        count = sum(map(len, levels))
        if count < 2:
            raise InputError(f"Components need at least two sounds. Received: {count}.")
        mean = sum(each.sum(axis=0, dtype=np.float64) for each in levels) / count
        over_time, over_levels = self._weights()
        times, kinds = (np.zeros((size, size)) for size in self.levels_shape)
        for each in levels:
            centred = _weighted(each - mean, over_time, over_levels)
            times += np.einsum("ntl,nsl->ts", centred, centred, optimize=True)
            kinds += np.einsum("ntl,ntm->lm", centred, centred, optimize=True)
        of_time = _leading(times, self.time_shapes.shape[1])
        of_levels = _leading(kinds, self.level_shapes.shape[1])
        squares = np.zeros(self.component_of.shape)
        for each in levels:
            core = _core(_weighted(each - mean, over_time, over_levels), of_time, of_levels)
            squares += np.square(core, dtype=np.float64).sum(axis=0)
        strongest = np.argsort(-squares, kind="stable")[: self.components]
        scale = np.sqrt(squares[strongest].mean() / count)
        component_of = np.full(len(squares), self.components)
        component_of[strongest] = np.arange(self.components)
        self.mean.assign(mean)
        self.time_shapes.assign(of_time * scale / over_time[:, None])
        self.level_shapes.assign(of_levels / over_levels[:, None])
        self.component_of.assign(component_of)

    def encode(self, audio: np.ndarray | tf.Tensor, pitch: np.ndarray | tf.Tensor) -> np.ndarray:
        """Return the components of sounds. It does not work in a graph, and takes 0.1 s per sound on one core.

        Args:
            audio: float in [-1, 1], `(batch, samples[, channels])`.
            pitch: MIDI pitches `(batch,)`.

        Returns:
            float32 `(batch, components)`.

        Raises:
            InputError: `adapt` was not called, or a pitch is not a MIDI pitch.
        """
        return self.project(self.analyse(audio, pitch))

    def project(self, levels):
        """Return the components of levels, float32 `(batch, components)`."""
        self._check_adapted()
        over_time, over_levels = self._weights()
        centred = _weighted(np.asarray(levels, np.float32) - self.mean.numpy(), over_time, over_levels)
        of_time, of_levels = self.time_shapes.numpy() * over_time[:, None], self.level_shapes.numpy() * over_levels[:, None]
        of_time /= np.sum(np.square(of_time), axis=0)
        core = _core(centred, of_time.astype(np.float32), of_levels.astype(np.float32))
        component_of = self.component_of.numpy()
        kept = np.flatnonzero(component_of < self.components)
        return core[:, kept[np.argsort(component_of[kept])]]

    def decode(self, x: tf.Tensor, pitch: tf.Tensor) -> tf.Tensor:
        """Return the audio of components.

        Args:
            x: float32 `(batch, components)`.
            pitch: MIDI pitches `(batch,)`, which may be fractional.

        Returns:
            float32 `(batch, samples[, channels])`; a clip may exceed full scale.

        Raises:
            InputError: `adapt` was not called.
        """
        levels = self.without_ripples(self.levels(x))
        return self._joined(levels, lambda each: self.synthesise(each, pitch))

    def play(self, x: tf.Tensor, pitch: tf.Tensor, duration_s: tf.Tensor | float, bend_semitones: tf.Tensor) -> tf.Tensor:
        """Return audio of any duration and with a changing pitch.

        The first fifth of a clip and its release, which begins at three quarters, keep their duration. The part between
        them is stretched. A note too short for both passes from where it is to its release, without a step.

        Args:
            x: Components `(batch, components)`.
            pitch: MIDI pitches `(batch,)`, which may be fractional.
            duration_s: Duration of the whole note including its release, a scalar.
            bend_semitones: Pitch bend in semitones upwards, `(batch, points)`, evenly spaced over the duration.

        Returns:
            float32 `(batch, samples[, channels])`.
        """
        analysis = self.analysis
        samples = tf.maximum(tf.cast(tf.round(duration_s * self.sample_rate_hz), tf.int32), 1)
        count = 2 * -(-samples // (2 * analysis.hop_samples)) + 1
        levels = self.without_ripples(self.levels(x))
        levels = self._lasting(_interpolated(levels, analysis.interpolation), count)
        pitch = tf.cast(pitch, tf.float32)[:, tf.newaxis]
        bend_semitones = tf.convert_to_tensor(bend_semitones, tf.float32)
        points = tf.shape(bend_semitones)[1]

        def sounding(bend):
            frequency_hz = midi_to_hz(pitch + bend)
            return self._joined(levels, lambda each: self._faded(self._sounding(each, frequency_hz)[:, :samples]))

        def bent():
            place = tf.linspace(0.0, tf.cast(points - 1, tf.float32), count)
            return sounding(_between(bend_semitones[:, :, tf.newaxis], place)[:, :, 0])

        # A steady pitch needs only one table of sines instead of one for each frame.
        return tf.cond(tf.equal(points, 1), lambda: sounding(bend_semitones[:, 0][:, tf.newaxis]), bent)

    def levels(self, x):
        """Return the levels of components, `(batch, *levels_shape)`."""
        self._check_adapted()
        shape = (-1, self.time_shapes.shape[1], self.level_shapes.shape[1])
        core = tf.gather(tf.pad(x, [[0, 0], [0, 1]]), tf.cast(self.component_of, tf.int32), axis=1)
        core = tf.reshape(core, shape)
        levels = tf.einsum("bij,ti->btj", core, tf.convert_to_tensor(self.time_shapes))
        return tf.tensordot(levels, self.level_shapes, [[2], [1]]) + self.mean

    def without_ripples(self, levels):
        """Return levels `(batch, *levels_shape)` without small deviations from their trend, see the class."""
        trend = tf.einsum("st,btl->bsl", self.analysis.trend, levels)
        fourth = (levels - trend) ** 4
        return trend + (levels - trend) * fourth / (fourth + (RIPPLE_DB * math.log(10.0) / 20.0) ** 4)

    def synthesise(self, levels, pitch):
        """Return the audio `(batch, samples)` of levels `(batch, kept frames, PARTIALS + BANDS)` at pitches `(batch,)`."""
        frequency_hz = midi_to_hz(tf.cast(pitch, tf.float32))[:, tf.newaxis]
        audio = self._sounding(_interpolated(levels, self.analysis.interpolation), frequency_hz)
        return self._faded(audio[:, : self.length_samples])

    def _joined(self, levels, sounding):
        """Return audio `(batch, samples[, channels])`, made channel by channel from levels."""
        channels = [sounding(each) for each in tf.split(levels, self.channels, axis=2)]
        return channels[0] if self.channels == 1 else tf.stack(channels, axis=2)

    def _lasting(self, levels, count):
        """Return levels stretched or shortened to `(batch, count, levels)`, see `play`."""
        frames = self.analysis.frames
        attack, release = ATTACK * (frames - 1), RELEASE * (frames - 1)
        held = tf.maximum(tf.cast(count - 1, tf.float32) - (frames - 1 - release), 0.0)
        time = tf.range(tf.cast(count, tf.float32))
        slope = (release - attack) / tf.maximum(held - attack, 1.0)
        sustained = tf.where(time < attack, time, attack + (time - attack) * slope)
        last = tf.where(held < attack, held, release)  # frame of the clip at which the release begins
        sounding = _between(levels, tf.minimum(sustained, last))
        released = _between(levels, tf.clip_by_value(release + time - held, release, frames - 1.0))
        return sounding + tf.where((time > held)[:, tf.newaxis], released - _between(levels, tf.fill([1], release)), 0.0)

    def _sounding(self, levels, frequency_hz):
        """Return the audio of levels at every frame, at frequencies `(batch, 1)` or `(batch, frames)`."""
        partials, bands = tf.split(levels, [PARTIALS, BANDS], axis=2)
        audio = self._partials(_above_floor(partials, PARTIAL_FLOOR), frequency_hz)
        noise_floor = self.analysis.noise_floor.astype(np.float32)
        return audio + self._noise(_above_floor(bands[:, ::2], noise_floor))

    def _faded(self, audio):
        """Return audio faded in and out over a quarter of a hop, 1 ms, to avoid clicks."""
        fade, samples = self.analysis.hop_samples // 4, _count(audio)
        time = tf.range(samples)
        nearest = tf.cast(tf.minimum(time, samples - 1 - time), tf.float32)
        return audio * tf.square(tf.sin(np.pi / 2 * tf.minimum(nearest / fade, 1.0)))

    def _partials(self, amplitudes, frequency_hz):
        """Return the sum of partials `(batch, samples)` whose amplitudes `(batch, frames, partials)` change linearly."""
        hop, count = self.analysis.hop_samples, _count(amplitudes)
        numbers = tf.range(1.0, PARTIALS + 1)
        turns = frequency_hz / self.sample_rate_hz  # of the first partial, per sample
        amplitudes *= tf.cast(turns[:, :, tf.newaxis] * numbers < HIGHEST, tf.float32)
        if frequency_hz.shape[1] == 1:
            first = tf.math.floormod(turns * hop, 1.0) * tf.range(tf.cast(count, tf.float32))  # (batch, frames)
        else:
            advance = tf.math.floormod((turns[:, :-1] + turns[:, 1:]) / 2 * hop, 1.0)  # wrapped after the mean
            first = tf.pad(tf.cumsum(advance, axis=1), [[0, 0], [1, 0]])
        at_frames = tf.math.floormod(tf.math.floormod(first, 1.0)[:, :, tf.newaxis] * numbers, 1.0)
        angles = 2 * np.pi * at_frames + phases(PARTIALS)  # (batch, frames, partials)
        # A frame sounds from the previous to the next frame, under a triangular window: few sines and one matrix product.
        time = np.arange(-hop, hop, dtype=np.float32)
        within = 2 * np.pi * turns[:, :, tf.newaxis, tf.newaxis] * numbers[:, tf.newaxis] * time  # (batch, frames or 1, ...)
        waves = tf.concat([amplitudes * tf.cos(angles), -amplitudes * tf.sin(angles)], axis=2)
        sines = tf.concat([tf.cos(within), tf.sin(within)], axis=2)
        if frequency_hz.shape[1] == 1:
            waves = tf.matmul(waves, sines[:, 0])
        else:
            waves = tf.matmul(waves[:, :, tf.newaxis], sines)[:, :, 0]
        waves *= (1 - np.abs(time) / hop).astype(np.float32)
        summed = waves[:, :-1, hop:] + waves[:, 1:, :hop]  # (batch, frames - 1, hop)
        return tf.reshape(summed, (-1, (count - 1) * hop))

    def _noise(self, deviations):
        """Return noise `(batch, samples)` of standard deviations `(batch, noise frames, bands)`."""
        analysis, hop = self.analysis, 2 * self.analysis.hop_samples
        gains = tf.exp(tf.tensordot(tf.math.log(deviations + 1e-6), analysis.bands_to_bins(analysis.window_samples), 1))
        count, parts = _count(gains), analysis.window_samples // hop
        # A longer note repeats the noise.
        real, imag = tf.unstack(tf.gather(tf.convert_to_tensor(self.noise), tf.range(count) % self.noise.shape[1], axis=1))
        frames = irfft(gains * real, gains * imag, analysis.window_samples) * hann(analysis.window_samples)
        frames = tf.reshape(frames, (-1, count, parts, hop))
        summed = tf.add_n([tf.pad(frames[:, :, i], [[0, 0], [i, parts - 1 - i], [0, 0]]) for i in range(parts)])
        summed = tf.reshape(summed, (-1, (count + parts - 1) * hop))
        first = analysis.window_samples // 2
        return summed[:, first : first + (count - 1) * hop] / OVERLAP

    def _weights(self):
        """Return perceptual weights of the levels: over time, `(frames,)`, and over partials and bands."""
        analysis = self.analysis
        of_frames = np.gradient(analysis.grid.astype(float)) / 2  # frames that stand for a longer time count more
        pitches_hz = midi_to_hz(np.arange(36.0, 84.0))[:, None]
        numbers = np.arange(1, PARTIALS + 1)
        mel = np.log1p((numbers + 0.5) * pitches_hz / 700) - np.log1p((numbers - 0.5) * pitches_hz / 700)
        widths = np.where(numbers * pitches_hz < HIGHEST * self.sample_rate_hz, mel, 0).mean(axis=0)
        widths /= np.log1p(self.sample_rate_hz / 1400) / PARTIALS  # in 128ths of the mel scale
        widths = np.maximum(widths, LEAST_WEIGHT)
        of_levels = np.concatenate([widths, np.full(BANDS, PARTIALS / BANDS)])
        return np.sqrt(of_frames), np.sqrt(np.tile(of_levels, self.channels))

    def _check_adapted(self):
        shapes = self.time_shapes.value
        if not isinstance(shapes, tf.Variable):  # replaced by another tensor, such as weights stored as float16
            return
        with tf.init_scope():
            if not np.any(shapes.numpy()):
                raise InputError("A Harmonic must be adapted to the data first: harmonic.adapt(batches of audio and pitch).")

    def get_config(self):
        return {**super().get_config(), "sample_rate_hz": self.sample_rate_hz, "components": self.components}


def _weighted(levels, over_time, over_levels):
    return (levels * over_time[:, None] * over_levels).astype(np.float32)


def _leading(products, count):
    """Return the leading eigenvectors, `(size, count)`, of a matrix of products."""
    return np.linalg.eigh(products)[1][:, : -count - 1 : -1]


def _core(centred, of_time, of_levels):
    """Return the coefficients `(batch, time shapes * level shapes)` of `(batch, frames, levels)` in a separable basis."""
    core = np.einsum("ntl,ti,lj->nij", centred, of_time, of_levels, optimize=True)
    return core.reshape(len(centred), -1)


def _above_floor(levels, floor):
    """Return the amplitudes of logarithmic levels, with the power of the floor subtracted."""
    return tf.sqrt(tf.nn.relu(tf.exp(2.0 * levels) - FLOOR_MARGIN * floor**2))


def _interpolated(values, weights):
    return tf.einsum("ft,btl->bfl", weights, values)


def _count(values):
    """Return the size of the second axis, as an integer if it is known, because converters need that."""
    return tf.shape(values)[1] if values.shape[1] is None else values.shape[1]


def _between(values, places):
    """Interpolate `values`, `(batch, count, channels)`, linearly at `places`, `(places,)`, along the second axis."""
    below = tf.cast(tf.floor(places), tf.int32)
    last = tf.shape(values)[1] - 1
    low, high = (tf.gather(values, tf.clip_by_value(below + i, 0, last), axis=1) for i in (0, 1))
    return low + (high - low) * (places - tf.floor(places))[:, tf.newaxis]
