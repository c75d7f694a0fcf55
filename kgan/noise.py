"""Random numbers as pure functions of a seed and a position, so that there is no generator state to save."""

import tensorflow as tf

DISTRIBUTIONS = ("normal", "uniform")  # of latents


def folded_seed(seed, *where):
    """Return a stateless seed, int32 `(2,)`, from `seed` (an integer of up to 64 bits) and the integers in `where`."""
    folded = tf.bitcast(tf.cast(seed, tf.int64), tf.int32)  # (2,)
    for number in where:
        folded = tf.random.experimental.stateless_fold_in(folded, tf.cast(number, tf.int64))
    return folded


def latent_noise(shape, seed, distribution):
    """Draw latents: `"normal"` is N(0, 1), `"uniform"` is U(-1, 1).

    Raises:
        ValueError: `distribution` is neither of the two.
    """
    if distribution == "normal":
        return tf.random.stateless_normal(shape, seed)
    if distribution == "uniform":
        return tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0)
    raise ValueError(f'`latent_distribution` must be "normal" or "uniform". Received: {distribution!r}')
