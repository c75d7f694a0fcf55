import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.networks import vector_critic, vector_generator


def test_shapes_and_numbers_of_weights():
    generator = vector_generator(16, dim=8, latent_dim=5, label_width=3)
    assert generator.output_shape == (None, 16)
    assert generator.count_params() == (5 + 3 + 1) * 8 + 6 * (8 + 1) * 8 + (8 + 1) * 16
    critic = vector_critic(16, dim=8, label_width=3)
    assert {name: output.shape for name, output in critic.output.items()} == {"score": (None, 1), "labels": (None, 3)}
    assert critic.count_params() == (16 + 1) * 8 + 6 * (8 + 1) * 8 + (8 + 1) * 4
    assert vector_critic(16, dim=8, minibatch_stddev=2).count_params() == (16 + 1) * 8 + 6 * (8 + 1) * 8 + (9 + 1)


@pytest.mark.parametrize("pixel_norm", [False, True])
def test_a_generator_by_hand(rng, pixel_norm):
    model = vector_generator(4, dim=6, latent_dim=3, pixel_norm=pixel_norm)
    x = rng.normal(size=(5, 3)).astype(np.float32)
    dense = iter([layer for layer in model.layers if isinstance(layer, keras.layers.Dense)])

    def apply(values):
        kernel, bias = next(dense).get_weights()
        return values @ kernel + bias

    def leaky(values):
        return np.maximum(values, 0.2 * values)

    hidden = apply(x)
    for _ in range(3):
        inner = hidden / np.sqrt(np.mean(hidden**2, axis=1, keepdims=True) + 1e-4) if pixel_norm else hidden
        hidden = hidden + apply(leaky(apply(leaky(inner))))
    np.testing.assert_allclose(model(x), apply(leaky(hidden)), rtol=1e-4, atol=1e-5)


def test_the_last_layers_compute_in_float32():
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        models = vector_generator(4, dim=6, latent_dim=3), vector_critic(4, dim=6)
    finally:
        keras.config.set_dtype_policy(previous)
    assert models[0](tf.zeros((1, 3))).dtype == tf.float32
    assert models[1](tf.zeros((1, 4)))["score"].dtype == tf.float32
    assert models[0].layers[1].compute_dtype == "bfloat16"
