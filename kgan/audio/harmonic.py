"""Harmonic plus noise: a sound as the levels of the partials of its pitch and the levels of noise bands.

The analysis uses numpy and runs once per sound. The synthesis uses TensorFlow, so that graphs with it can be exported.

References:
    Serra and Smith 1990, "Spectral Modeling Synthesis", Computer Music Journal 14 (4): partials and residual noise.
    Engel et al. 2020, "DDSP", https://arxiv.org/abs/2001.04643: a harmonic oscillator bank in a network's graph.
"""

import dataclasses
import functools

import numpy as np
import scipy.ndimage

from kgan.audio.pitch import midi_to_hz
from kgan.audio.signal import hz_to_mel, mel_to_hz

PARTIALS, BANDS = 128, 160
HIGHEST = 0.49375  # fraction of the sample rate; partials above it are left out
FRAME_S = 0.004  # time between levels; rounded to a power of two of samples
DENSE_FRAMES = 32  # frames that are all kept, at the beginning, where sounds change fastest; then every second frame
SPARSE_AFTER_FRAMES = 256  # from here on every fourth frame is kept
LOWEST_BAND_HZ = 20.0
PARTIAL_FLOOR = 0.3 * 10 ** (-66 / 20)  # amplitude; lower ones are inaudible beside the peak of a clip
PERIODS, SHORTEST_WINDOW_FRAMES = 3, 4  # length of the window in which partials are measured
REGULARISATION = 1e-3  # of the least squares, for partials that a short window cannot separate
CORRECTION, CORRECTION_LIMITS = 0.7, (0.05, 8.0)  # exponent and limits of the power ratio in a step of the analysis
EPSILON_DB = -75.0  # relative to the strongest bin of a clip
OVERLAP = 1.5  # sum of the squares of four overlapping Hann windows
MEL_BINS = 128  # number of mel bins whose width relates the loudness of noise to that of a partial
TREND_S = 0.032  # standard deviation of the Gaussian window for the trend of a level


@dataclasses.dataclass(frozen=True)
class HarmonicAnalysis:
    """The analysis of sounds of one length and sample rate.

    Args:
        length_samples: Samples of a clip.
        sample_rate_hz: Sample rate.
    """

    length_samples: int = 16384
    sample_rate_hz: int = 16000

    @functools.cached_property
    def hop_samples(self):
        """Samples between frames of partials; frames of noise are twice as far apart."""
        return 2 ** round(np.log2(FRAME_S * self.sample_rate_hz))

    @functools.cached_property
    def window_samples(self):
        """Length of the transforms for noise, in samples."""
        return 8 * self.hop_samples

    @functools.cached_property
    def frames(self):
        """Number of frames of a clip, which is padded with silence to an even number of hops."""
        return 2 * -(-self.length_samples // (2 * self.hop_samples)) + 1

    @functools.cached_property
    def grid(self):
        """Ascending numbers of the frames whose levels are kept. Levels between them are interpolated."""
        steps = (range(DENSE_FRAMES), range(DENSE_FRAMES, SPARSE_AFTER_FRAMES, 2), range(SPARSE_AFTER_FRAMES, self.frames, 4))
        return np.unique([*(frame for step in steps for frame in step if frame < self.frames), self.frames - 1])

    @functools.cached_property
    def interpolation(self):
        """Weights `(frames, kept frames)` that interpolate the kept levels."""
        place = np.interp(np.arange(self.frames), self.grid, np.arange(len(self.grid)))
        return _triangles(place, len(self.grid)).T

    @functools.cached_property
    def averaging(self):
        """Weights `(kept frames, frames)` that average the frames around each kept frame."""
        return self.interpolation.T / self.interpolation.sum(axis=0)[:, None]

    @functools.cached_property
    def trend(self):
        """Weights `(kept frames, kept frames)` of a level's trend, its mean in a Gaussian window; edge values are repeated."""
        window = scipy.ndimage.gaussian_filter1d(
            np.eye(self.frames, dtype=np.float32), TREND_S * self.sample_rate_hz / self.hop_samples, axis=1, mode="nearest"
        )
        return (window.T @ self.interpolation)[self.grid]

    @functools.cached_property
    def band_centres_hz(self):
        return mel_to_hz(np.linspace(*hz_to_mel([LOWEST_BAND_HZ, self.sample_rate_hz / 2]), BANDS))

    @functools.cached_property
    def noise_floor(self):
        """Standard deviations `(bands,)` of noise that is as loud in a mel bin as a partial of `PARTIAL_FLOOR`."""
        mel = hz_to_mel(self.band_centres_hz)
        width_hz = mel_to_hz(mel + hz_to_mel(self.sample_rate_hz / 2) / MEL_BINS) - self.band_centres_hz
        bin_hz = self.sample_rate_hz / (2 * self.window_samples)
        return PARTIAL_FLOOR * 15.0 / np.maximum(1.0, width_hz / bin_hz)

    @functools.lru_cache(8)  # noqa: B019  there are few models
    def bands_to_bins(self, window_samples):
        """Return weights `(bands, bins)` that interpolate the levels of bands for the bins of a transform."""
        hz = np.arange(window_samples // 2 + 1) * self.sample_rate_hz / window_samples
        return _triangles(np.interp(hz_to_mel(hz), hz_to_mel(self.band_centres_hz), np.arange(BANDS)), BANDS)

    @functools.lru_cache(8)  # noqa: B019
    def bins_to_bands(self, window_samples):
        """Return weights `(bands, bins)` that sum the bins of a band. A band narrower than a bin uses the two nearest bins."""
        weights = self.bands_to_bins(window_samples).copy()
        for band in np.flatnonzero(weights.sum(axis=1) < 0.7):
            place = self.band_centres_hz[band] * window_samples / self.sample_rate_hz
            below = min(int(place), weights.shape[1] - 2)
            weights[band] = 0
            weights[band, below : below + 2] = 1 - (place - below), place - below
        return weights

    @functools.cached_property
    def noise_spectra(self):
        """Transforms of white noise, complex64 `(noise frames, bins)`, each magnitude set to the root of the mean power."""
        frames = self.frames // 2 + 1
        rng = np.random.default_rng(3)
        white = rng.standard_normal((frames - 1) * 2 * self.hop_samples + self.window_samples).astype(np.float32)
        window = hann(self.window_samples)
        spectra = np.fft.rfft(_framed(white, self.window_samples, 2 * self.hop_samples) * window)
        return (np.exp(1j * np.angle(spectra)) * np.sqrt(np.sum(window**2))).astype(np.complex64)

    def partials_of(self, frequency_hz):
        """Return the number of partials of a frequency below `HIGHEST`, at most `PARTIALS`."""
        return int(min(PARTIALS, HIGHEST * self.sample_rate_hz // frequency_hz))

    def analyse_all(self, audio, pitches):
        """Return the levels of sounds `(count, samples[, channels])`, with channels concatenated, see `analyse`."""
        channels = np.reshape(audio, (*np.shape(audio)[:2], -1))
        return np.stack(
            [np.concatenate([self.analyse(each, pitch) for each in sound.T], axis=1)
             for sound, pitch in zip(channels, pitches, strict=True)]
        )  # fmt: skip

    def analyse(self, audio, pitch):
        """Return the levels of a sound as natural logarithms, float32 `(kept frames, PARTIALS + BANDS)`.

        First, the amplitudes of partials are measured by least squares in windows of three periods, and the power of the
        residual is measured in bands. Then follow three steps of analysis by synthesis: both are corrected by the ratio of
        the sound's spectrogram to that of their synthesis. Partials above `HIGHEST` repeat the last one below it.

        Args:
            audio: float `(length_samples,)`.
            pitch: MIDI pitch of the sound, a number.
        """
        audio = np.pad(audio, (0, (self.frames - 1) * self.hop_samples - len(audio))).astype(np.float32)
        first_hz = midi_to_hz(pitch)
        count = self.partials_of(first_hz)
        if not count:  # the pitch is too high for the sample rate: analyse everything as noise
            levels = np.full((len(self.grid), PARTIALS + BANDS), np.log(PARTIAL_FLOOR), np.float32)
            levels[:, PARTIALS:] = 0.5 * np.log(self._band_powers(audio) + self.noise_floor**2)
            return levels
        turns = first_hz / self.sample_rate_hz * _tuned(audio, first_hz / self.sample_rate_hz, count)  # per sample
        amplitudes = self._partials(audio, turns)
        power = self.averaging @ np.abs(amplitudes) ** 2
        noise = self._band_powers(audio - self._oscillate(amplitudes, turns))
        turning = np.exp(1j * (2 * np.pi * np.outer(np.arange(self.frames) * self.hop_samples, turns) + phases(count)))
        for window in (self.window_samples, 2 * self.window_samples, self.window_samples):
            power, noise = self._corrected(power, noise, audio, turns, turning, window)
        levels = np.empty((len(self.grid), PARTIALS + BANDS), np.float32)
        levels[:, :count] = 0.5 * np.log(power + PARTIAL_FLOOR**2)
        levels[:, count:PARTIALS] = levels[:, count - 1 : count]
        levels[:, PARTIALS:] = 0.5 * np.log(noise + self.noise_floor**2)
        return levels

    def _corrected(self, power, noise, audio, turns, turning, window):
        """Return the powers of partials and noise, `(kept frames, ...)`, corrected by the spectrogram of their synthesis."""
        target = self._powers(audio, window)
        epsilon = target.max() * 10 ** (EPSILON_DB / 10) + 1e-20
        partials = self._powers(self._oscillate((self.interpolation @ np.sqrt(power)) * turning, turns), window)
        rest = self._powers(self._shaped_noise((self.interpolation @ np.sqrt(noise))[::2] ** 2), window)
        made = partials + rest + epsilon
        ratio = np.log((target + epsilon) / made)  # logarithms, as the loudest frame dominates a mean of powers
        lobes = np.maximum(0, 1 - np.abs(np.arange(window // 2 + 1) - (turns * window)[:, None]) / 1.5)
        lobes = (lobes / np.maximum(lobes.sum(axis=1, keepdims=True), 1e-9)).astype(np.float32)
        period_frames = 1 / (turns[0] * self.hop_samples)
        several = max(1, round(period_frames) | 1) if window == self.window_samples else 1
        weight = partials / made  # the share of partials in each bin
        wanted, sure = (self.averaging @ _smooth(each @ lobes.T, several) for each in (ratio * weight, weight))
        power = power * np.clip(np.exp(wanted / (sure + 1e-9)), *CORRECTION_LIMITS) ** (CORRECTION * np.clip(sure, 0, 1))
        means, weight = self.bins_to_bands(window), rest / made
        wanted, sure = (self.averaging @ (each @ means.T) for each in (ratio * weight, weight))
        share = sure / np.maximum(means.sum(axis=1), 1e-9)
        factors = np.clip(np.exp(wanted / (sure + 1e-9)), *CORRECTION_LIMITS)
        noise = noise * factors ** (CORRECTION * np.clip(2 * share, 0, 1))
        return power, noise

    def _band_powers(self, audio):
        """Return the power density in each band, `(kept frames, bands)`."""
        means = self.bins_to_bands(self.window_samples)
        means = means / np.maximum(means.sum(axis=1, keepdims=True), 1e-9)
        return self.averaging @ (self._powers(audio, self.window_samples) @ means.T)

    def _powers(self, audio, window_samples):
        """Return the power density of each frame, `(frames, bins)`; white noise of variance 1 has 1, also at the ends."""
        frames = _framed(np.pad(audio, window_samples // 2), window_samples, self.hop_samples)
        transform = np.fft.rfft(frames * hann(window_samples))
        return (np.square(transform.real) + np.square(transform.imag)) / self._window_powers(window_samples)[:, None]

    @functools.lru_cache(8)  # noqa: B019
    def _window_powers(self, window_samples):
        """Return the sum of the squares of each frame's window inside the clip, `(frames,)`."""
        ones = np.pad(np.ones((self.frames - 1) * self.hop_samples, np.float32), window_samples // 2)
        return _framed(ones, window_samples, self.hop_samples) @ np.square(hann(window_samples))

    def _partials(self, audio, turns):
        """Return complex amplitudes `(frames, partials)` by weighted least squares. The clip's ends truncate the windows."""
        count, hop, frames = len(turns), self.hop_samples, self.frames
        half = int(max(PERIODS / turns[0], SHORTEST_WINDOW_FRAMES * hop) / 2)
        time = np.arange(-half, half + 1)
        window = np.cos(np.pi * time / (2 * (half + 1))) ** 2
        waves = np.exp(2j * np.pi * np.outer(turns, time))
        waves = np.concatenate([waves.real, waves.imag]).astype(np.float32)
        framed = _framed(np.pad(audio, (half, half + 1)), 2 * half + 1, hop)

        def solution(inside):
            weighted = waves * (window * inside).astype(np.float32)
            gram = (weighted @ waves.T).astype(np.float64)
            gram[np.diag_indices(2 * count)] += REGULARISATION * window.sum() / 2
            return np.linalg.solve(gram, weighted.astype(np.float64)).astype(np.float32)

        centres = np.arange(frames) * hop
        whole = (centres >= half) & (centres <= len(audio) - 1 - half)
        found = np.empty((frames, 2 * count), np.float32)
        if whole.any():
            found[whole] = framed[whole] @ solution(np.ones_like(window)).T
        for i in np.flatnonzero(~whole):
            found[i] = framed[i] @ solution((time + centres[i] >= 0) & (time + centres[i] < len(audio))).T
        return found[:, :count] - 1j * found[:, count:]

    def _oscillate(self, amplitudes, turns):
        """Return the sum of partials with complex amplitudes `(frames, partials)`."""
        time = np.arange(-self.hop_samples, self.hop_samples)
        waves = np.exp(2j * np.pi * np.outer(turns, time)).astype(np.complex64)
        summed = amplitudes.real.astype(np.float32) @ waves.real - amplitudes.imag.astype(np.float32) @ waves.imag
        summed *= (1 - np.abs(time) / self.hop_samples).astype(np.float32)
        return (summed[:-1, self.hop_samples :] + summed[1:, : self.hop_samples]).ravel()

    def _shaped_noise(self, density):
        """Return noise with power densities `(noise frames, bands)`."""
        window, hop = hann(self.window_samples), 2 * self.hop_samples
        gains = np.exp(0.5 * np.log(density + 1e-12) @ self.bands_to_bins(self.window_samples))
        frames = np.fft.irfft(self.noise_spectra * gains, self.window_samples).astype(np.float32) * window
        return overlapped(frames, hop)[self.window_samples // 2 :][: (self.frames - 1) * self.hop_samples] / OVERLAP


@functools.cache
def phases(count):
    """Return the phases of partials, pi / 2 or -pi / 2. Equal phases would add up to clicks."""
    signs = np.random.default_rng(5).choice([-1, 1], 2 * PARTIALS)[:count]
    return np.where(signs > 0, -np.pi / 2, np.pi / 2).astype(np.float32)


@functools.cache
def hann(samples):
    """Return the Hann window, float32, with its peak between two samples."""
    return (np.sin(np.pi * (np.arange(samples) + 0.5) / samples) ** 2).astype(np.float32)


def overlapped(frames, hop_samples):
    """Overlap and add frames `(frames, samples)`. The hop divides the length of a frame."""
    parts = frames.reshape(len(frames), -1, hop_samples)
    total = np.zeros((len(frames) + parts.shape[1] - 1, hop_samples), np.float32)
    for i in range(parts.shape[1]):
        total[i : i + len(frames)] += parts[:, i]
    return total.ravel()


def _tuned(audio, turns, count):
    """Return the frequencies of partials, located at their peaks, as multiples of the nominal pitch, `(count,)`.

    First, a common tuning within 60 cents is found by the strength of twelve partials. Then each partial moves to its own
    peak, if one stands out within half of the distance between partials.
    """
    size = 2 * len(audio)
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), size)) ** 2
    factors = 2.0 ** (np.linspace(-60, 60, 121) / 1200)
    places = np.minimum(factors[:, None] * np.arange(1, count + 1)[:12] * turns * size, len(power) - 2)
    below = places.astype(int)
    strength = np.sqrt(power[below]) * (1 - (places - below)) + np.sqrt(power[below + 1]) * (places - below)
    factor = factors[np.argmax(strength.sum(axis=1))]
    ratios = factor * np.arange(1, count + 1)
    for k in range(count):
        low = int(np.ceil((k + 0.5) * factor * turns * size))
        high = min(int((k + 1.5) * factor * turns * size), len(power) - 2)
        if high - low < 5:
            continue
        peak = low + int(np.argmax(power[low:high]))
        around = power[max(low, peak - 6) : peak + 7].sum()
        if power[peak] < power.max() * 1e-6 or around < 0.5 * power[low:high].sum():
            continue
        left, at, right = np.log(power[peak - 1 : peak + 2] + 1e-20)
        bend = left - 2 * at + right
        place = peak + 0.5 * (left - right) / bend if bend < 0 else peak
        ratios[k] += np.clip(place / (turns * size) - ratios[k], -0.49, 0.49)
    return ratios


def _smooth(values, count):
    """Return running means over an odd number of frames. The first and the last frame are repeated at the edges."""
    if count <= 1:
        return values
    total = np.cumsum(np.pad(values, ((count // 2 + 1, count // 2), (0, 0)), mode="edge"), axis=0)
    return (total[count:] - total[:-count]) / count


def _framed(samples, length, hop):
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]


def _triangles(places, count):
    """Return weights `(count, places)` that interpolate linearly among `count` values."""
    below = np.minimum(places.astype(int), count - 2)
    weights = np.zeros((count, len(places)), np.float32)
    weights[below, np.arange(len(places))] += 1 - (places - below)
    weights[below + 1, np.arange(len(places))] += places - below
    return weights
