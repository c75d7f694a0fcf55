"""Measure which precision is fastest on this machine."""

import time

import tensorflow as tf

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
WORTH = 1.2  # least speed-up that is worth the loss of precision
SIZE, GPU_SIZE = 1024, 4096  # of the matrices; on a GPU, launching the smaller product takes longer than computing it


def fastest_precision(on_gpu):
    """Return a Keras dtype policy and the speed of its matrix product relative to float32's.

    Reduced precision is chosen if its product is at least 1.2 times as fast: bfloat16 on a CPU with instructions for it and
    on a GPU, where float16 is no faster but needs loss scaling; float16 on older GPUs, which lack bfloat16.
    """
    candidates = {"mixed_bfloat16": tf.bfloat16} | ({"mixed_float16": tf.float16} if on_gpu else {})
    size = GPU_SIZE if on_gpu else SIZE
    float32_s = matrix_product_s(tf.float32, size)
    speeds = {policy: float32_s / matrix_product_s(dtype, size) for policy, dtype in candidates.items()}
    best = max(speeds, key=speeds.get)
    if "mixed_bfloat16" in speeds and speeds["mixed_bfloat16"] >= 0.9 * speeds[best]:
        best = "mixed_bfloat16"
    return (best, speeds[best]) if speeds[best] >= WORTH else ("float32", 1.0)


def matrix_product_s(dtype, size, repetitions=5):
    """Return the shortest measured time of a product of two square matrices, in seconds."""
    matrix = tf.cast(tf.random.stateless_normal((size, size), seed=(0, 0)), dtype)

    @tf.function(jit_compile=False)
    def product(matrix):
        for _ in range(4):
            matrix = tf.matmul(matrix, matrix) / size
        return tf.reduce_sum(tf.cast(matrix, tf.float32))

    product(matrix).numpy()
    times_s = []
    for _ in range(repetitions):
        began_s = time.perf_counter()
        product(matrix).numpy()
        times_s.append(time.perf_counter() - began_s)
    return min(times_s) / 4
