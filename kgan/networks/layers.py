"""What the builders of networks share."""

import keras

NEGATIVE_SLOPE = 0.2


def initializer_factory(weight_stddev):
    """Return a factory: each weight needs an initializer of its own, or equal shapes would start with equal values.

    `weight_stddev` is that of normal weights; None draws Glorot uniform ones.
    """
    if weight_stddev is None:
        return keras.initializers.GlorotUniform
    return lambda: keras.initializers.RandomNormal(stddev=weight_stddev)


def activation_layer(name):
    """Return a new layer, `"relu"` or `"leaky_relu"` of slope 0.2."""
    layers = {"relu": keras.layers.ReLU, "leaky_relu": lambda: keras.layers.LeakyReLU(negative_slope=NEGATIVE_SLOPE)}
    if name not in layers:
        raise ValueError(f"`activation` must be one of {sorted(layers)}. Received: activation={name!r}")
    return layers[name]()
