"""Layers that bear the name or the base of one of Keras's: each argument does what it does there, or is refused."""

import inspect
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.networks import FoldedConv1DTranspose, StridedConv1D, StridedConv1DTranspose
from kgan.networks.layers import Conv2DTranspose, LeakyReLU

CASES = {  # Keras's class, what our own has as a rule, and an example's shape
    Conv2DTranspose: (keras.layers.Conv2DTranspose, {"kernel_size": 5, "strides": 2, "padding": "same"}, (6, 4, 5)),
    StridedConv1D: (keras.layers.Conv1D, {"kernel_size": 9, "strides": 4, "padding": "same"}, (24, 5)),
    StridedConv1DTranspose: (keras.layers.Conv1DTranspose, {"kernel_size": 9, "strides": 4, "padding": "same"}, (6, 5)),
}
HONOURED = [
    {},
    {"activation": "tanh"},
    {"activation": keras.layers.Activation("softplus")},
    {"activity_regularizer": keras.regularizers.L2(0.3)},
    {"bias_constraint": "non_neg"},
    {"bias_initializer": keras.initializers.RandomNormal(stddev=0.5, seed=3)},
    {"bias_regularizer": keras.regularizers.L1(0.2)},
    {"data_format": "channels_last"},
    {"dtype": "float64"},
    {"kernel_constraint": keras.constraints.MaxNorm(0.1)},
    {"kernel_initializer": keras.initializers.HeNormal(seed=4)},
    {"kernel_regularizer": "l2"},
    {"name": "head"},
    {"padding": "SAME"},
    {"strides": 1, "dilation_rate": 1},
    {"trainable": False},
    {"use_bias": False},
]
OF_ONE_AXIS = [{"kernel_size": (9,), "strides": [4], "dilation_rate": (1,)}, {"strides": 1}]
MORE = {
    Conv2DTranspose: [
        {"padding": "valid"},
        {"output_padding": 0},
        {"output_padding": (1, 0), "padding": "valid"},
        {"strides": 1, "dilation_rate": 2},
        {"strides": (1, 2), "kernel_size": (3, 5)},
    ],
    StridedConv1D: [*OF_ONE_AXIS, {"groups": 1}, {"lora_rank": 2}, {"lora_rank": 2, "lora_alpha": 3}],
    StridedConv1DTranspose: [*OF_ONE_AXIS, {"output_padding": None}],
}
REFUSED = {
    Conv2DTranspose: [{"data_format": "channels_first"}],
    StridedConv1D: [
        {"padding": "valid"},
        {"padding": "causal"},
        {"data_format": "channels_first"},
        {"strides": 1, "dilation_rate": 2},
        {"groups": 2},
        {"strides": 0},
        {"kernel_size": (3, 3)},
        {"filters": None},
    ],
    StridedConv1DTranspose: [
        {"padding": "valid"},
        {"output_padding": 1},
        {"data_format": "channels_first"},
        {"strides": 1, "dilation_rate": 2},
        {"strides": 2.5},
        {"kernel_size": 0},
        {"filters": 0},
    ],
}
SET_BESIDES = {"filters", "kernel_size", "strides", "args", "kwargs", "self"}


def cases(table):
    return [
        pytest.param(ours, options, id=re.sub(" object at 0x[0-9a-f]+|<|>", "", f"{ours.__name__} {options}")[:90])
        for ours, listed in table.items()
        for options in listed
    ]


def after_a_step(layer, x):
    """Return the output, the losses, and the weights after a step of gradient descent, as float64."""
    weights = [tf.cast(weight.value, "float64") for weight in layer.weights]
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        outputs = tf.cast(
            layer(x, training=True) if "training" in inspect.signature(layer.call).parameters else layer(x), "float64"
        )
        losses = [tf.cast(loss, "float64") for loss in layer.losses]
        weighted = outputs * tf.random.stateless_normal(outputs.shape, (0, 2), dtype="float64")
        total = tf.reduce_sum(weighted) + tf.add_n([*losses, tf.zeros((), "float64")])
    trainable = layer.trainable_variables
    if trainable:
        optimizer.apply(tape.gradient(total, trainable), trainable)
    return outputs, tf.stack([*losses, 0.0]), *weights, *(tf.cast(weight.value, "float64") for weight in layer.weights)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("ours", "options"), cases({ours: [*HONOURED, *MORE[ours]] for ours in CASES}))
def test_an_argument_does_what_it_does_in_keras(ours, options, policy, rng):
    """In bfloat16 as Keras's layer does in float32: its own sums the gradient of a bias in bfloat16, see `add_bias`."""
    theirs, usual, shape = CASES[ours]
    fixed = {"filters": 4, "kernel_initializer": keras.initializers.GlorotUniform(seed=1), "dtype": policy}
    options = {**fixed, **usual, **options}
    exact = {"dtype": "float32"} if options["dtype"] == "mixed_bfloat16" else {}
    mine, keras_s = ours(**options), theirs(**{**options, **exact})
    x = tf.constant(rng.normal(size=(3, *shape)), tf.float32)
    results = []
    for layer in (mine, keras_s):
        layer(x)  # builds it
        start = np.random.default_rng(1)
        for weight in layer.weights:
            if (weight.name == "bias" and "bias_initializer" not in options) or "lora" in weight.name:
                weight.assign(start.normal(size=weight.shape))
        results.append(after_a_step(layer, x))
    assert mine.get_config() == keras_s.get_config() | {key: mine.get_config()[key] for key in ("name", "dtype")}
    assert [weight.name for weight in mine.weights] == [weight.name for weight in keras_s.weights]
    assert [weight.trainable for weight in mine.weights] == [weight.trainable for weight in keras_s.weights]
    made = results[0][0].shape
    assert tuple(mine.compute_output_shape(x.shape)) == tuple(keras_s.compute_output_shape(x.shape)) == made
    place = 2**-5 if mine.compute_dtype == "bfloat16" else 1e-5
    for received, expected in zip(*results, strict=True):
        np.testing.assert_allclose(received, expected, rtol=place, atol=place * max(np.abs(expected).max(), 1e-3))


@pytest.mark.parametrize(("ours", "options"), cases(REFUSED))
def test_what_is_not_computed_is_refused(ours, options):
    name = list(options)[-1]
    value = options[name]
    with pytest.raises(ValueError, match=rf"`{name}` must be .*Received: {name}=") as raised:
        ours(**{"filters": 4, **CASES[ours][1], **options})
    assert str(raised.value).endswith((f"{name}={value!r}", f"{name}=({value!r},)"))


@pytest.mark.parametrize("ours", CASES)
def test_each_argument_of_keras_is_tried(ours):
    arguments = {name for each in CASES[ours][0].__mro__[:2] for name in inspect.signature(each).parameters} - {"rank"}
    tried = {name for options in (*HONOURED, *MORE[ours], *REFUSED[ours]) for name in options}
    assert arguments - tried - SET_BESIDES == set()


@pytest.mark.parametrize("ours", [StridedConv1D, StridedConv1DTranspose])
def test_an_unknown_length_is_refused(ours):
    with pytest.raises(ValueError, match="The length must be .*Received: length=None"):
        ours(4, 9, 4)(keras.Input((None, 5)))


def test_another_length_than_it_was_built_for_is_checked():
    """A batch of 32 x 66 samples would pass for one of 33 x 64."""
    layer = StridedConv1D(4, 9, 4)
    layer(tf.zeros((32, 64, 1)))
    assert layer(tf.zeros((32, 128, 1))).shape == (32, 32, 4)
    with pytest.raises(ValueError, match="multiple of strides=4. Received: length=66"):
        layer(tf.zeros((32, 66, 1)))


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0, 1.5])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_leaky_relu_is_keras_s(slope, policy, rng):
    x = tf.constant([*rng.normal(size=8), 0.0, np.inf, -np.inf], tf.float32)
    mine, keras_s = LeakyReLU(slope, dtype=policy), keras.layers.LeakyReLU(slope, dtype=policy)
    results = []
    for layer, options in ((mine, {"training": True}), (mine, {"training": False}), (keras_s, {})):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, **options)
        results.append((tf.cast(y, "float32"), tape.gradient(y, x), y.dtype == layer.compute_dtype))
    for received in results[:2]:
        for value, expected in zip(received, results[2], strict=True):
            np.testing.assert_array_equal(value, expected)
    assert mine.get_config() == keras_s.get_config() | {"name": mine.name}
    assert mine.supports_masking


@pytest.mark.parametrize("slope", [-0.1, None])
def test_leaky_relu_refuses_the_slopes_that_keras_refuses(slope):
    with pytest.raises(ValueError, match=f"Received: negative_slope={slope}"):
        LeakyReLU(slope)


def test_a_folded_layer_has_the_activation_of_the_layer(rng):
    layer = StridedConv1DTranspose(6, 25, 4, activation="softplus", use_bias=False)
    x = tf.constant(rng.normal(size=(3, 16, 8)), tf.float32)
    expected = layer(x)
    np.testing.assert_allclose(FoldedConv1DTranspose(layer)(x), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "mixed_bfloat16"}, "`dtype` must be \"float32\". Received: dtype='mixed_bfloat16'"),
        ({"trainable": True}, "`trainable` must be False: the layer is for inference. Received: trainable=True"),
        ({"layer": StridedConv1DTranspose(6, 25, 4)}, "`layer` must be a built `StridedConv1DTranspose`. Received: <Strided"),
        ({"layer": None}, "`layer` must be a built `StridedConv1DTranspose`. Received: None"),
    ],
)
def test_a_folded_layer_refuses(options, message):
    layer = StridedConv1DTranspose(6, 25, 4)
    layer.build((None, 8, 3))
    with pytest.raises(ValueError, match=message):
        FoldedConv1DTranspose(**{"layer": layer, **options})
