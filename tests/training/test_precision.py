import pytest
import tensorflow as tf

from kgan.training import precision


@pytest.mark.parametrize(
    ("times_s", "on_gpu", "expected"),
    [
        ({tf.float32: 1.0, tf.bfloat16: 0.5}, False, ("mixed_bfloat16", 2.0)),
        ({tf.float32: 1.0, tf.bfloat16: 4.0}, False, ("float32", 1.0)),  # no instructions for it
        ({tf.float32: 1.0, tf.bfloat16: 0.9}, False, ("float32", 1.0)),
        ({tf.float32: 1.0, tf.bfloat16: 0.5, tf.float16: 0.48}, True, ("mixed_bfloat16", 2.0)),
        ({tf.float32: 1.0, tf.bfloat16: 2.0, tf.float16: 0.25}, True, ("mixed_float16", 4.0)),
    ],
)
def test_the_choice_follows_the_measured_times(monkeypatch, times_s, on_gpu, expected):
    sizes = set()
    monkeypatch.setattr(precision, "matrix_product_s", lambda dtype, size: sizes.add(size) or times_s[dtype])
    assert precision.fastest_precision(on_gpu) == expected
    assert sizes == {4096 if on_gpu else 1024}


def test_a_larger_product_takes_longer():
    assert precision.matrix_product_s(tf.float32, size=1024) > 4 * precision.matrix_product_s(tf.float32, size=128)
