"""The input pipeline: from `Sounds` or shards to the elements of a training iteration."""

import keras
import numpy as np
import tensorflow as tf

from kgan.data.augment import Augmentation
from kgan.data.shards import ShardedSounds
from kgan.data.sounds import FULL_SCALE, Sounds
from kgan.errors import InputError
from kgan.noise import folded_seed

AUGMENTATION = 1  # separates its random stream from that of the order


def training_dataset(
    sounds: Sounds | ShardedSounds,
    representation: keras.Layer,
    batch_size: int,
    n_critic: int = 1,
    seed: int = 0,
    start_step: int = 0,
    augmentation: Augmentation | None = None,
    input_context: tf.distribute.InputContext | None = None,
    encoded: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Return an endless `tf.data.Dataset` with one element per training iteration.

    The order of an epoch depends only on the seed and the epoch, and the examples of a step only on its number. A dataset that
    starts at `start_step` therefore continues as if it had run from 0, without any stored state, and the whole set is
    shuffled. If several replicas share an iteration, each reads only its own part of the examples that one device would read.

    Args:
        sounds: `Sounds` in memory or `ShardedSounds` on disk.
        representation: a `Representation`, whose `encode` converts audio to the networks' examples.
        batch_size: number of examples in a critic step.
        n_critic: critic steps in an iteration; the iteration's `n_critic * batch_size` examples are distinct if the set is
            large enough.
        seed: integer seed of the order.
        start_step: number of the first iteration.
        augmentation: an `Augmentation`; None for none.
        input_context: the context from `strategy.distribute_datasets_from_function`. The dataset then yields an element for
            each of this process's replicas in turn, with `batch_size` divided by the number of all replicas. None for one
            device.
        encoded: all sounds encoded in advance, `(count, ...)`, see `kgan.data.encoded.encode_all`; None encodes the sounds of
            each iteration when they are needed.

    Returns:
        A dataset of elements `{"x": float32 (n_critic * batch_size, ...)}` that also hold each label as int32
        `(n_critic * batch_size,)`.

    Raises:
        InputError: there are fewer sounds than a batch, or the batch cannot be divided among the replicas.

    Example:
        >>> silence = Sounds(np.zeros((320, 16384), np.int16), 16000, ids=[str(number) for number in range(320)])
        >>> dataset = training_dataset(silence, kgan.representations.Wave(), batch_size=32, n_critic=5)
        >>> next(iter(dataset))["x"].shape
        TensorShape([160, 16384, 1])
    """
    if len(sounds) < batch_size:
        raise InputError(
            f"Training needs at least a batch of sounds. Received: {len(sounds)} sounds, batch size {batch_size}."
            " Add sounds or lower --training.batch_size."
        )
    replicas = input_context.num_replicas_in_sync if input_context else 1
    here = replicas // input_context.num_input_pipelines if input_context else 1
    first = input_context.input_pipeline_id * here if input_context else 0
    check_divides(batch_size, replicas)
    per_step = n_critic * batch_size
    # An epoch is a whole number of iterations, so that no iteration has an example twice across the border of two epochs.
    # If the set is too small for that, an epoch is a whole number of batches.
    group = per_step if len(sounds) >= per_step else batch_size
    per_epoch = len(sounds) // group * group
    labels = {name: tf.constant(values) for name, values in sounds.labels.items()}
    encoded = None if encoded is None else tf.constant(encoded)

    def indices(start):  # shuffles and repeats
        key = folded_seed(seed, start // per_epoch)
        # Eight rounds with hashed keys behave like a random permutation. Four rounds with (seed, epoch) as the key do not:
        # orders of a thousand examples then agree with each other at every seventh place.
        return tf.raw_ops.RandomIndexShuffle(
            index=start % per_epoch + tf.range(group, dtype=tf.int64),
            seed=tf.concat([key, [0]], axis=0),
            max_index=tf.constant(len(sounds) - 1, tf.int64),
            rounds=8,
        )

    def element(number):  # reads and encodes all batches of an iteration at once, which is faster
        step, replica = number // here, first + number % here
        chosen = tf.concat([indices(step * per_step + start) for start in range(0, per_step, group)], axis=0)
        chosen = tf.reshape(chosen, (n_critic, replicas, batch_size // replicas))[:, replica]  # its share of each batch
        chosen = tf.reshape(chosen, [n_critic * batch_size // replicas])
        examples = {name: tf.gather(values, chosen) for name, values in labels.items()}
        if encoded is not None:
            return {"x": tf.gather(encoded, chosen), **examples}
        waveforms = tf.cast(sounds.gather(chosen), tf.float32) / FULL_SCALE
        if augmentation is None:
            return {"x": representation.encode(waveforms), **examples}
        drawn = folded_seed(seed, step, AUGMENTATION, replica)
        x = representation.encode(augmentation.of_audio(waveforms, drawn))
        if x.shape.rank == 4:
            silence = representation.encode(tf.zeros_like(waveforms[:1]))
            x = augmentation.of_spectrogram(x, silence, drawn)
        return {"x": x, **examples}

    elements = tf.data.Dataset.range(start_step * here, tf.int64.max)
    return elements.map(element, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)


def check_divides(batch_size, replicas):
    """Raise an `InputError` if replicas cannot share a batch equally."""
    if batch_size % replicas:
        raise InputError(
            f"`training.batch_size` must be a multiple of the {replicas} replicas that share it. Received: {batch_size}."
        )
