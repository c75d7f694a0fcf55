"""What every representation must do, then each by its definition in float64."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.audio.pitch import estimate_pitch
from kgan.data.notes import load_notes
from kgan.errors import InputError
from kgan.representations import LogSpec, MelIF, Spec, Wave

LENGTH = 4096
SPECTROGRAMS = {
    "spec": (Spec, {}),
    "raw spec": (Spec, {"companding": "raw"}),
    "logspec": (LogSpec, {}),
    "melif": (MelIF, {}),
    "melif, high resolution": (MelIF, {"fft_samples": 2048, "hop_samples": 512}),
}
ALL = {"wave": (Wave, {}), **SPECTROGRAMS}


def named(representations):
    """Return their names as parameters; what takes seconds is on demand."""
    return [pytest.param(name, marks=pytest.mark.long) if "high resolution" in name else name for name in representations]


def random_audio(*shape):
    """Noise whose level rises from 1/1000 to full scale: every level occurs."""
    return (np.random.default_rng(1).uniform(-1, 1, shape) * np.geomspace(1e-3, 1, LENGTH)).astype(np.float32)


def make(name, **options):
    representation_class, more = ALL[name]
    representation = representation_class(**{"length_samples": LENGTH, **more, **options})
    channels = options.get("channels", 1)
    audio = random_audio(8, LENGTH) if channels == 1 else np.stack([random_audio(8, LENGTH)] * channels, axis=2)
    if options.get("length_samples", LENGTH) == LENGTH:
        representation.adapt([audio])
    return representation


def hann(samples):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(samples) / samples)


def transforms(representation, audio):
    """The definition, in float64, a full-scale sine being 1."""
    padded = np.pad(np.asarray(audio, np.float64), [(0, 0), representation.padding_samples])
    fft_samples = representation.fft_samples
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft_samples, axis=1)[:, :: representation.hop_samples]
    return np.fft.rfft(frames * hann(fft_samples)) / (fft_samples / 4)


@pytest.mark.parametrize("count", [1, 7])
@pytest.mark.parametrize("name", named(ALL))
def test_directly_in_a_dataset_and_for_an_unknown_batch_size(name, count):
    representation = make(name)
    audio = random_audio(count, LENGTH)
    x = representation.encode(tf.constant(audio))
    assert x.shape == (count, *representation.example_shape)
    assert x.dtype == tf.float32
    mapped = next(iter(tf.data.Dataset.from_tensors(audio).map(representation.encode)))
    np.testing.assert_allclose(mapped, x, atol=1e-4)
    encode = tf.function(representation.encode, input_signature=[tf.TensorSpec([None, LENGTH])])
    np.testing.assert_allclose(encode(audio), x, atol=1e-4)
    decoded = representation.decode(x)
    assert decoded.shape == (count, LENGTH)
    assert decoded.dtype == tf.float32
    decode = tf.function(representation.decode, input_signature=[tf.TensorSpec([None, *representation.example_shape])])
    tolerance = 0.02 if name == "logspec" else 1e-3  # Griffin-Lim amplifies rounding where a magnitude is near zero
    mapped = next(iter(tf.data.Dataset.from_tensors(x).map(representation.decode)))
    for other in (decode(x), mapped):
        assert np.linalg.norm(other - decoded) < tolerance * np.linalg.norm(decoded)


@pytest.mark.parametrize("name", named(ALL))
def test_silence_and_clipped_noise_have_finite_values_and_gradients(name):
    representation = make(name)
    rng = np.random.default_rng(2)
    clipped = np.clip(rng.normal(size=(2, LENGTH)) * 3, -1, 1)
    audio = tf.Variable(np.concatenate([np.zeros((2, LENGTH)), clipped]), dtype=tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        x = representation.encode(audio)
        decoded = representation.decode(x)
    for value in (x, decoded, tape.gradient(x, audio), tape.gradient(decoded, x)):
        assert np.isfinite(value).all()
    if name != "raw spec":
        assert np.abs(x).max() <= 1.0
    assert np.abs(decoded[:2]).max() < 5e-3  # what is clipped three deviations under the mean is not quite silent
    assert 0.5 < np.linalg.norm(decoded[2:]) / np.linalg.norm(audio[2:]) < 1.1


@pytest.mark.parametrize("name", named(ALL))
def test_stereo_is_two_times_mono(name):
    stereo, mono = make(name, channels=2), make(name)
    audio = np.stack([random_audio(3, LENGTH), random_audio(3, LENGTH)[:, ::-1]], axis=2)
    x = stereo.encode(tf.constant(audio))
    assert x.shape == (3, *stereo.example_shape)
    features = mono.example_shape[-1]
    assert stereo.example_shape == (*mono.example_shape[:-1], 2 * features)
    for channel in range(2):
        np.testing.assert_allclose(
            x[..., channel * features : (channel + 1) * features], mono.encode(audio[:, :, channel]), atol=1e-5
        )
    decoded = stereo.decode(x)
    assert decoded.shape == (3, LENGTH, 2)
    alone = mono.decode(x[..., features:])
    assert np.linalg.norm(decoded[:, :, 1] - alone) < 0.02 * np.linalg.norm(alone)


@pytest.mark.parametrize("name", named(ALL))
def test_rebuilt_from_its_configuration_and_weights(name):
    representation = make(name, channels=1)
    config = keras.saving.serialize_keras_object(representation)
    rebuilt = keras.saving.deserialize_keras_object(config)
    assert rebuilt.get_config() == representation.get_config()
    rebuilt.set_weights(representation.get_weights())
    audio = random_audio(2, LENGTH)
    np.testing.assert_array_equal(rebuilt.encode(audio), representation.encode(audio))


@pytest.mark.parametrize("name", named(ALL))
def test_float32_under_a_mixed_policy(name):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        representation = make(name)
        assert representation(random_audio(1, LENGTH)).dtype == tf.float32
    finally:
        keras.config.set_dtype_policy(previous)
    np.testing.assert_array_equal(representation(random_audio(1, LENGTH)), make(name).encode(random_audio(1, LENGTH)))


@pytest.mark.parametrize(
    ("length", "options", "frames", "padding"),
    [
        (16384, {}, 128, (64, 64)),
        (65536, {}, 512, (64, 64)),
        (1024, {}, 8, (64, 64)),
        (1000, {}, 8, (88, 64)),  # all that is left over stands in front
        (64000, {"fft_samples": 2048, "hop_samples": 512}, 128, (2304, 768)),  # NSynth's four seconds
        (64000, {"fft_samples": 1024, "hop_samples": 256}, 256, (1152 + 768, 384)),
        (24001, {}, 192, (639, 64)),
    ],
)
def test_any_length_has_frames_that_a_network_can_make(length, options, frames, padding):
    spec = Spec(length, **options)
    assert spec.frames == frames
    assert spec.padding_samples == padding
    audio = np.random.default_rng(0).uniform(-1, 1, (2, length)).astype(np.float32)
    x = spec.encode(tf.constant(audio))
    assert x.shape == (2, frames, options.get("fft_samples", 256) // 2, 2)
    np.testing.assert_allclose(spec.decode(x), audio, atol=1e-5)


@pytest.mark.parametrize("name", named(SPECTROGRAMS))
def test_levels_are_decibels_of_full_scale(name):
    representation = make(name, length_samples=LENGTH)
    bin_hz = 16000 / representation.fft_samples
    frequency_hz = 1000 // bin_hz * bin_hz
    sine = 0.1 * np.sin(2 * np.pi * frequency_hz * np.arange(LENGTH) / 16000)[None].astype(np.float32)
    levels = representation.levels_db(representation.encode(sine)).numpy()
    assert levels.shape == (1, *representation.example_shape[:2])
    middle = levels[0, representation.frames // 2]
    assert middle.max() == pytest.approx(-20, abs=1.0)
    top_hz = 8000 * middle.argmax() / representation.bins
    if name.startswith("melif"):
        top_hz = 700 * np.expm1(middle.argmax() / (representation.bins - 1) * np.log1p(8000 / 700))
    assert abs(top_hz - frequency_hz) < 1.5 * bin_hz


def test_the_bin_that_spec_hides_is_not_shown_at_the_bottom():
    nyquist = np.tile([0.5, -0.5], LENGTH // 2)[None].astype(np.float32)
    spec = make("spec")
    assert spec.levels_db(spec.encode(nyquist)).numpy()[0, 1:-1, 0].max() < -100
    constant = spec.levels_db(spec.encode(np.full((1, LENGTH), 0.5, np.float32))).numpy()
    assert constant[0, 8, 0] == pytest.approx(0, abs=0.1)  # twice a sine of amplitude 0.5


def test_melif_of_few_bins_and_of_other_rates():
    for options in ({"fft_samples": 8, "hop_samples": 4}, {"sample_rate_hz": 48000}, {"sample_rate_hz": 22050}):
        melif = make("melif", **options)
        audio = random_audio(4, LENGTH)
        x = melif.encode(audio)
        noise = 0.005 * np.random.default_rng(3).normal(size=x.shape).astype(np.float32)
        clean, noisy = melif.decode(x), melif.decode(x + noise)
        assert np.linalg.norm(noisy) < 1.3 * np.linalg.norm(audio)
        assert np.linalg.norm(clean) == pytest.approx(np.linalg.norm(audio), rel=0.25)


def test_wave_shows_no_levels():
    assert Wave().levels_db(tf.zeros((1, 16384, 1))) is None


# spec


def test_spec_is_the_companded_transform():
    spec, audio = make("spec"), random_audio(3, LENGTH)
    transform = transforms(spec, audio)
    packed = transform[..., :-1].copy()
    packed[..., 0] = transform[..., 0].real + 1j * transform[..., -1].real
    r = np.abs(packed) / 2
    expected = packed / 2 * np.log(1 + 1000 * r) / np.log(1001) / r
    x = spec.encode(audio).numpy()
    np.testing.assert_allclose(x[..., 0] + 1j * x[..., 1], expected, atol=1e-5)


def test_raw_spec_is_the_transform_itself():
    spec, audio = make("raw spec"), random_audio(3, LENGTH)
    x = spec.encode(audio).numpy()
    transform = transforms(spec, audio) * 64
    np.testing.assert_allclose((x[..., 0] + 1j * x[..., 1])[..., 1:], transform[..., 1:-1], atol=1e-4)
    assert np.abs(x).max() > 5


def test_spec_takes_a_constant_at_full_scale_to_one():
    x = make("spec").encode(tf.ones((1, LENGTH)))
    assert float(x[0, 5, 0, 0]) == pytest.approx(1.0, abs=1e-6)


@pytest.fixture(scope="module")
def sounds(notes_cache):
    return load_notes(cache_dir=notes_cache)


@pytest.fixture(scope="module")
def notes(sounds):
    return sounds.waveforms(np.linspace(0, len(sounds) - 1, 100).astype(int))


@pytest.mark.parametrize("companding", ["log", "raw"])
def test_spec_of_notes_is_lossless(notes, companding):
    spec = Spec(companding=companding)
    error = spec.decode(spec.encode(notes)) - notes
    snr_db = 10 * np.log10(np.square(notes).sum(axis=1) / np.square(error).sum(axis=1))
    assert snr_db.min() > 110


# logspec


def test_logspec_is_its_definition_by_the_statistics_of_all_batches():
    logspec = LogSpec(LENGTH)
    audio = random_audio(9, LENGTH)
    logspec.adapt([audio[:4], audio[4:8], audio[8:]])
    levels = np.log(np.abs(transforms(logspec, audio)) * 64 + 1e-6)
    np.testing.assert_allclose(logspec.mean, levels.mean(axis=(0, 1)), atol=1e-4)
    np.testing.assert_allclose(logspec.stddev, levels.std(axis=(0, 1)), atol=1e-4)
    expected = (levels - levels.mean(axis=(0, 1))) / levels.std(axis=(0, 1)) / 3
    expected = np.clip(expected, -1, 1)[..., :-1, None]
    np.testing.assert_allclose(logspec.encode(audio), expected, atol=1e-3)


def test_logspec_of_notes_keeps_the_magnitudes(sounds, notes):
    """Pitches below 120 Hz are not asked for: their partials lie closer than the bins, 62.5 Hz."""
    logspec = LogSpec()
    logspec.adapt([notes])
    decoded = logspec.decode(logspec.encode(notes)).numpy()
    target, made = (np.abs(transforms(logspec, audio)) for audio in (notes, decoded))
    convergence = np.linalg.norm(made - target, axis=(1, 2)) / np.linalg.norm(target, axis=(1, 2))
    assert np.median(convergence) < 0.03
    pitched = sounds.labels["pitch"][np.linspace(0, len(sounds) - 1, 100).astype(int)] >= 48
    assert np.mean(cents_off(decoded, notes)[pitched] < 20) > 0.95


# melif


def test_melif_is_its_definition():
    melif, audio = make("melif"), random_audio(3, LENGTH)
    transform = transforms(melif, audio)
    centres_hz = 700 * np.expm1(np.linspace(0, np.log1p(8000 / 700), 512))
    linear_hz = np.linspace(0, 8000, 513)
    gaps_hz = np.maximum(np.diff(centres_hz), 15.625)
    to_mel = np.zeros((513, 512))
    for m, centre_hz in enumerate(centres_hz):
        below_hz, above_hz = gaps_hz[max(m - 1, 0)], gaps_hz[min(m, 510)]
        to_mel[:, m] = np.interp(linear_hz, [centre_hz - below_hz, centre_hz, centre_hz + above_hz], [0, 1, 0])
        to_mel[:, m] /= to_mel[:, m].sum()
    levels = 0.5 * np.log(np.abs(transform) ** 2 @ to_mel + 1e-8)
    low, high = melif.level_range.numpy()
    x = melif.encode(audio).numpy()
    np.testing.assert_allclose(x[..., 0], np.clip(0.8 * (2 * (levels - low) / (high - low) - 1), -1, 1), atol=1e-4)
    before = np.concatenate([np.ones((3, 1, 513)), transform[:, :-1]], axis=1)
    turns = (transform * before.conj()) @ to_mel + 1e-8
    difference = np.angle(np.exp(1j * np.pi * x[..., 1]) * turns.conj())
    assert np.abs(difference[np.abs(turns) > 1e-6]).max() < 0.01


def test_melif_adapts_to_the_range_of_all_batches():
    melif, audio = MelIF(LENGTH), random_audio(6, LENGTH)
    melif.adapt([audio[:3] * 0.1, audio[3:]])
    loud, soft = (MelIF(LENGTH) for _ in range(2))
    loud.adapt([audio[3:]])
    soft.adapt([audio[:3] * 0.1])
    assert melif.level_range[1] == loud.level_range[1]
    assert melif.level_range[0] == min(soft.level_range[0], loud.level_range[0])
    x = melif.encode(tf.constant(audio[3:]))[..., 0]
    assert np.max(x) == pytest.approx(0.8, abs=1e-5)


@pytest.mark.parametrize("frequency_hz", [250.0, 440.0, 1234.5])
def test_melif_of_a_sine_has_its_turns(frequency_hz):
    """A sine turns by 2 pi f hop / rate from frame to frame."""
    melif = make("melif")
    sine = 0.5 * np.sin(2 * np.pi * frequency_hz * np.arange(LENGTH) / 16000)[None].astype(np.float32)
    x = melif.encode(sine).numpy()[0, 8]
    loudest = x[:, 0].argmax()
    half_turns = (2 * frequency_hz * 256 / 16000 + 1) % 2 - 1
    np.testing.assert_allclose(x[loudest - 1 : loudest + 2, 1], half_turns, atol=2e-3)


@pytest.mark.parametrize("framing", [(1024, 256), (2048, 512)])
def test_melif_of_notes_keeps_magnitudes_and_pitch(notes, framing):
    melif = MelIF(16384, 1, *framing)
    melif.adapt([notes])
    decoded = melif.decode(melif.encode(notes)).numpy()
    target, made = (np.abs(transforms(melif, audio)) for audio in (notes, decoded))
    convergence = np.linalg.norm(made - target, axis=(1, 2)) / np.linalg.norm(target, axis=(1, 2))
    assert np.median(convergence) < 0.04
    assert np.quantile(convergence, 0.95) < 0.2
    assert np.mean(cents_off(decoded, notes) < 20) >= 0.98


def cents_off(made, real):
    """Return how far the pitches of made sounds are from those of real ones."""
    made_hz, real_hz = (estimate_pitch(audio, 16000).frequency_hz for audio in (made, real))
    return np.abs(1200 * np.log2(made_hz / real_hz))


# bad input


@pytest.mark.parametrize("representation_class", [LogSpec, MelIF])
def test_statistics_are_asked_for(representation_class):
    representation = representation_class(LENGTH)
    with pytest.raises(InputError, match="must be adapted to the data first"):
        representation.encode(tf.zeros((1, LENGTH)))
    with pytest.raises(InputError, match="must be adapted"):
        representation.decode(tf.zeros((1, *representation.example_shape)))
    with pytest.raises(InputError, match=r"at least one batch of sounds\. Received: none"):
        representation.adapt([])
    for count in (2, 200):
        with pytest.raises(InputError, match="such as silence"):
            representation.adapt([np.zeros((count, LENGTH), np.float32)])
    with pytest.raises(InputError, match="must be adapted"):
        representation.encode(tf.zeros((1, LENGTH)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fft_samples": 250}, r"`fft_samples` must be a power of two, at least 4\. Received: 250"),
        ({"fft_samples": 2}, "`fft_samples` must be a power of two"),
        ({"hop_samples": 100}, r"`hop_samples` must divide `fft_samples` .* Received: 100 with fft_samples=256"),
        ({"hop_samples": 256}, "into two parts or more"),
        ({"length_samples": 200}, r"at least one transform long, 256 samples\. Received: 200"),
        ({"length_samples": 0}, "`length_samples` must be at least 1"),
        ({"companding": "sqrt"}, r'`companding` must be "log" or "raw"\. Received: companding=\'sqrt\''),
    ],
)
def test_options_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        Spec(**options)


@pytest.mark.parametrize("representation_class", [LogSpec, MelIF])
def test_what_cannot_be_adapted_to_leaves_earlier_statistics(representation_class):
    representation = make({LogSpec: "logspec", MelIF: "melif"}[representation_class])
    before = representation.get_weights()
    with pytest.raises(InputError):
        representation.adapt([np.zeros((2, LENGTH), np.float32)])
    for kept, weight in zip(before, representation.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, weight)
    with pytest.raises(ValueError, match="`griffin_lim_iterations` must be at least 0. Received: -1"):
        representation_class(griffin_lim_iterations=-1)


def test_audio_of_another_length():
    with pytest.raises(ValueError, match=r"Audio must be \(None, 16384\)\. Received: shape \(2, 100\)"):
        Spec().encode(tf.zeros((2, 100)))


@pytest.mark.parametrize("representation_class", [LogSpec, MelIF])
def test_what_a_network_makes_begins_and_ends_in_silence(representation_class, rng, monkeypatch):
    representation = representation_class(4096, fft_samples=256, hop_samples=64)
    representation.adapt([rng.uniform(-1, 1, (4, 4096)).astype(np.float32)])
    made = rng.uniform(-0.5, 0.5, (3, *representation.example_shape)).astype(np.float32)  # of no silence anywhere
    audio = representation.decode(tf.constant(made)).numpy()
    np.testing.assert_array_equal(audio[:, [0, -1]], 0.0)
    monkeypatch.setattr(representation_class, "without_clicks", lambda self, audio: audio)
    cut_off = representation.decode(tf.constant(made)).numpy()
    np.testing.assert_array_equal(audio[:, 16:-16], cut_off[:, 16:-16])
    assert np.abs(cut_off[:, [0, -1]]).max() > 0.1 * np.abs(cut_off).max()
