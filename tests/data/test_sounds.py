import numpy as np
import pytest

from kgan.data.sounds import Sounds, empty_clips, taken, to_int16


def test_int16_by_hand():
    np.testing.assert_array_equal(
        to_int16([0.0, 0.5, -1.0, 1.0, 2.0, -2.0, 1.4 / 32768]), [0, 16384, -32768, 32767, 32767, -32768, 1]
    )


def test_round_trip_is_within_half_a_step(rng):
    audio = rng.uniform(-1, 0.9999, (3, 100))
    sounds = Sounds(to_int16(audio), 16000, ["a", "b", "c"])
    assert np.abs(sounds.waveforms() - audio).max() <= 0.5 / 32768 + 1e-7
    assert sounds.waveforms().dtype == np.float32
    assert sounds.waveforms([2, 0]).shape == (2, 100)
    assert len(sounds) == 3


def test_a_tensor_of_taken_clips_is_the_same_memory():
    clips = taken(np.arange(12, dtype=np.int16).reshape(4, 3), [3, -4])
    sounds = Sounds(clips, 16000, ["a", "b"])
    np.testing.assert_array_equal(sounds.gather([1, 0]), [[0, 1, 2], [9, 10, 11]])
    clips[0, 0] = 99
    np.testing.assert_array_equal(sounds.gather([0]), [[99, 10, 11]])
    with pytest.raises(IndexError):
        taken(clips, [2])


def test_clips_in_memory_that_cannot_be_shared_are_gathered_all_the_same():
    shifted = np.empty(8, np.int16)[1:7].reshape(2, 3)
    locked, rows = empty_clips((2, 3)), empty_clips((2, 6))[:, ::2]
    locked.flags.writeable = False
    for clips in (shifted, locked, rows):
        expected = clips.copy()
        np.testing.assert_array_equal(Sounds(clips, 16000, ["a", "b"]).gather([1, 0]), expected[::-1])


def test_a_look_at_sounds_is_one_line():
    clips, pitches = np.zeros((3, 8000), np.int16), np.zeros(3, np.int32)
    sounds = Sounds(clips, 16000, ["a", "b", "c"], {"pitch": pitches}, skipped={"d": "silent"})
    assert repr(sounds) == "<Sounds: 3 clips of 0.5 s at 16000 Hz, labels pitch, 1 skipped>"
