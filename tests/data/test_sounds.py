import numpy as np

from kgan.data.sounds import Sounds, to_int16


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
