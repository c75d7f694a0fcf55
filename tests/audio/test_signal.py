import numpy as np
import soxr

from kgan.audio.signal import edge_window, resampled


def test_what_resampling_makes_louder_than_full_scale_is_brought_down_as_a_whole():
    square = np.sign(np.sin(2 * np.pi * 1000 * (np.arange(1600) + 0.5) / 16000)).astype(np.float32)
    there = soxr.resample(square, 16000, 44100)
    assert np.abs(there).max() > 1.05
    np.testing.assert_allclose(resampled(square, 16000, 44100), there / np.abs(there).max(), atol=1e-6)
    np.testing.assert_allclose(resampled(0.5 * square, 16000, 44100), 0.5 * there, atol=1e-6)
    assert resampled(square, 16000, 16000) is square


def test_a_window_rises_from_zero_and_falls_to_it():
    np.testing.assert_allclose(edge_window(7, 2), [0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0], atol=1e-7)
    np.testing.assert_array_equal(edge_window(4, 1), [0.0, 1.0, 1.0, 0.0])
