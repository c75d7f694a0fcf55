import numpy as np
import pytest
import tensorflow as tf

from kgan.representations import Wave


@pytest.mark.parametrize("shape", [(1, 64), (7, 64), (7, 64, 2)])
def test_round_trip_is_exact_directly_and_in_a_dataset(shape, rng):
    audio = rng.uniform(-1, 1, shape).astype(np.float32)
    wave = Wave()
    encoded = wave.encode(tf.constant(audio))
    assert encoded.shape == (*shape[:2], 2 if len(shape) == 3 else 1)
    np.testing.assert_array_equal(wave.decode(encoded), audio)
    mapped = next(iter(tf.data.Dataset.from_tensors(audio).map(wave.encode)))
    np.testing.assert_array_equal(mapped, encoded)


def test_unknown_batch_size(rng):
    wave = Wave()
    decode = tf.function(wave.decode, input_signature=[tf.TensorSpec([None, 64, 1])])
    assert decode(tf.zeros((3, 64, 1))).shape == (3, 64)
