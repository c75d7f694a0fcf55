import numpy as np
import pytest
import tensorflow as tf

from kgan.data.pipeline import training_dataset
from kgan.data.sounds import Sounds, to_int16
from kgan.errors import InputError
from kgan.representations import Wave


def numbered(count, length=8):
    """Sounds of which number i has the value i in every sample, and a label that says so."""
    numbers = np.arange(count, dtype=np.int32)
    return Sounds(np.repeat(numbers[:, None], length, axis=1).astype(np.int16), 16000, [], {"number": numbers})


def numbers_of(sounds, steps, **options):
    dataset = training_dataset(sounds, Wave(), **options)
    return np.stack([element["number"].numpy() for element in dataset.take(steps)])


def test_elements_hold_the_audio_of_their_labels_in_float32():
    element = next(iter(training_dataset(numbered(100), Wave(), batch_size=4, n_critic=3)))
    assert element["x"].shape == (12, 8, 1)
    assert element["x"].dtype == tf.float32
    expected = np.repeat(element["number"].numpy()[:, None], 8, axis=1) / 32768
    np.testing.assert_array_equal(element["x"][..., 0], expected)


def test_stereo_keeps_its_channels():
    sounds = Sounds(to_int16(np.random.default_rng(0).uniform(-1, 1, (8, 16, 2))), 16000, [])
    element = next(iter(training_dataset(sounds, Wave(), batch_size=8)))
    assert element["x"].shape == (8, 16, 2)
    expected = {tuple(clip.ravel()) for clip in sounds.waveforms()}
    assert {tuple(clip.ravel()) for clip in element["x"].numpy()} == expected


def test_an_epoch_sees_every_example_once_and_no_iteration_meets_one_twice():
    numbers = numbers_of(numbered(66), steps=33, batch_size=4, n_critic=5)  # three whole iterations in 66
    for epoch in numbers.reshape(11, 60):
        assert len(set(epoch)) == 60
    seen = np.bincount(numbers.ravel(), minlength=66)
    assert seen.min() >= 7  # of 11 epochs; each leaves out another six
    assert len({tuple(epoch) for epoch in numbers.reshape(11, 60)}) == 11


def test_a_set_smaller_than_an_iteration_gives_batches_without_repeats():
    numbers = numbers_of(numbered(7), steps=20, batch_size=3, n_critic=5).reshape(100, 3)
    assert all(len(set(batch)) == 3 for batch in numbers)
    assert np.bincount(numbers.ravel(), minlength=7).min() > 300 / 7 / 2


def test_started_late_it_goes_on_as_if_it_had_run_from_the_start():
    options = {"batch_size": 4, "n_critic": 5, "seed": 3}
    whole = numbers_of(numbered(66), steps=9, **options)
    np.testing.assert_array_equal(numbers_of(numbered(66), steps=4, start_step=5, **options), whole[5:])


def test_seeds_give_other_orders():
    first, second = (numbers_of(numbered(200), steps=10, batch_size=20, seed=seed) for seed in (0, 1))
    assert (first == second).mean() < 0.03  # one in 200 by chance


@pytest.mark.parametrize("count", [64, 1000])
def test_shuffle_passes_for_random(count):
    """Against what a random permutation does: no correlation with the original order or with other epochs."""
    epochs = numbers_of(numbered(count), steps=40, batch_size=count)
    correlations = [np.corrcoef(epoch, np.arange(count))[0, 1] for epoch in epochs]
    assert abs(np.std(correlations) * np.sqrt(count) - 1) < 0.4
    agreements = [(epochs[i] == epochs[j]).sum() for i in range(40) for j in range(i)]
    assert abs(np.mean(agreements) - 1) < 0.2
    neighbours = np.mean(np.abs(np.diff(epochs, axis=1)) == 1) * count / 2
    assert abs(neighbours - 1) < 0.2


def test_too_few_sounds():
    with pytest.raises(InputError, match="Received: 3 sounds, batch size 4"):
        training_dataset(numbered(3), Wave(), batch_size=4)


def test_replicas_read_each_their_own_part_of_every_batch():
    """Two processes with two replicas each: together the examples of one device, step by step, and none twice."""
    sounds, options = numbered(100), {"batch_size": 8, "n_critic": 3, "seed": 4, "start_step": 2}
    whole = [e["number"].numpy().reshape(3, 8) for e in training_dataset(sounds, Wave(), **options).take(3)]
    parts = []
    for process in range(2):
        context = tf.distribute.InputContext(num_input_pipelines=2, input_pipeline_id=process, num_replicas_in_sync=4)
        dataset = training_dataset(sounds, Wave(), **options, input_context=context)
        parts.append([e["number"].numpy().reshape(3, 2) for e in dataset.take(6)])
    for step, batches in enumerate(whole):
        together = [parts[process][2 * step + replica] for process in range(2) for replica in range(2)]
        np.testing.assert_array_equal(np.concatenate(together, axis=1), batches)


def test_a_batch_that_replicas_cannot_share_is_refused():
    context = tf.distribute.InputContext(num_input_pipelines=1, input_pipeline_id=0, num_replicas_in_sync=3)
    with pytest.raises(InputError, match="must be a multiple of the 3 replicas that share it. Received: 8"):
        training_dataset(numbered(100), Wave(), batch_size=8, input_context=context)
