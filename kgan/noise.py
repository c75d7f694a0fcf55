"""Random numbers as pure functions of a seed and of where they are used: nothing to save, nothing to lose."""

import tensorflow as tf


def folded_seed(seed, *where):
    """Return a stateless seed, int32 [2], for `seed` (an integer, up to 64 bits) and the integers in `where`."""
    folded = tf.bitcast(tf.cast(seed, tf.int64), tf.int32)  # (2,)
    for number in where:
        folded = tf.random.experimental.stateless_fold_in(folded, tf.cast(number, tf.int64))
    return folded


def own_rows(draw, count):
    """Return what this replica has of what is drawn for all: the rows of its share of the examples.

    A sample's noise so depends on its place among the examples of all replicas, not on how many replicas there are.

    Args:
        draw: a function from a number of rows to a tensor of so many.
        count: examples of this replica; the others have as many.
    """
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas == 1:
        return draw(count)
    start = tf.cast(context.replica_id_in_sync_group, tf.int32) * count
    return draw(replicas * count)[start : start + count]


def latent_noise(shape, seed, distribution):
    """Draw latents: `"normal"` is N(0, 1), `"uniform"` is U(-1, 1).

    Raises:
        ValueError: `distribution` is neither.
    """
    if distribution == "normal":
        return tf.random.stateless_normal(shape, seed)
    if distribution == "uniform":
        return tf.random.stateless_uniform(shape, seed, minval=-1.0, maxval=1.0)
    raise ValueError(f'`latent_distribution` must be "normal" or "uniform". Received: {distribution!r}')
