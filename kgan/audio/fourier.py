"""The discrete Fourier transform of real numbers, by TensorFlow's FFT or by matrix products, which any converter supports."""

import contextlib
import contextvars
import math

import numpy as np
import tensorflow as tf

_portable = contextvars.ContextVar("portable", default=False)
_unrolled = contextvars.ContextVar("unrolled", default=False)


@contextlib.contextmanager
def portable(unrolled=False):
    """Trace graphs without FFTs and complex numbers inside this context: ONNX and LiteRT do not fully support them.

    Args:
        unrolled: Whether to unroll loops too, because LiteRT's converter fails for loops with such a body.
    """
    tokens = _portable.set(True), _unrolled.set(unrolled)
    try:
        yield
    finally:
        _portable.reset(tokens[0])
        _unrolled.reset(tokens[1])


def repeated(step, state, times):
    """Apply `state = step(*state)` a number of times, in a graph loop unless `portable` asks for unrolled loops."""
    if not _unrolled.get():
        return tf.while_loop(lambda *_: True, step, state, maximum_iterations=times)
    for _ in range(times):
        state = step(*state)
    return state


def rfft(frames):
    """Return the real and imaginary part of the transform: float32 `(..., samples)` -> two `(..., samples / 2 + 1)`."""
    samples = frames.shape[-1]
    if not _portable.get():
        transform = tf.signal.rfft(frames)
        return tf.math.real(transform), tf.math.imag(transform)
    real, imag = _four_step(frames, None, samples, sign=-1.0)
    bins = samples // 2 + 1
    return real[..., :bins], imag[..., :bins]


def irfft(real, imag, samples):
    """Return the inverse of `rfft`, float32 `(..., samples)`, for an even number of samples."""
    if not _portable.get():
        return tf.signal.irfft(tf.complex(real, imag), [samples])
    # The other half of the spectrum mirrors this one, so every bin except the first and the last counts twice.
    weights = np.full(samples // 2 + 1, 2.0 / samples, np.float32)
    weights[[0, -1]] = 1.0 / samples
    missing = [[0, 0]] * (real.shape.rank - 1) + [[0, samples - len(weights)]]
    waves, _ = _four_step(tf.pad(real * weights, missing), tf.pad(imag * weights, missing), samples, sign=1.0)
    return waves


def _four_step(real, imag, samples, sign):
    """Return sum_n x_n exp(sign 2 pi i n k / samples) for all k: transform rows, apply twiddle factors, transform columns.

    The matrices have a size of about sqrt(samples), which needs a tenth of the operations of a single product, and no
    megabytes of constants.

    Args:
        real, imag: float32 `(..., samples)`; `imag` is None for real numbers.
        samples: Length of the transform.
        sign: -1 for the transform, 1 for its inverse times `samples`.

    Reference: Bailey 1990, "FFTs in External or Hierarchical Memory".
    """
    rows = next(n for n in range(math.isqrt(samples), 0, -1) if samples % n == 0)
    columns = samples // rows
    lead = [-1 if size is None else size for size in real.shape[:-1]]

    def phases(*sizes, period):
        """exp(sign 2 pi i j k / period)"""
        angles = sign * 2.0 * np.pi * np.outer(*map(np.arange, sizes)) / period
        return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)

    # n = columns j + m and k = p + rows q: first over j for each m, then over m
    cosine, sine = phases(rows, rows, period=rows)
    real = tf.reshape(real, [*lead, rows, columns])
    if imag is None:
        real, imag = tf.matmul(cosine, real), tf.matmul(sine, real)
    else:
        imag = tf.reshape(imag, [*lead, rows, columns])
        real, imag = tf.matmul(cosine, real) - tf.matmul(sine, imag), tf.matmul(sine, real) + tf.matmul(cosine, imag)
    cosine, sine = phases(rows, columns, period=samples)
    real, imag = real * cosine - imag * sine, imag * cosine + real * sine
    cosine, sine = phases(columns, columns, period=columns)
    real, imag = tf.matmul(real, cosine) - tf.matmul(imag, sine), tf.matmul(imag, cosine) + tf.matmul(real, sine)
    last = [*range(len(lead)), len(lead) + 1, len(lead)]
    return tuple(tf.reshape(tf.transpose(part, last), [*lead, samples]) for part in (real, imag))
