import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.networks import PhaseShuffle
from kgan.networks.phase_shuffle import shift_with_reflection

RAMP = np.arange(10, dtype=np.float32).reshape(1, 10, 1)


def test_shift_reflects_at_the_border_by_hand():
    inputs = tf.constant(np.repeat(RAMP, 3, axis=0))
    outputs = shift_with_reflection(inputs, tf.constant([2, 0, -2]), radius=2)[..., 0].numpy()
    np.testing.assert_array_equal(outputs[0], [2, 1, 0, 1, 2, 3, 4, 5, 6, 7])
    np.testing.assert_array_equal(outputs[1], np.arange(10))
    np.testing.assert_array_equal(outputs[2], [2, 3, 4, 5, 6, 7, 8, 9, 8, 7])


def shifts_of(layer, batch, calls=1):
    """Return the shift that each example got, read from where sample 5 of a ramp went."""
    inputs = tf.repeat(tf.constant(RAMP), batch, axis=0)
    return np.stack([5 - layer(inputs, training=True)[:, 5, 0].numpy() for _ in range(calls)]).astype(int)


def test_every_shift_is_equally_likely_per_example():
    shifts = shifts_of(PhaseShuffle(2), 500, calls=4)
    assert set(shifts.ravel()) == {-2, -1, 0, 1, 2}
    counts = np.bincount(shifts.ravel() + 2)
    assert np.abs(counts - 400).max() < 80  # four standard deviations
    assert (shifts[0] != shifts[1]).mean() > 0.7  # four in five of independent pairs


def test_per_batch_draws_one_shift():
    shifts = shifts_of(PhaseShuffle(2, per="batch"), 16, calls=40)
    assert (shifts == shifts[:, :1]).all()
    assert len(set(shifts[:, 0])) == 5


def test_nothing_happens_at_inference_or_radius_0():
    inputs = tf.constant(RAMP)
    assert (PhaseShuffle(2)(inputs, training=False).numpy() == RAMP).all()
    assert (PhaseShuffle(0)(inputs, training=True).numpy() == RAMP).all()


@pytest.mark.parametrize("per", ["example", "batch"])
def test_gradient_goes_where_the_samples_went(per):
    """The gradient of outputs weighted by w is, per sample of the input, the sum of w over where it was put."""
    inputs = tf.repeat(tf.constant(RAMP), 6, axis=0)
    weights = tf.random.stateless_normal((6, 10, 1), (0, 2))
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = PhaseShuffle(3, per=per)(inputs, training=True)
        product = tf.reduce_sum(outputs * weights)
    by_hand = np.zeros((6, 10))
    for example in range(6):
        for time in range(10):
            by_hand[example, int(outputs[example, time, 0])] += weights[example, time, 0]
    np.testing.assert_allclose(tape.gradient(product, inputs)[..., 0], by_hand, rtol=1e-5)


def test_saved_and_loaded_it_goes_on_with_its_shifts(tmp_path):
    inputs = keras.Input((10, 1))
    model = keras.Model(inputs, PhaseShuffle(2, seed=5)(inputs))
    batch = tf.repeat(tf.constant(RAMP), 32, axis=0)
    model(batch, training=True)
    model.save(tmp_path / "model.keras")
    expected = model(batch, training=True).numpy()
    again = keras.models.load_model(tmp_path / "model.keras")(batch, training=True).numpy()
    np.testing.assert_array_equal(again, expected)


def test_errors_state_rule_and_value():
    with pytest.raises(ValueError, match="an integer of at least 0. Received: radius=-1"):
        PhaseShuffle(-1)
    with pytest.raises(ValueError, match="Received: per='clip'"):
        PhaseShuffle(2, per="clip")
    with pytest.raises(ValueError, match="below the length 10. Received: radius=10"):
        PhaseShuffle(10)(tf.constant(RAMP))
