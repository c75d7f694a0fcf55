"""Checks of a GAN's networks and arguments. Each error states the rule and the received value."""

import numbers

import keras
import tensorflow as tf

from kgan.labels import Labels


def check_at_least(least, **values):
    """Raise an error unless all values are numbers of at least `least`. The keywords are the names of the arguments.

    If `least` is 1, the values must be integers.

    Raises:
        ValueError: A value is below `least` or not a number.
    """
    for name, value in values.items():
        if not isinstance(value, numbers.Integral if least == 1 else numbers.Real):
            raise ValueError(f"`{name}` must be {'an integer' if least == 1 else 'a number'}. Received: {name}={value!r}")
        if not value >= least:
            raise ValueError(f"`{name}` must be at least {least}. Received: {name}={value}")


def check_networks(generator, critic, labels):
    """Check that generator, critic and labels fit each other, and that the critic does not mix examples.

    Raises:
        ValueError: They do not fit, or the critic mixes examples.
    """
    if not isinstance(labels, Labels):
        raise ValueError(f"`labels` must be `kgan.labels.Labels` or None. Received: {labels!r}")
    for name, network in (("generator", generator), ("critic", critic)):
        if not isinstance(network, keras.Model) or not getattr(network, "inputs", None):
            raise ValueError(
                f"`{name}` must be a functional or sequential `keras.Model` with its `Input`. Received: {network!r}"
            )
    _check_generator(generator, labels.width)
    _check_critic(critic, labels.width)
    made, judged = _shapes(generator.outputs), _shapes(critic.inputs)
    if made != judged:
        raise ValueError(
            f"The critic must take what the generator makes. Received: {_listed(judged)}, and {_listed(made)} made"
        )
    mixing = sorted({layer.name for layer in _layers(critic) if isinstance(layer, keras.layers.BatchNormalization)})
    if mixing:
        raise ValueError(
            "The critic must not mix examples: real and fake ones go through it in one batch, so it can have no batch"
            f" normalisation. Received: {', '.join(mixing)}"
        )


def check_optimizers(generator_optimizer, critic_optimizer):
    """Check that the two optimizers are different objects.

    Raises:
        ValueError: They are the same object, or wrap the same object for loss scaling.
    """
    first, second = (getattr(each, "inner_optimizer", each) for each in (generator_optimizer, critic_optimizer))
    if first is second and isinstance(first, keras.Optimizer):
        raise ValueError("The generator and the critic need separate optimizers. Received: the same object twice.")


def checked_element(data, kinds, n_critic, example_shape):
    """Return a dataset element as a dictionary with `x` and the labels for `n_critic` critic steps.

    Raises:
        ValueError: A key is missing, or a shape does not fit.
    """
    if isinstance(data, tuple | list):
        raise ValueError(f"An element must be a tensor or a dictionary. Received: {len(data)} parts")
    data = data if isinstance(data, dict) else {"x": data}
    if {"x", *kinds} - set(data):
        beside = f"{', '.join(kinds)} beside `x`" if kinds else "`x`"
        raise ValueError(f"An element must hold {beside}. Received: {', '.join(data)}")
    data = {name: tf.convert_to_tensor(data[name]) for name in ("x", *kinds)}
    x = data["x"]
    if not x.shape[1:].is_compatible_with(example_shape):
        raise ValueError(f"Examples must be of the critic's shape {tuple(example_shape)}. Received: {tuple(x.shape[1:])}")
    for kind in kinds:
        if not data[kind].shape.is_compatible_with(x.shape[:1]):
            raise ValueError(
                f"`{kind}` must have a value for each example. Received: shape {tuple(data[kind].shape)},"
                f" and {tuple(x.shape)} of examples"
            )
    rule = f"An element must hold the examples of n_critic={n_critic} critic steps: its first axis must be a multiple of it."
    if x.shape[0] is None:
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(x)[0] % n_critic, 0, rule)]):
            return data | {"x": tf.identity(x)}
    if x.shape[0] % n_critic:
        raise ValueError(f"{rule} Received: shape {tuple(x.shape)}")
    return data


def _check_generator(generator, label_width):
    shapes = _shapes(generator.inputs)
    fits = len(shapes) == 1 + (label_width > 0) and all(len(shape) == 1 for shape in shapes)
    if not fits or (label_width and shapes[1] != (label_width,)):
        inputs = f"latents and one-hot labels, (batch, {label_width})" if label_width else "latents alone"
        raise ValueError(
            f"With {label_width} label values the generator must take {inputs}. Received: inputs of {_listed(shapes)}"
        )
    if len(generator.outputs) != 1:
        raise ValueError(f"The generator must have one output. Received: {_listed(_shapes(generator.outputs))}")


def _check_critic(critic, label_width):
    if len(critic.inputs) != 1:
        raise ValueError(f"The critic must take examples alone. Received: inputs of {_listed(_shapes(critic.inputs))}")
    outputs = critic.compute_output_spec(critic.inputs[0])
    named = isinstance(outputs, dict)
    received = {name: tuple(output.shape[1:]) for name, output in (outputs if named else {"score": outputs}).items()}
    expected = {"score": (1,)} | ({"labels": (label_width,)} if label_width else {})
    if received != expected:
        raise ValueError(
            f"With {label_width} label values the critic must return a dictionary of {_named(expected)}"
            f"{'' if label_width else ', or the score alone'}."
            f" Received: {_named(received) if named else _listed(received.values())}"
        )


def _layers(network):
    """Return all layers of a network, including nested layers."""
    inner = [*getattr(network, "layers", ()), *filter(None, [getattr(network, "layer", None)])]
    return [network, *(found for layer in inner for found in _layers(layer))]


def _shapes(tensors):
    return [tuple(tensor.shape[1:]) for tensor in tensors]


def _listed(shapes):
    return ", ".join(str(("batch", *shape)).replace("'", "") for shape in shapes)


def _named(shapes):
    return ", ".join(f"`{name}` {_listed([shape])}" for name, shape in shapes.items())
