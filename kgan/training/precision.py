"""Which precision is fastest here: measured, not guessed."""

import time

import tensorflow as tf

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
WORTH = 1.2  # a faster product by less is not worth fewer bits
SIZE, GPU_SIZE = 1024, 4096  # of the matrices; a GPU does the smaller product in less time than starting it takes


def fastest_precision(on_gpu):
    """Return a Keras dtype policy and the speed of its matrix product relative to float32's.

    Reduced precision is taken where its product is at least 1.2 times as fast: bfloat16 on a CPU that has instructions
    for it and on a GPU, where float16 would be no faster but need loss scaling; older GPUs have float16 alone.
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
    """Return the shortest time of a product of two square matrices, in seconds."""
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
