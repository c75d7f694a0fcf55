"""What kgan is timed against computes the same."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.gans import WGANGP
from kgan.gans.losses import gradient_penalty, wasserstein_critic_loss
from kgan.networks import wave_critic, wave_generator

torch = pytest.importorskip("torch")

from kgan.benchmarks.torch_wavegan import TorchWGANGP  # noqa: E402

DIM, LATENT_DIM, BATCH = 2, 8, 3


@pytest.fixture(scope="module")
def gan():
    keras.utils.set_random_seed(3)
    generator, critic = wave_generator(dim=DIM, latent_dim=LATENT_DIM), wave_critic(dim=DIM)
    for weight in (*generator.weights, *critic.weights):  # biases, too
        weight.assign(tf.random.normal(weight.shape, stddev=0.1, seed=1))
    gan = WGANGP(generator, critic)
    gan.compile(keras.optimizers.Adam(), keras.optimizers.Adam())
    return gan


def in_torch_order(weights, is_generator, channels_last):
    """Return kgan's weights, or their gradients, in the order and shapes of PyTorch's parameters."""
    pairs = list(zip(weights[::2], weights[1::2], strict=True))
    (kernel, bias), convolutions = (pairs[0], pairs[1:]) if is_generator else (pairs[-1], pairs[:-1])
    width = 16 * DIM
    if is_generator:  # 16 positions of so many channels -> so many channels of 16 positions
        kernel = kernel.reshape(-1, 16, width).transpose(2, 1, 0).reshape(16 * width, -1)
        dense = [kernel, bias.reshape(16, width).T.reshape(-1)]
    else:
        dense = [kernel.reshape(16, width, 1).transpose(2, 1, 0).reshape(1, -1), bias]
    convolved = []
    for kernel, bias in convolutions:
        kernel = kernel.transpose(2, 1, 0)  # (taps, in, out) or, transposed, (taps, out, in)
        convolved += [kernel[:, :, None] if channels_last else kernel, bias]
    return [*dense, *convolved] if is_generator else [*convolved, *dense]


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_same_losses_and_gradients(gan, rng, channels_last):
    other = TorchWGANGP(DIM, LATENT_DIM, channels_last=channels_last)
    for network, mine in ((other.generator, gan.generator), (other.critic, gan.critic)):
        values = in_torch_order([w.numpy() for w in mine.weights], network is other.generator, channels_last)
        for parameter, value in zip(network.parameters(), values, strict=True):
            parameter.data = torch.from_numpy(np.ascontiguousarray(value))
    real = rng.uniform(-1, 1, (BATCH, 16384)).astype(np.float32)
    latents, mix = rng.normal(0, 1, (BATCH, LATENT_DIM)).astype(np.float32), rng.uniform(0, 1, BATCH).astype(np.float32)
    shaped = torch.from_numpy(real)[:, None, None] if channels_last else torch.from_numpy(real)[:, None]

    loss = other.critic_loss(shaped, torch.from_numpy(latents), torch.from_numpy(mix))
    loss.backward()
    fake = gan.generator(latents)
    with tf.GradientTape() as tape:
        mine = wasserstein_critic_loss(gan.critic(real[..., None])["score"], gan.critic(fake)["score"])
        mine += 10.0 * gradient_penalty(gan.critic, tf.constant(real[..., None]), fake, tf.constant(mix))
    gradients = [g.numpy() for g in tape.gradient(mine, gan.critic.trainable_variables, unconnected_gradients="zero")]
    assert float(mine) == pytest.approx(loss.item(), rel=1e-4)
    compare(other.critic, in_torch_order(gradients, False, channels_last))

    loss = other.generator_loss(torch.from_numpy(latents))
    loss.backward()
    with tf.GradientTape() as tape:
        mine = gan.generator_loss(gan.critic(gan.generator(latents))["score"])
    gradients = [g.numpy() for g in tape.gradient(mine, gan.generator.trainable_variables)]
    assert float(mine) == pytest.approx(loss.item(), rel=1e-4)
    compare(other.generator, in_torch_order(gradients, True, channels_last))


def compare(network, expected):
    for parameter, value in zip(network.parameters(), expected, strict=True):
        scale = max(np.abs(value).max(), 1e-6)
        np.testing.assert_allclose(parameter.grad.numpy() / scale, value / scale, atol=1e-4)


def test_an_iteration_moves_both_networks(rng):
    gan = TorchWGANGP(DIM, LATENT_DIM, n_critic=2, bfloat16=True)
    before = [parameter.detach().clone() for parameter in (*gan.generator.parameters(), *gan.critic.parameters())]
    gan.iteration(torch.from_numpy(rng.uniform(-1, 1, (2 * BATCH, 16384)).astype(np.float32)))
    after = (*gan.generator.parameters(), *gan.critic.parameters())
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) >= len(moved) - 1  # the critic's last bias cancels out of its loss
