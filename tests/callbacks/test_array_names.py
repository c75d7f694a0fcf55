"""The names of a checkpoint's arrays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.callbacks.array_names import named_arrays
from kgan.callbacks.checkpoint import Checkpoint
from kgan.gans import WGANGP


class Twice(keras.layers.Layer):
    """A layer with layers in a list and in a dictionary, weights without a name and with the same, and names after its own."""

    def build(self, shape):
        self.layers_in_a_row = [keras.layers.Dense(3), keras.layers.Dense(3, name="last")]
        self.by_name = {"a": keras.layers.Dense(3), 1: keras.layers.Dense(3)}
        self.after_mine = keras.layers.Dense(3, name=f"{self.name}_out")
        for layer in (*self.layers_in_a_row, *self.by_name.values(), self.after_mine):
            layer.build(shape)
        self.unnamed = [self.add_weight(shape=()), self.add_weight(shape=())]
        self.named = [self.add_weight(shape=(), name=name) for name in ("x", f"{self.name}_y", "x")]

    def call(self, inputs):
        return inputs


def network():
    """Return a model that holds every way to put layers into layers."""
    inputs = keras.Input((5, 3))
    layers = keras.layers
    inner_inputs = keras.Input((5, 3))
    inner = keras.Model(inner_inputs, layers.Dense(3)(inner_inputs))
    declared = keras.Sequential([keras.Input((5, 3)), layers.Dense(3), layers.Dropout(0.5)])
    deferred = keras.Sequential([layers.Dense(3), keras.Sequential([layers.Dense(3, name="own")], name="deep")])
    x = inner(deferred(declared(inputs)))
    x = layers.SpectralNormalization(layers.Dense(3))(x)
    x = layers.Bidirectional(layers.SimpleRNN(2, return_sequences=True))(x)
    x = layers.RNN([layers.GRUCell(3), layers.GRUCell(3)], return_sequences=True)(x)
    return keras.Model(inputs, Twice()(Twice()(layers.BatchNormalization()(x))))


TWICE = [
    "variable", "variable_1", "x", "twice_y", "x_1", "dense/kernel", "dense/bias", "last/kernel", "last/bias",
    "dense_1/kernel", "dense_1/bias", "dense_2/kernel", "dense_2/bias", "twice_out/kernel", "twice_out/bias",
]  # fmt: skip
NAMES = [
    "sequential/dense/kernel", "sequential/dense/bias", "sequential/dropout_1/seed_generator_state",
    "sequential_1/dense/kernel", "sequential_1/dense/bias", "sequential_1/deep/own/kernel", "sequential_1/deep/own/bias",
    "functional_2/dense/kernel", "functional_2/dense/bias",
    "spectral_normalization_3/vector_u", "spectral_normalization_3/dense/kernel", "spectral_normalization_3/dense/bias",
    *(
        f"bidirectional_4/{side}/simple_rnn_cell/{name}"
        for side in ("forward_simple_rnn", "backward_simple_rnn_1")
        for name in ("kernel", "recurrent_kernel", "bias", "seed_generator_state")
    ),
    *(
        f"rnn_5/stacked_rnn_cells/{cell}/{name}"
        for cell in ("gru_cell", "gru_cell_1")
        for name in ("kernel", "recurrent_kernel", "bias", "seed_generator_state")
    ),
    *(f"batch_normalization_6/{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")),
    *(f"twice_{place}/{name}" for place in (7, 8) for name in TWICE),
]  # fmt: skip


def test_every_array_has_a_name_of_its_own_however_layers_lie_in_layers():
    built = network()
    named, _ = named_arrays({"net": built}, {})
    assert sorted(named) == sorted(f"net/{name}" for name in NAMES)
    assert {id(variable) for variable in named.values()} == {id(variable) for variable in built.variables}
    for name, variable in named.items():
        if "/twice_" not in name:
            assert name.endswith(f"/{variable.name}")
    for place, layer in ((7, built.layers[-2]), (8, built.layers[-1])):
        for name, variable in zip(("x", "twice_y", "x_1"), layer.named, strict=True):
            assert named[f"net/twice_{place}/{name}"] is variable
        assert named[f"net/twice_{place}/dense_1/kernel"] is layer.by_name["a"].kernel


def test_names_do_not_depend_on_what_was_built_before(make_gan):
    def names_and_keras_s(build):
        named = build()
        return list(named), [variable.path for variable in named.values()]

    def of_gan():
        return Checkpoint("nowhere")._named(make_gan(dtype="mixed_float16", phase_shuffle=1, ema_decay=0.9))[0]

    for build in (of_gan, lambda: named_arrays({"net": network()}, {})[0]):
        names, paths = names_and_keras_s(build)
        for _ in range(3):
            keras.layers.Dense(1), keras.Sequential(), Twice(), keras.Variable(0.0), keras.optimizers.Adam()
        again, other_paths = names_and_keras_s(build)
        assert again == names
        assert sum(mine != other for mine, other in zip(paths, other_paths, strict=True)) > len(paths) / 2


def test_a_copy_of_a_network_has_its_names():
    """Keras gives the variables of a copy other paths: it builds it from the inside."""
    built = network()
    copy = keras.models.clone_model(built)
    assert [v.path for v in copy.variables] != [v.path for v in built.variables]
    assert list(named_arrays({"net": copy}, {})[0]) == list(named_arrays({"net": built}, {})[0])


def test_names_of_a_gan_by_hand(make_gan):
    gan = make_gan(WGANGP, length=64, ema_decay=0.9, phase_shuffle=1)
    names = list(Checkpoint("nowhere")._named(gan)[0])
    generator = ["dense/kernel", "dense/bias", "strided_conv1d_transpose_1/kernel", "strided_conv1d_transpose_1/bias"]
    critic = ["strided_conv1d/kernel", "strided_conv1d/bias", "dense_1/kernel", "dense_1/bias"]
    expected = [
        *(f"generator/{name}" for name in generator),
        *(f"critic/{name}" for name in critic),
        *(f"ema_generator/{name}" for name in generator),
        "gan/step",
    ]
    for part, paths in (("generator_optimizer", generator), ("critic_optimizer", critic)):
        expected += [f"{part}/iteration", f"{part}/learning_rate"]
        expected += [f"{part}/{path}/{slot}" for path in paths for slot in ("momentum", "velocity")]
    assert names == expected


class OfUsers(keras.optimizers.Optimizer):
    """An optimizer with slots of Keras's making and of its own, which it names as it likes."""

    def build(self, variables):
        super().build(variables)
        self.slots = [self.add_variable_from_reference(variable, "slow") for variable in variables]
        self.named = [self.add_variable((), name=variable.path.replace("/", "_")) for variable in variables]
        self.unnamed = self.add_variable(())

    def update_step(self, gradient, variable, learning_rate):
        slot = self.slots[self._get_variable_index(variable)]
        self.assign(slot, 0.5 * slot + gradient)
        self.assign_sub(variable, learning_rate * slot)
        self.assign_add(self.unnamed, 1.0)


WEIGHTS = ("a/kernel", "a/bias", "a_kernel/kernel", "a_kernel/bias", "dense/kernel", "dense/bias")
OPTIMIZERS = {
    "sgd": (lambda: keras.optimizers.SGD(0.1, momentum=0.9), ["momentum"]),
    "rmsprop": (
        lambda: keras.optimizers.RMSprop(0.1, momentum=0.9, centered=True),
        ["velocity", "momentum", "average_gradient"],
    ),
    "amsgrad": (lambda: keras.optimizers.Adam(0.1, amsgrad=True), ["momentum", "velocity", "velocity_hat"]),
    "averaged": (lambda: keras.optimizers.Adam(0.1, use_ema=True), ["average", "momentum", "velocity"]),
    "users": (lambda: OfUsers(0.1), ["slow"]),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_an_optimizer_keeps_for_a_variable_goes_by_its_path(name):
    make, slots = OPTIMIZERS[name]
    layers = [keras.layers.Dense(2, name="a"), keras.layers.Dense(2, name="a_kernel"), keras.layers.Dense(2)]
    net, optimizer = keras.Sequential([keras.Input((2,)), *layers]), make()
    optimizer.build(net.trainable_variables)
    named, by_order = named_arrays({"net": net}, {"net_optimizer": (optimizer, net)})
    of_optimizer = {name.removeprefix("net_optimizer/") for name in named if name.startswith("net_optimizer/")}
    expected = {"iteration", "learning_rate", *(f"{weight}/{slot}" for weight in WEIGHTS for slot in slots)}
    assert of_optimizer == expected | ({*WEIGHTS, "variable"} if name == "users" else set())
    assert not by_order
    for path in WEIGHTS:
        for slot in slots:
            assert named[f"net_optimizer/{path}/{slot}"].name == f"{named[f'net/{path}'].path.replace('/', '_')}_{slot}"


def test_optimizers_in_optimizers_have_names_of_their_own():
    net = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(2, name="b")])
    by_path = keras.optimizers.OptimizerMap(keras.optimizers.Adam(0.1))
    by_path[f"{net.layers[0].path}/.*"] = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.MultiOptimizer(by_path))
    optimizer.build(net.trainable_variables)
    named, by_order = named_arrays({"net": net}, {"o": (optimizer, net)})
    expected = {f"o/{name}" for name in ("iteration", "learning_rate", "step_counter", "dynamic_scale")}
    expected |= {f"o/{inner}/{name}" for inner in ("multi_optimizer", "sgd", "adam") for name in ("iteration", "learning_rate")}
    expected |= {f"o/sgd/a/{name}/momentum" for name in ("kernel", "bias")}
    expected |= {f"o/adam/b/{name}/{slot}" for name in ("kernel", "bias") for slot in ("momentum", "velocity")}
    assert {name for name in named if name.startswith("o/")} == expected
    assert not by_order


def test_slots_find_their_variables_where_keras_gives_two_the_same_path():
    def part(name):
        inputs = keras.Input((2,))
        return keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="a")(inputs), name=name)

    left, right = part("left"), part("right")
    assert left.variables[0].path == right.variables[0].path == "a/kernel"
    net, optimizer = keras.Sequential([keras.Input((2,)), left, right]), keras.optimizers.SGD(0.1, momentum=0.5)
    optimizer.build(net.trainable_variables)
    optimizer.apply([tf.fill((2, 2), 1.0), tf.fill((2, 2), 2.0)])
    named, by_order = named_arrays({"net": net}, {"o": (optimizer, net)})
    assert not by_order
    np.testing.assert_allclose(named["o/left/a/kernel/momentum"], -0.1)
    np.testing.assert_allclose(named["o/right/a/kernel/momentum"], -0.2)


def test_two_arrays_with_one_name_are_refused_by_that_name():
    class Siblings(keras.layers.Layer):
        def build(self, shape):
            self.parts = [keras.layers.Dense(3, name="part"), keras.layers.Dense(3, name="part")]
            for part in self.parts:
                part.build(shape)

    layer = Siblings()
    layer.build((None, 3))
    with pytest.raises(ValueError, match="must have a name of its own: .* Received twice: s/part/kernel, s/part/bias"):
        named_arrays({"s": layer}, {})
