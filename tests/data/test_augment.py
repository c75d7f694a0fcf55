import sys

import numpy as np
import pytest
import tensorflow as tf

from kgan.data.augment import Augmentation
from kgan.data.pipeline import training_dataset
from kgan.data.sounds import Sounds, to_int16
from kgan.errors import InputError
from kgan.noise import folded_seed
from kgan.representations import Spec, Wave

LENGTH = 2048
SEED = folded_seed(1, 2)


def sines(count=200, frequency_hz=500.0, channels=1):
    sine = 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(LENGTH) / 16000).astype(np.float32)
    return np.tile(sine, (count, 1)) if channels == 1 else np.tile(sine[:, None], (count, 1, channels))


def changed(audio, **options):
    return Augmentation(**options).of_audio(tf.constant(audio), SEED).numpy()


def test_off_it_changes_nothing():
    audio = sines(3)
    np.testing.assert_array_equal(changed(audio), audio)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "options", [{"gain_db": 6}, {"polarity": True}, {"pitch_semitones": 1}, {"shift_samples": 9}, {"fade_samples": 9}]
)
def test_the_same_seed_changes_alike_and_stereo_together(options, channels):
    audio = sines(8, channels=channels)
    made = changed(audio, **options)
    assert made.shape == audio.shape
    assert (made != audio).any()
    np.testing.assert_array_equal(changed(audio, **options), made)
    if channels == 2:
        np.testing.assert_array_equal(made[..., 0], made[..., 1])
        np.testing.assert_allclose(made[..., 0], changed(audio[..., 0], **options), atol=1e-6)


def test_gain_is_uniform_in_decibels_and_clips():
    audio = 0.2 * sines()
    gains_db = 20 * np.log10(np.abs(changed(audio, gain_db=6)).max(axis=1) / np.abs(audio).max())
    assert -6 <= gains_db.min() < -5 < 5 < gains_db.max() <= 6
    assert abs(gains_db.std() - 12 / np.sqrt(12)) < 0.3
    assert np.abs(changed(2 * sines(), gain_db=12)).max() == 1.0


def test_polarity_turns_half_of_them():
    made = changed(sines(), polarity=True)
    turned = np.isclose(made, -sines()).all(axis=1)
    assert (turned | np.isclose(made, sines()).all(axis=1)).all()
    assert 70 < turned.sum() < 130


def test_pitch_moves_by_up_to_so_many_semitones():
    made = changed(sines(), pitch_semitones=2)
    frequencies_hz = np.abs(np.fft.rfft(made[:, :1700] * np.hanning(1700), 2**16)).argmax(axis=1) * 16000 / 2**16
    semitones = 12 * np.log2(frequencies_hz / 500)
    assert -2.05 < semitones.min() < -1.5
    assert 1.5 < semitones.max() < 2.05
    faster = semitones > 0.5
    assert (made[faster, -10:] == 0).all()  # what lies beyond the end is silent


def test_shift_moves_and_fills_with_silence():
    audio = np.tile(np.arange(1, 101, dtype=np.float32), (300, 1))
    made = changed(audio, shift_samples=10)
    starts = set()
    for row in made:
        shift = int(np.argmax(row == 1)) if (row == 1).any() else 1 - int(row[0])
        expected = np.zeros(100)
        inside = np.arange(100) - shift
        valid = (inside >= 0) & (inside < 100)
        expected[valid] = audio[0][inside[valid]]
        np.testing.assert_array_equal(row, expected)
        starts.add(shift)
    assert starts == set(range(-10, 11))


@pytest.fixture(params=["as installed", "without tensorflow-io"])
def ways_to_fade(request, monkeypatch):
    if request.param == "without tensorflow-io":
        monkeypatch.setitem(sys.modules, "tensorflow_io", None)


@pytest.mark.usefixtures("ways_to_fade")
def test_fade_by_hand():
    made = changed(np.ones((2, 20), np.float32), fade_samples=5)
    ramp = np.linspace(0, 1, 5)
    np.testing.assert_allclose(made[1], np.concatenate([ramp, np.ones(10), ramp[::-1]]), atol=1e-6)
    with pytest.raises(InputError, match=r"at most half a clip, 10\. Received: 11"):
        changed(np.ones((2, 20), np.float32), fade_samples=11)


@pytest.mark.parametrize("shape", [(5, 64), (3, 65, 2)])
@pytest.mark.parametrize("samples", [1, 2, 9, 32])
def test_without_tensorflow_io_fades_are_the_same_samples(shape, samples, rng, monkeypatch):
    pytest.importorskip("tensorflow_io")
    audio = rng.uniform(-1, 1, shape).astype(np.float32)
    by_tensorflow_io = changed(audio, fade_samples=samples)
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    np.testing.assert_array_equal(changed(audio, fade_samples=samples), by_tensorflow_io)


@pytest.mark.parametrize(("option", "axis"), [("time_mask_frames", 1), ("frequency_mask_bins", 2)])
def test_masks_are_runs_of_silence(option, axis):
    x = tf.ones((300, 16, 24, 2))
    silence = tf.fill((1, 16, 24, 2), -0.5)
    made = Augmentation(**{option: 5}).of_spectrogram(x, silence, SEED).numpy()
    masked = made == -0.5
    assert set(np.unique(made)) == {-0.5, 1.0}
    rows = masked.any(axis=(3 - axis, 3))
    assert (masked == (rows[:, :, None, None] if axis == 1 else rows[:, None, :, None])).all()
    widths, edges = rows.sum(axis=1), np.abs(np.diff(np.pad(rows, ((0, 0), (1, 1))).astype(int), axis=1)).sum(axis=1)
    assert set(widths) == set(range(6))
    assert set(edges) == {0, 2}  # one run
    assert rows.any(axis=0).all()  # anywhere


def test_in_the_pipeline_it_is_drawn_anew_and_resumes_exactly():
    sounds = Sounds(to_int16(sines(8)), 16000, [str(i) for i in range(8)])
    augmentation = Augmentation(gain_db=6, frequency_mask_bins=20)
    options = {"batch_size": 4, "n_critic": 2, "augmentation": augmentation}
    spec = Spec(LENGTH)
    whole = [element["x"].numpy() for element in training_dataset(sounds, spec, **options).take(4)]
    late = [element["x"].numpy() for element in training_dataset(sounds, spec, start_step=2, **options).take(2)]
    for first, second in zip(whole[2:], late, strict=True):
        np.testing.assert_array_equal(first, second)
    levels = np.stack([np.abs(x).max(axis=(1, 2, 3)) for x in whole])
    assert len(np.unique(levels.round(6))) == 32
    plain = next(iter(training_dataset(sounds, Wave(), batch_size=4, augmentation=Augmentation(gain_db=6))))
    assert plain["x"].shape == (4, LENGTH, 1)
