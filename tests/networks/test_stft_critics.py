import keras
import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

from kgan.gans import R1GAN
from kgan.networks import spectrogram_critic, spectrogram_generator, with_stft_critics
from kgan.networks.stft_critics import LogMagnitudes
from kgan.representations import MelIF, Wave

SAMPLES = 2048


def test_levels_of_a_sine_and_of_silence():
    sine = np.sin(2 * np.pi * 16 / 256 * np.arange(SAMPLES)).astype(np.float32)  # in the middle of bin 16
    pictures = LogMagnitudes(256)(np.stack([sine, 0.1 * sine, 0 * sine])[..., None]).numpy()
    assert pictures.shape == (3, 32, 128, 1)
    np.testing.assert_allclose(pictures[:, 8, 16, 0], [1.0, 1.0 - 0.5, -1.0], atol=1e-3)  # 40 dB are 1


def test_levels_are_scipy_s(rng):
    audio = rng.normal(0, 0.1, (2, SAMPLES, 2)).astype(np.float32)
    pictures = LogMagnitudes(256)(audio).numpy()
    window = scipy.signal.get_window("hann", 256)
    for clip, channel in ((0, 0), (1, 1)):
        padded = np.pad(audio[clip, :, channel], 96)
        frames = np.lib.stride_tricks.sliding_window_view(padded, 256)[::64]
        levels = 20 * np.log10(np.abs(np.fft.rfft(frames * window)) / 64 + 1e-4)[:, :-1]
        np.testing.assert_allclose(pictures[clip, :, :, channel], 1 + levels / 40, atol=1e-4)


def test_each_critic_has_a_score_before_the_main_one_s_outputs(rng):
    keras.utils.set_random_seed(0)
    wave = Wave(SAMPLES)
    main = keras.Sequential([keras.Input((SAMPLES, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    critics = with_stft_critics(main, wave, (256, 512), dim=2)
    audio = rng.uniform(-1, 1, (4, SAMPLES, 1)).astype(np.float32)
    outputs = critics(audio).numpy()
    assert outputs.shape == (4, 5)
    np.testing.assert_allclose(outputs[:, 2:], main(audio), rtol=1e-5)
    for column, fft_samples in enumerate((256, 512)):
        alone = critics.get_layer(f"stft_critic_{fft_samples}")
        np.testing.assert_allclose(outputs[:, column], alone(LogMagnitudes(fft_samples)(audio))[:, 0], rtol=1e-4, atol=1e-6)


def test_the_generator_hears_them_through_its_representation(rng):
    """A picture's gradient is that of the sound it is decoded to, here found by differences."""
    melif = MelIF(SAMPLES, fft_samples=256, hop_samples=64, griffin_lim_iterations=0)
    critic = spectrogram_critic(melif.example_shape, dim=2)
    critics = with_stft_critics(critic, melif, (512,), dim=2)  # before there are statistics
    melif.adapt([rng.uniform(-1, 1, (4, SAMPLES)).astype(np.float32)])
    picture = tf.constant(melif.encode(rng.uniform(-0.5, 0.5, (1, SAMPLES)).astype(np.float32)))
    with tf.GradientTape() as tape:
        tape.watch(picture)
        score = critics(picture)[0, 0]
    gradient = tape.gradient(score, picture)
    direction = gradient / tf.norm(gradient)
    step = 1e-3
    ahead, behind = (float(critics(picture + sign * step * direction)[0, 0]) for sign in (1, -1))
    assert (ahead - behind) / (2 * step) == pytest.approx(float(tf.norm(gradient)), rel=0.05)


def test_a_gan_with_several_critics_has_their_mean_losses(rng):
    keras.utils.set_random_seed(0)
    melif = MelIF(SAMPLES, fft_samples=256, hop_samples=64)
    melif.adapt([rng.uniform(-1, 1, (4, SAMPLES)).astype(np.float32)])
    generator = spectrogram_generator(melif.example_shape, dim=2, latent_dim=4)
    critic = with_stft_critics(spectrogram_critic(melif.example_shape, dim=2), melif, (256, 512), dim=2)
    gan = R1GAN(generator, critic, seed=1)
    gan.compile("sgd", "sgd", run_eagerly=True)
    real = melif.encode(rng.uniform(-0.5, 0.5, (4, SAMPLES)).astype(np.float32))
    real_scores, fake = critic(real), generator(gan._generator_inputs(tf.zeros((4, 0)), tf.constant([1, 2])))
    assert real_scores.shape == (4, 3)
    scores = critic(fake).numpy().astype(np.float64)
    expected = np.log1p(np.exp(-real_scores.numpy().astype(np.float64))).mean() + np.log1p(np.exp(scores)).mean()
    assert float(gan.critic_loss(real_scores, critic(fake))) == pytest.approx(expected, rel=1e-5)
    before = [weight.numpy() for weight in critic.trainable_weights]
    gan.train_step(real)
    moved = [np.abs(weight.numpy() - old).max() > 0 for weight, old in zip(critic.trainable_weights, before, strict=True)]
    assert sum(moved) > 0.9 * len(moved)  # all three, and not the main one alone
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(critic))
    again.set_weights(critic.get_weights())
    np.testing.assert_allclose(again(real), critic(real), rtol=1e-4, atol=1e-5)
