import numbers
from typing import Any, Literal

import keras
import tensorflow as tf

from kgan.noise import folded_seed


@keras.saving.register_keras_serializable(package="kgan")
class PhaseShuffle(keras.layers.Layer):
    """Shift each example in time by a random number of samples from -n to n, and fill the gap by reflection.

    Transposed convolutions leave artefacts at a fixed phase, by which a critic could easily detect every fake. The shifts
    are a pure function of `seed` and of the number of calls. That number is a weight, so a saved and loaded model
    continues with the same shifts. At inference the layer does nothing.

    Args:
        radius: n, the largest shift, in samples of the layer's input.
        per: `"example"` draws one shift per example, as described in the paper; `"batch"` draws one for the whole batch,
            as in the paper's code.
        seed: Random seed, an integer.
        **kwargs: Keyword arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Input and output shape: `(batch, time, channels)`.

    Raises:
        ValueError: `radius` is not an integer, is negative or is not below the length; the length is unknown; `per` is
            neither of the two; or `seed` is not an integer.

    Reference:
        Donahue et al. 2019, "Adversarial Audio Synthesis", section 3.3. https://arxiv.org/abs/1802.04208

    Example:
        >>> PhaseShuffle(2)(tf.zeros((4, 64, 8)), training=True).shape
        TensorShape([4, 64, 8])
    """

    def __init__(self, radius: int, per: Literal["example", "batch"] = "example", seed: int = 0, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(radius, numbers.Integral) or radius < 0:
            raise ValueError(f"`radius` must be an integer of at least 0. Received: radius={radius!r}")
        if not isinstance(seed, numbers.Integral):
            raise ValueError(f"`seed` must be an integer. Received: seed={seed!r}")
        if per not in ("example", "batch"):
            raise ValueError(f'`per` must be "example" or "batch". Received: per={per!r}')
        self.radius = radius
        self.per = per
        self.seed = seed

    def build(self, input_shape):
        if input_shape[1] is None or input_shape[1] <= self.radius:
            raise ValueError(f"`radius` must be below the length {input_shape[1]}. Received: radius={self.radius}")
        self.calls = self.add_weight(name="calls", shape=(), dtype="int64", initializer="zeros", trainable=False)

    def call(self, inputs, training=False):
        if not training or self.radius == 0:
            return inputs
        seed = folded_seed(self.seed, self.calls)
        self.calls.assign_add(1)
        batch = tf.shape(inputs)[0]
        drawn = batch if self.per == "example" else 1
        shifts = tf.random.stateless_uniform([drawn], seed, -self.radius, self.radius + 1, dtype=tf.int32)
        shifts = tf.broadcast_to(shifts, [batch])
        return shift_with_reflection(inputs, shifts, self.radius)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "radius": self.radius, "per": self.per, "seed": self.seed}


def shift_with_reflection(inputs, shifts, radius):
    """Delay `inputs` `(batch, time, channels)` by `shifts` samples, `(batch,)`, each from -radius to radius."""
    length = inputs.shape[1]
    padded = tf.pad(inputs, [[0, 0], [radius, radius], [0, 0]], mode="REFLECT")
    # Gather even for a common shift: a gradient penalty differentiates twice, which XLA cannot do for a dynamic slice.
    outputs = tf.gather(padded, (radius - shifts)[:, None] + tf.range(length), axis=1, batch_dims=1)
    outputs.set_shape(inputs.shape)
    return outputs
