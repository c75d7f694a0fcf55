"""Against numpy in float64 and librosa."""

import itertools

import librosa
import numpy as np
import pytest
import tensorflow as tf

from kgan.audio import spectral
from kgan.data.notes import load_notes

FRAMINGS = [(256, 128, (64, 64)), (256, 64, (192, 0)), (1024, 256, (384, 384)), (64, 32, (16, 16))]


def spectral_convergence(audio, magnitudes, fft_samples, hop_samples, padding):
    """Return ||STFT(audio)| - magnitudes| / |magnitudes| for each clip, in float64."""
    made = np.abs(transforms(audio, fft_samples, hop_samples, padding))
    return np.linalg.norm(made - magnitudes, axis=(1, 2)) / np.linalg.norm(magnitudes, axis=(1, 2))


def transforms(audio, fft_samples, hop_samples, padding):
    """The definition, in float64."""
    padded = np.pad(np.asarray(audio, np.float64), [(0, 0), padding])
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_samples, axis=1)[:, ::hop_samples]
    return np.fft.rfft(frames * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft_samples) / fft_samples)))


@pytest.fixture(scope="module")
def notes(notes_cache):
    sounds = load_notes(cache_dir=notes_cache)
    return sounds.waveforms(np.linspace(0, len(sounds) - 1, 60).astype(int))


@pytest.mark.parametrize("framing", FRAMINGS)
def test_stft_is_its_definition_and_librosa_s(rng, framing):
    audio = rng.uniform(-1, 1, (3, 4096)).astype(np.float32)
    fft_samples, hop_samples, padding = framing
    made = tf.complex(*spectral.stft(tf.constant(audio), *framing))
    np.testing.assert_allclose(made, transforms(audio, *framing), atol=2e-6 * fft_samples)
    padded = np.pad(audio, [(0, 0), padding])
    peer = librosa.stft(padded, n_fft=fft_samples, hop_length=hop_samples, center=False)
    np.testing.assert_allclose(made, peer.swapaxes(1, 2), atol=2e-6 * fft_samples)


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_inverse_is_exact(rng, framing):
    audio = rng.uniform(-1, 1, (3, 4096)).astype(np.float32)
    fft_samples, hop_samples, (before, after) = framing
    frames = (4096 + before + after - fft_samples) // hop_samples + 1
    covered = (frames - 1) * hop_samples + fft_samples - before - after
    inverse = spectral.inverse_stft(spectral.stft(tf.constant(audio), *framing), *framing)
    body = slice(0, covered - (fft_samples // 8 if not after else 0))  # without padding nothing covers the last samples
    np.testing.assert_allclose(inverse[:, body], audio[:, body], atol=5e-6)


def test_the_inverse_of_an_inconsistent_transform_is_the_least_squares_one(rng):
    framing = (8, 4, (2, 2))
    samples, frames = 20, 5
    target = rng.normal(size=(frames, 5)) + 1j * rng.normal(size=(frames, 5))
    target.imag[:, [0, -1]] = 0  # as of real frames
    basis = transforms(np.eye(samples), *framing).reshape(samples, -1).T  # (numbers, samples)
    # A real signal's other half of the spectrum counts, too: every bin but the first and last stands for two.
    weights = np.tile(np.sqrt([1, 2, 2, 2, 1]), frames)
    rows, aims = basis * weights[:, None], target.ravel() * weights
    expected = np.linalg.lstsq(np.concatenate([rows.real, rows.imag]), np.concatenate([aims.real, aims.imag]), rcond=None)[0]
    made = spectral.inverse_stft(spectral.Transform(*tf.constant([target.real[None], target.imag[None]], tf.float32)), *framing)
    np.testing.assert_allclose(made[0], expected, atol=1e-5)


def test_magnitude_of_silence_has_a_gradient():
    parts = tf.Variable([[3.0, 0.0], [4.0, 0.0]])
    with tf.GradientTape() as tape:
        magnitudes = spectral.magnitude(spectral.Transform(parts[0], parts[1]))
    np.testing.assert_allclose(magnitudes, [5, 1e-10], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(magnitudes, parts), [[0.6, 0], [0.8, 0]], atol=1e-6)


def test_nearest_peaks_are_those_of_a_plain_search(rng):
    magnitudes = rng.uniform(size=(4, 6, 33)).astype(np.float32)
    found = spectral.nearest_peaks(tf.constant(magnitudes)).numpy()
    for row, peaks in zip(magnitudes.reshape(-1, 33), found.reshape(-1, 33), strict=True):
        fenced = np.pad(row, 1)
        places = [k for k in range(33) if fenced[k + 1] > fenced[k] and fenced[k + 1] >= fenced[k + 2]]
        for k, peak in enumerate(peaks):
            assert peak in places
            assert abs(peak - k) == min(abs(place - k) for place in places)


@pytest.mark.parametrize("frequency_hz", [440.0, 1000.0, 3210.9])
def test_phases_of_a_steady_sine_are_found_without_iterations(frequency_hz):
    audio = 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(16384) / 16000)[None].astype(np.float32)
    framing = (256, 128, (64, 64))
    magnitudes = spectral.magnitude(spectral.stft(tf.constant(audio), *framing))
    made = spectral.griffin_lim(magnitudes, *framing, iterations=0)
    assert spectral_convergence(made, magnitudes, *framing)[0] < 0.05
    spectrum = np.abs(np.fft.rfft(made[0].numpy() * np.hanning(16384)))
    assert abs(spectrum.argmax() * 16000 / 16384 - frequency_hz) < 2


def test_griffin_lim_is_librosa_s_from_the_same_start(rng):
    audio = rng.normal(size=(2, 4096)).astype(np.float32) * 0.1
    framing = (256, 64, (0, 0))
    magnitudes = spectral.magnitude(spectral.stft(tf.constant(audio), *framing))
    ones = spectral.Transform(tf.ones_like(magnitudes), tf.zeros_like(magnitudes))
    made = spectral.griffin_lim(magnitudes, *framing, iterations=10, unit_transform=ones).numpy()
    for clip, target in zip(made, magnitudes.numpy(), strict=True):
        peer = librosa.griffinlim(target.T, n_iter=10, n_fft=256, hop_length=64, center=False, init=None, momentum=0.99)
        np.testing.assert_allclose(clip[64:-64], peer[64:-64], atol=1e-4)


@pytest.mark.long
def test_griffin_lim_on_notes_beats_the_plain_one_and_librosa_s(notes):
    """SpecGAN used 16 iterations of the plain algorithm, which is librosa's without momentum."""
    framing = (256, 128, (64, 64))
    magnitudes = spectral.magnitude(spectral.stft(tf.constant(notes), *framing)).numpy()

    def peer(momentum):
        options = {"n_iter": 16, "n_fft": 256, "hop_length": 128, "center": False, "random_state": 0, "momentum": momentum}
        return np.stack([librosa.griffinlim(target.T, **options)[64:-64] for target in magnitudes])

    made = {
        "ours": spectral.griffin_lim(tf.constant(magnitudes), *framing, iterations=16),
        "fast": peer(momentum=0.99),
        "plain": peer(momentum=0.0),
    }
    medians = {name: np.median(spectral_convergence(audio, magnitudes, *framing)) for name, audio in made.items()}
    assert medians["ours"] < 0.3 * medians["fast"] < 0.3 * medians["plain"], medians
    assert medians["ours"] < 0.03


@pytest.mark.parametrize("frequency_hz", [0.0, 20.0, 40.0, 7990.0, 8000.0])
def test_partials_at_the_edges_of_the_spectrum(frequency_hz):
    audio = 0.5 * np.cos(2 * np.pi * frequency_hz * np.arange(16384) / 16000)[None].astype(np.float32)
    framing = (256, 128, (64, 64))
    magnitudes = spectral.magnitude(spectral.stft(tf.constant(audio), *framing))
    made = spectral.griffin_lim(magnitudes, *framing, iterations=32)
    assert spectral_convergence(made, magnitudes, *framing)[0] < 0.15


def test_mel_scale_is_htk_s():
    frequencies_hz = np.linspace(0, 8000, 100)
    np.testing.assert_allclose(spectral.hz_to_mel(frequencies_hz), librosa.hz_to_mel(frequencies_hz, htk=True), rtol=1e-4)
    np.testing.assert_allclose(spectral.mel_to_hz(spectral.hz_to_mel(frequencies_hz)), frequencies_hz, atol=1e-9)


@pytest.mark.parametrize("bins", [129, 513, 1025])
def test_every_mel_bin_is_a_mean_around_its_centre(bins):
    to_mel, from_mel = spectral.mel_matrices(bins, 16000)
    assert to_mel.shape == (bins, bins - 1)
    assert from_mel.shape == (bins - 1, bins)
    np.testing.assert_allclose(to_mel.sum(axis=0), 1, atol=1e-5)
    assert to_mel.min() >= 0
    centres_hz = librosa.mel_frequencies(n_mels=bins - 1, fmin=0, fmax=8000, htk=True)
    means_hz = np.linspace(0, 8000, bins) @ to_mel
    spacing_hz = 8000 / (bins - 1)
    assert np.abs(means_hz - centres_hz)[1:-1].max() < 0.75 * spacing_hz
    nearest = spectral.nearest_mel_bins(bins, 16000)
    linear, centres = (librosa.hz_to_mel(hz, htk=True) for hz in (np.linspace(0, 8000, bins), centres_hz))
    assert np.mean(nearest == np.abs(linear[:, None] - centres).argmin(axis=1)) > 0.99
    # Where mel bins lie denser than linear ones nothing is lost on the way there and back.
    low = np.linspace(0, 8000, bins) < 1500
    np.testing.assert_allclose((to_mel @ from_mel)[:, low][low], np.eye(bins)[:, low][low], atol=0.02)


def test_banded_product_is_the_product(rng):
    to_mel, _ = spectral.mel_matrices(513, 16000)
    values = rng.normal(size=(2, 3, 513)).astype(np.float32)
    np.testing.assert_allclose(spectral.multiply_banded(tf.constant(values), to_mel), values @ to_mel, atol=1e-5)


@pytest.mark.parametrize(
    ("fft_samples", "sample_rate_hz"),
    [*itertools.product([8, 256, 512, 1024], [8000, 16000, 22050, 44100, 48000]), (2048, 16000)],
)
def test_the_way_back_from_mel_does_not_amplify_noise(fft_samples, sample_rate_hz):
    to_mel, from_mel = spectral.mel_matrices(fft_samples // 2 + 1, sample_rate_hz)
    assert np.linalg.norm(from_mel, 2) < 40 / np.linalg.norm(to_mel, 2)
    powers = np.random.default_rng(0).uniform(0.5, 1, (1, 8, fft_samples // 2 + 1)).astype(np.float32)
    np.testing.assert_allclose(spectral.multiply_banded(tf.constant(powers), to_mel), powers @ to_mel, atol=1e-5)
