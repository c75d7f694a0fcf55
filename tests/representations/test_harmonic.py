"""Harmonic plus noise: components of levels, and sound of any pitch and duration."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.audio.harmonic import PARTIAL_FLOOR, PARTIALS
from kgan.audio.pitch import estimate_pitch, midi_to_hz
from kgan.errors import InputError
from kgan.representations import Harmonic

RATE_HZ, LENGTH = 16000, 8192
TONE = {0: np.log(0.3), 1: np.log(0.1), 4: np.log(0.05)}  # levels of partials 1, 2 and 5


def harmonic_of(levels, components=2, **options):
    """Return a layer that makes the given levels, `(frames, levels)`, of components of zero."""
    layer = Harmonic(LENGTH, components=components, **options)
    layer.mean.assign(levels)
    for weight in (layer.time_shapes, layer.level_shapes):
        weight.assign(np.full(weight.shape, 1e-12))
    return layer


def steady(frames, levels):
    made = np.full((frames, levels), np.log(PARTIAL_FLOOR) - 10, np.float32)
    for partial, level in TONE.items():
        made[:, partial] = level
    return made


@pytest.fixture(scope="module")
def playing():
    return harmonic_of(steady(*Harmonic(LENGTH, components=2).levels_shape))


def patterns(layer, rng, count):
    """Return levels that are mixtures of three products of a shape over time and one over levels, and the mixtures."""
    frames, levels = layer.levels_shape
    shapes = [np.outer(rng.normal(size=frames), rng.normal(size=levels)) for _ in range(3)]
    mixtures = rng.normal(size=(count, 3)) * [3.0, 2.0, 1.0]
    return np.einsum("ns,stl->ntl", mixtures, shapes).astype(np.float32) - 4, mixtures


def test_components_hold_what_varies(rng):
    layer = Harmonic(LENGTH, components=9)
    levels, mixtures = patterns(layer, rng, 40)
    layer.fit([levels[:25], levels[25:]])
    x = layer.project(levels)
    assert x.shape == (40, 9)
    # Three patterns: three shapes over time, three over levels, nine products.
    np.testing.assert_allclose(layer.levels(tf.constant(x)), levels, atol=2e-2)
    assert np.mean(np.square(x)) == pytest.approx(1, rel=1e-3)
    assert np.all(np.diff(x.std(axis=0)) < 0)
    centred = mixtures - mixtures.mean(axis=0)
    predicted = centred @ np.linalg.lstsq(centred, x, rcond=None)[0]
    np.testing.assert_allclose(predicted, x, atol=1e-2)


def test_the_strongest_components_are_kept(rng):
    all_nine, three = (Harmonic(LENGTH, components=count) for count in (9, 3))
    levels, _ = patterns(all_nine, rng, 40)
    for layer in (all_nine, three):
        layer.fit([levels])
    x, kept = all_nine.project(levels), three.project(levels)
    scale = np.sqrt(np.mean(np.square(x[:, :3])))
    np.testing.assert_allclose(kept, x[:, :3] / scale, rtol=1e-3, atol=1e-3)
    only_three = np.pad(x[:, :3], ((0, 0), (0, 6)))
    np.testing.assert_allclose(three.levels(tf.constant(kept)), all_nine.levels(tf.constant(only_three)), atol=1e-2)


def test_components_that_the_data_does_not_have_are_zero(rng):
    layer = Harmonic(LENGTH, components=20)
    levels, _ = patterns(layer, rng, 4)
    layer.fit([levels])
    x = layer.project(levels)
    assert np.abs(x[:, 9:]).max() < 1e-2 * np.abs(x).max()
    np.testing.assert_allclose(layer.levels(tf.constant(x)), levels, atol=2e-2)


def test_batches_and_their_order_do_not_matter(rng):
    layers = [Harmonic(LENGTH, components=2) for _ in range(2)]
    levels, _ = patterns(layers[0], rng, 30)
    layers[0].fit([levels])
    layers[1].fit([levels[20:], levels[:20]])
    first, second = (layer.levels(tf.constant(layer.project(levels))) for layer in layers)
    np.testing.assert_allclose(first, second, atol=1e-2)


def test_encode_and_decode_by_hand(playing):
    """A sum of three sines, of the amplitudes that the levels say, at the pitch asked for."""
    audio = playing.decode(tf.zeros((1, 2)), tf.constant([69]))[0].numpy()
    assert audio.shape == (LENGTH,)
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(LENGTH))) / (LENGTH / 4)
    for partial, level in TONE.items():
        frequency = 440 * (partial + 1)
        near = np.arange(LENGTH // 2 + 1) * RATE_HZ / LENGTH
        assert spectrum[np.abs(near - frequency) < 10].max() == pytest.approx(np.exp(level), rel=0.16)  # scalloping: 1.4 dB
    rest = spectrum[np.min([np.abs(near - 440 * (partial + 1)) for partial in TONE], axis=0) > 20]
    assert rest.max() < 1e-3
    found = playing.analyse(audio[np.newaxis], np.array([69]))[0, 20:-20]
    for partial, level in TONE.items():
        np.testing.assert_allclose(found[:, partial], level, atol=0.05)


def test_ripples_go_and_attacks_and_tremolo_stay():
    layer = Harmonic(components=2)
    frames, levels = layer.levels_shape
    time_s = layer.analysis.grid * layer.analysis.hop_samples / RATE_HZ
    neper = np.log(10) / 20  # one decibel
    ripple = 0.2 * neper * np.sin(2 * np.pi * 15 * time_s)
    tremolo = 6 * neper * np.sin(2 * np.pi * 6 * time_s)
    attack = np.where(time_s < 0.3, -40 * neper, 0.0)
    ramp = -30 * neper * time_s
    given = np.zeros((1, frames, levels), np.float32)
    given[0, :, :4] = np.stack([ripple, tremolo, attack, ramp], axis=1)
    made = layer.without_ripples(tf.constant(given)).numpy()[0]
    assert np.all(made[:, 4:] == 0)
    middle = slice(20, -20)
    assert np.abs(made[middle, 0]).max() < 0.02 * neper  # a deviation d becomes d^5 / (d^4 + 1.5^4): of 0.2 nothing is left
    assert made[middle, 1].std() > 0.9 * tremolo[middle].std()
    near = np.abs(time_s - 0.3) < 0.01
    np.testing.assert_allclose(made[near, 2], attack[near], atol=0.1 * neper)
    np.testing.assert_allclose(made[middle, 3], ramp[middle], atol=0.01 * neper)


@pytest.mark.parametrize("duration_s", [0.003, 0.1, 0.5, 2.5])
@pytest.mark.parametrize("pitch", [40.25, 60.5, 100.0])
def test_it_plays_any_pitch_for_any_time(playing, pitch, duration_s):
    audio = playing.play(tf.zeros((1, 2)), [pitch], duration_s, [[0.0]])[0].numpy()
    assert len(audio) == round(duration_s * RATE_HZ)
    assert np.isfinite(audio).all()
    if duration_s > 0.4:
        size = 2**20
        peak = np.abs(np.fft.rfft(audio * np.hanning(len(audio)), size)).argmax() * RATE_HZ / size
        assert abs(1200 * np.log2(peak / midi_to_hz(pitch))) < 3  # cents


def test_a_clip_s_own_duration_is_its_decoding(playing, rng):
    x, pitch = tf.constant(rng.normal(size=(2, 2)), tf.float32), tf.constant([50.0, 61.0])
    played = playing.play(x, pitch, LENGTH / RATE_HZ, tf.zeros((2, 1)))
    np.testing.assert_allclose(played, playing.decode(x, pitch), atol=1e-5)
    bent = playing.play(x, pitch, LENGTH / RATE_HZ, tf.zeros((2, 2)))
    np.testing.assert_allclose(bent, played, atol=2e-2)  # other sums of the same phases


def test_a_bend_is_followed(playing):
    audio = playing.play(tf.zeros((1, 2)), [60.0], 2.0, [[0.0, 12.0]])[0].numpy()
    for second in (0.2, 1.0, 1.8):
        here = audio[int(second * RATE_HZ) - 1024 :][:2048]
        expected = midi_to_hz(60 + 6 * second)
        assert estimate_pitch(here[np.newaxis], RATE_HZ).frequency_hz[0] == pytest.approx(expected, rel=2e-3)


def test_a_bend_has_no_jump_of_phase(playing):
    """Around 250 and 500 Hz a frame of 4 ms holds a whole number of periods."""
    audio = playing.play(tf.zeros((1, 2)), [57.0], 1.0, [[0.0, 16.0]])[0].numpy().astype(np.float64)
    time_s = np.arange(len(audio)) / RATE_HZ
    semitones = 57 + 16 * time_s / time_s[-1]
    turns = np.cumsum(midi_to_hz(semitones)) / RATE_HZ
    middle = slice(800, -800)
    analytic = audio[middle] * np.exp(-2j * np.pi * turns[middle])  # the first partial stands still, others turn
    still = np.convolve(analytic, np.hanning(512) / np.hanning(512).sum(), "valid")
    assert np.abs(np.diff(np.unwrap(np.angle(still)))).max() < 0.01
    np.testing.assert_allclose(np.abs(still), np.exp(TONE[0]) / 2, rtol=0.1)


def test_attack_and_release_last_as_long_as_they_do():
    frames, levels = Harmonic(LENGTH, components=2).levels_shape
    grid = Harmonic(LENGTH, components=2).analysis.grid / (Harmonic(LENGTH, components=2).analysis.frames - 1)
    made = steady(frames, levels)
    made[:, :5] = np.log(PARTIAL_FLOOR) - 10
    made[:, 0] = np.interp(grid, [0, 0.1, 0.75, 1], np.log([0.003, 0.3, 0.3, 0.003]))  # a ramp, a plateau, a release
    layer = harmonic_of(made)
    clip_s = LENGTH / RATE_HZ
    for duration_s in (1.0, 2.0, 0.3):
        audio = layer.play(tf.zeros((1, 2)), [69.0], duration_s, [[0.0]])[0].numpy()
        power = np.convolve(audio**2, np.ones(160) / 160, "same")
        time_s = np.arange(len(audio)) / RATE_HZ
        held_s = duration_s - 0.25 * clip_s
        plateau = power[(time_s > 0.11 * clip_s) & (time_s < held_s - 0.01)]
        np.testing.assert_allclose(10 * np.log10(plateau), 10 * np.log10(plateau.mean()), atol=1.5)
        half_released = power[int((held_s + 0.125 * clip_s) * RATE_HZ)]
        assert 10 * np.log10(half_released / plateau.mean()) == pytest.approx(-20, abs=2.5)  # of 40 dB


def test_a_short_decaying_note_has_no_step():
    frames, levels = Harmonic(LENGTH, components=2).levels_shape
    made = steady(frames, levels)
    made[:, :5] -= np.linspace(0, 4, frames)[:, None]
    audio = harmonic_of(made).play(tf.zeros((1, 2)), [69.0], 0.2, [[0.0]])[0].numpy()
    power = 10 * np.log10(np.convolve(audio**2, np.ones(320) / 320, "valid")[::64] + 1e-12)
    assert np.abs(np.diff(power)).max() < 3


def test_partials_beyond_half_the_rate_are_silent(playing):
    audio = playing.decode(tf.zeros((1, 2)), tf.constant([107]))[0].numpy()  # 3951 Hz: the second partial is above 7900 Hz
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(LENGTH)))
    hz = np.arange(len(spectrum)) * RATE_HZ / LENGTH
    assert spectrum[np.abs(hz - 3951) > 30].max() < 1e-2 * spectrum.max()


def test_noise_is_of_its_density():
    layer = Harmonic(LENGTH, components=2)
    levels = np.full(layer.levels_shape, np.log(PARTIAL_FLOOR) - 10, np.float32)
    levels[:, PARTIALS:] = np.log(0.1)
    audio = harmonic_of(levels).decode(tf.zeros((1, 2)), [60])[0].numpy()
    assert audio.std() == pytest.approx(0.1, rel=0.1)
    assert abs(np.mean(audio)) < 0.01


def test_both_channels_sound():
    layer = Harmonic(LENGTH, channels=2, components=2)
    frames, levels = layer.levels_shape
    made = np.full((frames, levels), np.log(PARTIAL_FLOOR) - 10, np.float32)
    made[:, 0], made[:, levels // 2 + 1] = np.log(0.3), np.log(0.2)
    audio = harmonic_of(made, channels=2).decode(tf.zeros((1, 2)), [69])[0].numpy()
    assert audio.shape == (LENGTH, 2)
    peaks = np.abs(np.fft.rfft(audio * np.hanning(LENGTH)[:, None], axis=0)).argmax(axis=0) * RATE_HZ / LENGTH
    np.testing.assert_allclose(peaks, [440, 880], atol=2)


def test_statistics_travel_in_a_file(rng, tmp_path):
    layer = Harmonic(LENGTH, components=3)
    levels, _ = patterns(layer, rng, 20)
    layer.fit([levels])
    again = Harmonic.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    x, pitch = tf.constant(rng.normal(size=(2, 3)), tf.float32), tf.constant([50, 61])
    np.testing.assert_array_equal(again.decode(x, pitch), layer.decode(x, pitch))
    assert keras.saving.get_registered_name(Harmonic) == "kgan>Harmonic"


def test_what_it_refuses(rng):
    with pytest.raises(InputError, match="adapted to the data first"):
        Harmonic(LENGTH, components=2).decode(tf.zeros((1, 2)), [60])
    with pytest.raises(InputError, match="at least two sounds. Received: 1"):
        Harmonic(LENGTH, components=4).fit([np.zeros((1, *Harmonic(LENGTH, components=4).levels_shape), np.float32)])
    with pytest.raises(InputError, match="from 1 to 13312. Received: 99999"):
        Harmonic(LENGTH, components=99999)
    with pytest.raises(InputError, match="MIDI's, 0 to 127. Received: 60 to 128"):
        Harmonic(LENGTH, components=2).analyse(np.zeros((2, LENGTH)), [60, 128])
    with pytest.raises(InputError, match="must be finite"):
        Harmonic(LENGTH, components=2).analyse(np.full((1, LENGTH), np.nan), [60])
