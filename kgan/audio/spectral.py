"""Short-time Fourier transforms, their inverses and the mel scale, for float32 tensors with standard TensorFlow operations.

Every window is a periodic Hann window as long as the transform.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from kgan.audio.fourier import irfft, repeated, rfft
from kgan.audio.signal import hz_to_mel, mel_to_hz

TINY = 1e-10  # magnitudes below this, 200 dB under full scale, are silence; keeps values and gradients finite there
GRIFFIN_LIM_MOMENTUM = 0.99
PINV_CUTOFF = 0.03  # relative to the largest singular value; without it some sizes amplify noise a thousandfold


class Transform(NamedTuple):
    """Complex numbers as two float32 tensors. These are faster than complex tensors, and model converters support them."""

    real: tf.Tensor
    imag: tf.Tensor


def stft(audio, fft_samples, hop_samples, padding_samples):
    """Return the short-time Fourier transform: `(..., samples)` -> `Transform` `(..., frames, fft_samples / 2 + 1)`.

    Args:
        audio: float32 `(..., samples)`.
        fft_samples: Length of a frame and of its transform.
        hop_samples: Samples between frames.
        padding_samples: Pair of the numbers of zeros before and after the audio.
    """
    padded = tf.pad(audio, [[0, 0]] * (audio.shape.rank - 1) + [list(padding_samples)])
    return Transform(*rfft(tf.signal.frame(padded, fft_samples, hop_samples) * hann_window(fft_samples)))


def inverse_stft(transform, fft_samples, hop_samples, padding_samples):
    """Return the audio whose `stft` is nearest to `transform` by least squares, float32 `(..., samples)`.

    This is the exact inverse of `stft`; the arguments are the same.

    Reference: Griffin and Lim 1984, "Signal Estimation from Modified Short-Time Fourier Transform", equation 6.
    """
    window = hann_window(fft_samples)
    frames = irfft(*transform, fft_samples) * window
    weights = _summed(np.tile(np.square(window, dtype=np.float64), (transform.real.shape[-2], 1)), hop_samples)
    weights = np.maximum(weights, TINY)  # the very first sample has weight 0
    before, after = padding_samples
    audio = tf.signal.overlap_and_add(frames, hop_samples)[..., before : len(weights) - after]
    return audio / weights[before : len(weights) - after].astype(np.float32)


def griffin_lim(magnitudes, fft_samples, hop_samples, padding_samples, iterations, unit_transform=None):
    """Return audio whose `stft` has approximately the given magnitudes, by the fast Griffin-Lim algorithm.

    It starts from `unit_transform`, or else from `steady_unit_transform`. On notes with a 256-sample transform, 16
    iterations from the latter leave a fifth of the spectral convergence that they leave from random phases.

    Args:
        magnitudes: float32 `(batch, frames, fft_samples / 2 + 1)`.
        iterations: Steps of the algorithm; 0 inverts the start as it is.
        unit_transform: Phases to start from, a `Transform` of magnitude 1 in the shape of `magnitudes`.
        Others: See `stft`.

    Returns:
        float32 `(batch, samples)`.

    Reference: Perraudin et al. 2013, "A fast Griffin-Lim algorithm", algorithm 2.
    """
    framing = fft_samples, hop_samples, padding_samples
    if unit_transform is None:
        unit_transform = steady_unit_transform(magnitudes, fft_samples, hop_samples)

    def improve(unit, previous):
        consistent = stft(inverse_stft(scaled(unit, magnitudes), *framing), *framing)
        ahead = scaled(previous, -GRIFFIN_LIM_MOMENTUM / (1.0 + GRIFFIN_LIM_MOMENTUM))
        ahead = Transform(consistent.real + ahead.real, consistent.imag + ahead.imag)
        return scaled(ahead, 1.0 / magnitude(ahead)), consistent

    unit_transform, _ = repeated(improve, (unit_transform, scaled(unit_transform, 0.0)), iterations)
    return inverse_stft(scaled(unit_transform, magnitudes), *framing)


def steady_unit_transform(magnitudes, fft_samples, hop_samples):
    """Return phases, as a transform of magnitude 1, of sinusoids that are as steady as the magnitudes allow.

    Every bin belongs to the nearest peak of its frame, and its phase advances at the frequency of that peak. A parabola
    through the log magnitudes locates the peak between bins. Neighbouring bins of one sinusoid have opposite phases.

    Args:
        magnitudes: float32 `(batch, frames, bins)`.
        fft_samples, hop_samples: See `stft`.

    Returns:
        A `Transform` `(batch, frames, bins)`.

    Reference: Beauregard et al. 2015, "Single Pass Spectrogram Inversion". There, phases propagate from peak to peak. Here
        each bin sums its own phase advances, which needs no loop over frames and is no worse after Griffin-Lim.
    """
    bins = magnitudes.shape[-1]
    peaks = tf.clip_by_value(nearest_peaks(magnitudes), 0, bins - 1)
    levels = tf.math.log(tf.maximum(magnitudes, TINY))
    levels = tf.pad(levels, [[0, 0], [0, 0], [1, 1]], mode="REFLECT")  # the spectrum of a real signal continues mirrored
    below, at, above = (tf.gather(levels, peaks + offset, batch_dims=2) for offset in (0, 1, 2))
    curvature = tf.minimum(below - 2.0 * at + above, -TINY)
    frequencies = tf.cast(peaks, tf.float32) + tf.clip_by_value(0.5 * (below - above) / curvature, -0.5, 0.5)  # in bins
    turns = frequencies * hop_samples / fft_samples
    turns = tf.cumsum(turns - tf.floor(turns), axis=1) + 0.5 * tf.range(bins, dtype=tf.float32)
    return unit_phasor(2.0 * np.pi * (turns - tf.floor(turns)))


def nearest_peaks(magnitudes):
    """Return for each bin of `(..., bins)` the nearest local maximum, int32; without any, a number out of range."""
    bins = magnitudes.shape[-1]
    edges = [[0, 0]] * (magnitudes.shape.rank - 1)
    fenced = tf.pad(magnitudes, [*edges, [1, 1]])
    peak = (magnitudes > fenced[..., :-2]) & (magnitudes >= fenced[..., 2:])
    number = tf.range(bins)
    far = 2 * bins
    below, above = tf.where(peak, number, -far), tf.where(peak, number, far)
    reach = 1
    while reach < bins:  # a running maximum in log2(bins) steps
        below = tf.maximum(below, tf.pad(below, [*edges, [reach, 0]], constant_values=-far)[..., :bins])
        above = tf.minimum(above, tf.pad(above, [*edges, [0, reach]], constant_values=far)[..., reach:])
        reach *= 2
    return tf.where(number - below <= above - number, below, above)


def magnitude(transform):
    """Return |transform|, at least `TINY`. Below that, the gradient is zero instead of NaN."""
    return tf.sqrt(tf.maximum(squared_magnitude(transform), TINY**2))


def squared_magnitude(transform):
    """Return |transform| squared."""
    return tf.square(transform.real) + tf.square(transform.imag)


def scaled(transform, factors):
    """Return a `Transform` times real numbers."""
    return Transform(transform.real * factors, transform.imag * factors)


def decibels(magnitudes):
    """Return 20 log10 of magnitudes."""
    return 20.0 / np.log(10.0) * tf.math.log(tf.maximum(magnitudes, TINY))


def unit_phasor(phase):
    """Return exp(i phase) as a `Transform`, for a phase in radians."""
    return Transform(tf.cos(phase), tf.sin(phase))


def hann_window(fft_samples):
    """Return the periodic Hann window, a float32 numpy constant. Its sum is half its length."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft_samples) / fft_samples)).astype(np.float32)


def mel_matrices(bins, sample_rate_hz):
    """Return the matrix from the bins of a power spectrum to one bin fewer on the mel scale, and its pseudo-inverse.

    Mel bins are evenly spaced on HTK's scale from 0 Hz to half the sample rate. Each is a triangular mean that reaches to
    its neighbours, and at least as far as the distance of linear bins. At low frequencies, below 2.5 kHz of 8, mel bins are
    denser than linear bins, and triangles that only reach to their neighbours would leave most of them empty.

    Args:
        bins: Linear bins from 0 Hz to half the sample rate, `fft_samples / 2 + 1`.
        sample_rate_hz: Sample rate.

    Returns:
        float32 numpy arrays `(bins, bins - 1)`, whose columns sum to 1, and `(bins - 1, bins)`.
    """
    linear_hz, centres_hz = _bin_centres_hz(bins, sample_rate_hz)
    gaps_hz = np.maximum(np.diff(centres_hz), linear_hz[1])
    distance_hz = linear_hz[:, None] - centres_hz
    below_hz, above_hz = np.append(gaps_hz[0], gaps_hz), np.append(gaps_hz, gaps_hz[-1])
    triangles = np.maximum(0.0, 1.0 - np.where(distance_hz < 0, -distance_hz / below_hz, distance_hz / above_hz))
    to_mel = triangles / triangles.sum(axis=0)
    return to_mel.astype(np.float32), np.linalg.pinv(to_mel, rcond=PINV_CUTOFF).astype(np.float32)


def multiply_banded(values, matrix, blocks=16):
    """Return `values @ matrix`, faster if the non-zero entries of the numpy matrix are near its diagonal.

    Args:
        values: float32 `(..., rows)`.
        matrix: float32 numpy array `(rows, columns)`.
        blocks: Number of groups of columns; each is multiplied only with the rows that it needs.
    """
    parts = []
    for columns in np.array_split(matrix, min(blocks, matrix.shape[1]), axis=1):
        rows = np.flatnonzero(columns.any(axis=1))
        first, stop = rows[0], rows[-1] + 1
        parts.append(tf.tensordot(values[..., first:stop], columns[first:stop], 1))
    return tf.concat(parts, axis=-1)


def nearest_mel_bins(bins, sample_rate_hz):
    """Return for each linear bin the nearest mel bin, int `(bins,)`. The arguments are those of `mel_matrices`."""
    linear_hz, centres_hz = _bin_centres_hz(bins, sample_rate_hz)
    return np.abs(hz_to_mel(linear_hz)[:, None] - hz_to_mel(centres_hz)).argmin(axis=1)


def _bin_centres_hz(bins, sample_rate_hz):
    highest_hz = sample_rate_hz / 2
    return np.linspace(0.0, highest_hz, bins), mel_to_hz(np.linspace(0.0, hz_to_mel(highest_hz), bins - 1))


def _summed(frames, hop_samples):
    """Overlap and add numpy frames."""
    total = np.zeros((len(frames) - 1) * hop_samples + frames.shape[1])
    for i, frame in enumerate(frames):
        total[i * hop_samples : i * hop_samples + len(frame)] += frame
    return total
