import numpy as np
import pytest
import tensorflow as tf

from kgan.gans import DCGAN
from kgan.representations import Wave
from kgan.synthesizer import Synthesizer, interpolate, limited


@pytest.fixture
def synthesizer(make_gan):
    return Synthesizer(make_gan(DCGAN), Wave(), 16000)


def test_a_latent_depends_on_seed_and_index_alone(synthesizer):
    many = synthesizer.latents(40, seed=7)
    np.testing.assert_array_equal(synthesizer.latents(3, seed=7), many[:3])
    assert len({tuple(row) for row in many}) == 40
    assert (synthesizer.latents(40, seed=8) != many).all()
    assert np.abs(many).max() <= 1  # DCGAN's are uniform


def test_generate_equals_the_generator_in_batches_of_any_size(make_gan):
    gan = make_gan()
    synthesizer = Synthesizer(gan, Wave(), 16000)
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
    synthesizer = Synthesizer(gan, Wave(), 16000)
    latents = synthesizer.latents(2)
    before = synthesizer.generate(latents)
    gan.train_step(tf.random.stateless_uniform((10, 1024, 1), (0, 1), -1.0, 1.0))
    np.testing.assert_array_equal(synthesizer.generate(latents), before)
    synthesizer.refresh(gan)
    np.testing.assert_allclose(synthesizer.generate(latents), gan.ema_generator(latents)[..., 0], atol=1e-6)
    assert np.abs(gan.generator(latents)[..., 0] - gan.ema_generator(latents)[..., 0]).max() > 1e-4


def test_it_computes_in_float32_whatever_the_training_does(make_gan):
    mixed, full = make_gan(dtype="mixed_bfloat16"), make_gan()
    synthesizer = Synthesizer(mixed, Wave(), 16000)
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
