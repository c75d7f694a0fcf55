import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.networks import spectrogram_critic, spectrogram_generator, wave_critic, wave_generator

BUILDERS = {
    "wave": (wave_generator, wave_critic, {}),
    "spectrogram": (spectrogram_generator, spectrogram_critic, {"shape": (128, 128, 2)}),
}


def gradients(kind, policy):
    """Return the gradients of a critic's mean score of what a generator makes, `{weight: gradient}`, of all weights."""
    make_generator, make_critic, options = BUILDERS[kind]
    keras.utils.set_random_seed(0)
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        generator, critic = make_generator(dim=4, **options), make_critic(dim=4, **options)
    finally:
        keras.config.set_dtype_policy(previous)
    weights = generator.trainable_weights + critic.trainable_weights
    rng = np.random.default_rng(0)
    for weight in weights:
        if len(weight.shape) == 1:
            weight.assign(rng.normal(0.0, 0.02, weight.shape))

    @tf.function(jit_compile=False)
    def of_mean_score(latents):
        with tf.GradientTape() as tape:
            score = tf.reduce_mean(critic(generator(latents, training=True), training=True)["score"])
        return tape.gradient(score, [weight.value for weight in weights])

    latents = tf.random.stateless_normal((16, 100), (0, 1))
    return {f"{i} {weight.path}": g.numpy() for i, (weight, g) in enumerate(zip(weights, of_mean_score(latents), strict=True))}


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_bfloat16_has_the_gradients_of_float32(kind):
    """Sums over 16 x 4096 positions too: in bfloat16 they come out at a sixth, and a bias hardly learns.

    A processor without bfloat16 instructions cuts digits off instead of rounding: where terms cancel, a few sums are off by
    a quarter.
    """
    exact, reduced = gradients(kind, "float32"), gradients(kind, "mixed_bfloat16")
    pairs = {name: (expected, reduced[other]) for (name, expected), other in zip(exact.items(), reduced, strict=True)}
    scales = {name: np.vdot(*pair) / np.vdot(pair[0], pair[0]) for name, pair in pairs.items()}
    errors = {name: np.linalg.norm(b - a) / np.linalg.norm(a) for name, (a, b) in pairs.items()}
    assert np.median(list(scales.values())) == pytest.approx(1.0, abs=0.03)
    assert np.median(list(errors.values())) < 0.1
    for name, scale in scales.items():
        assert scale == pytest.approx(1.0, abs=0.35), name
        assert errors[name] < 0.35, name
