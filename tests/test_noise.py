import numpy as np
import pytest
import tensorflow as tf

from kgan.noise import folded_seed, latent_noise


def test_folded_seeds_differ_for_every_place_and_repeat():
    places = [(s, a, b) for s in (0, 1, 2**40) for a in range(5) for b in range(5)]
    seeds = {tuple(folded_seed(*place).numpy()) for place in places}
    assert len(seeds) == len(places)
    assert tuple(folded_seed(2**40, 3, 4).numpy()) == tuple(folded_seed(2**40, 3, 4).numpy())


@pytest.mark.parametrize(("distribution", "stddev", "largest"), [("normal", 1.0, 6.0), ("uniform", 1 / np.sqrt(3), 1.0)])
def test_latents_have_the_distribution_s_moments(distribution, stddev, largest):
    latents = latent_noise((1000, 100), tf.constant([3, 4]), distribution).numpy()
    assert abs(latents.mean()) < 0.01
    assert abs(latents.std() - stddev) < 0.01
    assert np.abs(latents).max() <= largest


def test_unknown_distribution():
    with pytest.raises(ValueError, match=r"must be \"normal\" or \"uniform\". Received: 'gauss'"):
        latent_noise((1, 1), tf.constant([0, 0]), "gauss")
