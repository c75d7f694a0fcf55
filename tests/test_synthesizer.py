import inspect

import librosa
import numpy as np
import pytest
import soundfile
import tensorflow as tf

import kgan
from kgan.errors import InputError
from kgan.gans import DCGAN
from kgan.labels import ANY
from kgan.representations import Wave
from kgan.serving.saved_model import SavedSynthesizer
from kgan.synthesizer import GANSynthesizer, interpolate, limited


@pytest.fixture
def synthesizer(make_gan):
    return GANSynthesizer(make_gan(DCGAN), Wave(), 16000)


def test_a_latent_depends_on_seed_and_index_alone(synthesizer):
    many = synthesizer.latents(40, seed=7)
    np.testing.assert_array_equal(synthesizer.latents(3, seed=7), many[:3])
    assert len({tuple(row) for row in many}) == 40
    assert (synthesizer.latents(40, seed=8) != many).all()
    assert np.abs(many).max() <= 1  # DCGAN's are uniform


def test_generate_equals_the_generator_in_batches_of_any_size(make_gan):
    gan = make_gan()
    synthesizer = GANSynthesizer(gan, Wave(), 16000)
    latents = synthesizer.latents(70)
    audio = synthesizer.generate(latents)
    assert audio.shape == (70, 1024)
    np.testing.assert_allclose(audio, gan.generator(latents)[..., 0], atol=1e-6)


def test_clips_louder_than_full_scale_are_brought_down_as_a_whole():
    audio = np.array([[0.5, -0.25], [4.0, -2.0], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(limited(tf.constant(audio)), [[0.5, -0.25], [1.0, -0.5], [0.0, 0.0]])
    stereo = np.stack([audio, 0.5 * audio], axis=2)
    np.testing.assert_allclose(limited(tf.constant(stereo))[1], [[1.0, 0.5], [-0.5, -0.25]])


def test_it_listens_to_the_running_average_and_refreshes(make_gan):
    gan = make_gan(ema_decay=0.5)
    synthesizer = GANSynthesizer(gan, Wave(), 16000)
    latents = synthesizer.latents(2)
    before = synthesizer.generate(latents)
    gan.train_step(tf.random.stateless_uniform((10, 1024, 1), (0, 1), -1.0, 1.0))
    np.testing.assert_array_equal(synthesizer.generate(latents), before)
    synthesizer.refresh(gan)
    np.testing.assert_allclose(synthesizer.generate(latents), gan.ema_generator(latents)[..., 0], atol=1e-6)
    assert np.abs(gan.generator(latents)[..., 0] - gan.ema_generator(latents)[..., 0]).max() > 1e-4


def test_it_computes_in_float32_whatever_the_training_does(make_gan):
    mixed, full = make_gan(dtype="mixed_bfloat16"), make_gan()
    synthesizer = GANSynthesizer(mixed, Wave(), 16000)
    latents = synthesizer.latents(2)
    np.testing.assert_allclose(synthesizer.generate(latents), full.generator(latents)[..., 0], atol=1e-6)
    assert np.abs(mixed.generator(latents)[..., 0] - full.generator(latents)[..., 0]).max() > 1e-5


def test_slerp_of_orthogonal_latents_stays_on_the_circle():
    start, end = np.array([3.0, 0.0]), np.array([0.0, 3.0])
    path = interpolate(start, end, 7)
    angles = np.linspace(0, np.pi / 2, 7)
    np.testing.assert_allclose(path, 3 * np.stack([np.cos(angles), np.sin(angles)], axis=1), atol=1e-6)


def test_interpolation_of_uniform_or_parallel_latents_is_straight():
    start, end = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    expected = [[1, 0], [0.5, 0.5], [0, 1]]
    np.testing.assert_allclose(interpolate(start, end, 3, "uniform"), expected)
    np.testing.assert_allclose(interpolate(start, 2 * start, 3), [[1, 0], [1.5, 0], [2, 0]])


@pytest.mark.parametrize("bad", [np.zeros((2, 7)), np.zeros(8), np.zeros((0, 8)), np.full((1, 8), np.nan)])
def test_bad_latents(synthesizer, bad):
    with pytest.raises(ValueError, match=r"Latents must be (\(count, 8\)|finite). Received:"):
        synthesizer.generate(bad)


def test_labels_are_one_hot_beside_the_latents(conditional):
    synthesizer, generator = conditional
    latents = synthesizer.latents(4, seed=3)
    one_hot = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 0, 1], [0, 0, 1, 1, 0], [1, 0, 0, 0, 1]], np.float32)
    labels = {"pitch": [60, 62, 64, 60], "family": [0, 2, 0, 2]}
    audio = synthesizer.generate(latents, labels)
    np.testing.assert_allclose(audio, generator([latents, one_hot])[..., 0], atol=1e-6)
    others = synthesizer.generate(latents, labels | {"pitch": [62, 62, 60, 60]})
    changed = np.abs(others - audio).max(axis=1) > 1e-3
    np.testing.assert_array_equal(changed, [True, False, True, False])


def test_labels_go_with_their_latents_over_the_border_of_a_batch(conditional, rng):
    synthesizer, generator = conditional
    latents = synthesizer.latents(70)
    labels = {"pitch": rng.choice([60, 62, 64], 70), "family": rng.choice([0, 2], 70)}
    one_hot = synthesizer.labels.one_hot(labels).numpy()
    expected = generator([latents, one_hot])[..., 0]
    np.testing.assert_allclose(synthesizer.generate(latents, labels), expected, atol=1e-6)


def test_one_value_is_for_all_and_what_is_not_asked_for_is_drawn(conditional):
    synthesizer, _ = conditional
    latents = synthesizer.latents(20)
    chosen = synthesizer.chosen_labels(20, {"pitch": 64})
    np.testing.assert_array_equal(chosen["pitch"], 64)
    np.testing.assert_array_equal(chosen["family"], 0)  # as the data combines it
    expected = synthesizer.generate(latents, {"pitch": np.full(20, 64), "family": np.zeros(20, int)})
    np.testing.assert_array_equal(synthesizer.generate(latents, {"pitch": 64}), expected)
    drawn = synthesizer.chosen_labels(20)
    assert set(zip(*(values.tolist() for values in drawn.values()), strict=True)) == {(60, 2), (62, 2), (60, 0), (64, 0)}
    for asked in (None, {}, {"pitch": ANY}):
        np.testing.assert_array_equal(synthesizer.generate(latents, asked), synthesizer.generate(latents, drawn))
    assert (synthesizer.chosen_labels(20, seed=1)["pitch"] != drawn["pitch"]).any()
    np.testing.assert_array_equal(synthesizer.chosen_labels(5)["family"], drawn["family"][:5])


def test_labels_that_cannot_be_made(conditional, synthesizer):
    conditional, _ = conditional
    latents = conditional.latents(2)
    with pytest.raises(InputError, match="^`pitch` must be one of 60, 62, 64. Received: 61.$"):
        conditional.generate(latents, {"pitch": [60, 61]})
    with pytest.raises(InputError, match="Unknown label `pich`"):
        conditional.generate(latents, {"pich": 60})
    for strange, received in (([60, 62, 64], r"int64 \(3,\)"), ([[60], [62]], r"int64 \(2, 1\)"), (60.0, r"float64 \(\)")):
        with pytest.raises(ValueError, match=f"^`pitch` must be an integer or 2 of them. Received: {received}$"):
            conditional.generate(latents, {"pitch": strange})
    with pytest.raises(InputError, match="trained without labels. Received: pitch."):
        synthesizer.generate(synthesizer.latents(2), {"pitch": 60})


def test_text_means_labels(conditional):
    synthesizer, _ = conditional
    latents = synthesizer.latents(2)
    by_numbers = synthesizer.generate(latents, {"pitch": [60, 62], "family": 2})
    np.testing.assert_array_equal(synthesizer.generate(latents, {"pitch": "C4,D4", "family": "flute"}), by_numbers)
    with pytest.raises(InputError, match="`family` must be one of bass, flute. Received: horn"):
        synthesizer.generate(latents, {"family": "horn"})


def test_a_count_draws_latents_and_labels_by_the_seed(conditional):
    synthesizer, _ = conditional
    labels = synthesizer.chosen_labels(3, {"pitch": 60}, seed=7)
    expected = synthesizer.generate(synthesizer.latents(3, seed=7), labels)
    np.testing.assert_array_equal(synthesizer.generate(count=3, seed=7, labels={"pitch": 60}), expected)
    assert synthesizer.generate(seed=7).shape == (1, 64)
    with pytest.raises(InputError, match="`count` cannot be combined with latents. Received: count=3"):
        synthesizer.generate(synthesizer.latents(3), count=3)


def test_wav_files_are_the_sounds_and_nothing_is_overwritten(conditional, tmp_path):
    synthesizer, _ = conditional
    paths = synthesizer.write_wavs(tmp_path / "sounds", count=2, seed=3)
    assert [path.name for path in paths] == ["0000.wav", "0001.wav"]
    for path, expected in zip(paths, synthesizer.generate(count=2, seed=3), strict=True):
        audio, rate_hz = soundfile.read(path)
        assert rate_hz == 16000
        assert np.abs(audio - expected).max() <= 1 / 32767
    with pytest.raises(InputError, match="must be written to a new folder"):
        synthesizer.write_wavs(tmp_path / "sounds", count=1)


def test_wav_files_of_another_rate(conditional, playing, tmp_path):
    (path,) = playing.write_wavs(tmp_path / "sounds", seed=3, labels={"pitch": 60}, sample_rate_hz=44100)
    audio, rate_hz = soundfile.read(path)
    clip = playing.generate(seed=3, labels={"pitch": 60})[0]
    assert (rate_hz, len(audio)) == (44100, round(8192 / 16000 * 44100))
    expected = librosa.resample(clip, orig_sr=16000, target_sr=44100, res_type="soxr_hq")[: len(audio)]
    np.testing.assert_allclose(audio, expected, atol=1e-4)
    for strange in (0, -44100, 384_001, 44100.5, "fast"):
        rule = f"`sample_rate_hz` must be an integer from 1 to 384,000. Received: {strange}."
        with pytest.raises(InputError, match=rule):
            conditional[0].write_wavs(tmp_path / "none", sample_rate_hz=strange)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("method", ["generate", "play", "write_wavs"])
def test_runs_saved_models_and_clients_answer_the_same_calls(method):
    """They may take what the others cannot, such as labels by name: their types are their own."""

    def called(maker):
        parameters = inspect.signature(getattr(maker, method)).parameters.values()
        return [(each.name, each.kind, each.default) for each in parameters]

    for maker in (kgan.Synthesizer, kgan.GANSynthesizer, SavedSynthesizer, kgan.Client):
        assert called(maker) == called(kgan.SoundMaker)
