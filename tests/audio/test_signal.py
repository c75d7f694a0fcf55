import numpy as np

from kgan.audio.signal import edge_window


def test_a_window_rises_from_zero_and_falls_to_it():
    np.testing.assert_allclose(edge_window(7, 2), [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0], atol=1e-7)
    np.testing.assert_array_equal(edge_window(4, 1), [0.0, 1.0, 1.0, 0.0])
