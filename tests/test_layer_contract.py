"""What Keras asks of a layer, of every layer of these packages: a registered name, a configuration, and a file."""

import importlib
import inspect
import json
import pkgutil

import keras
import numpy as np
import pytest
import tensorflow as tf

import kgan
from kgan.evaluation.log_mel import LogMel
from kgan.networks import FoldedConv1DTranspose, PhaseShuffle, StridedConv1D, StridedConv1DTranspose
from kgan.networks.layers import Conv2DTranspose, LeakyReLU, MinibatchStddev, PixelNorm
from kgan.representations import Harmonic, LogSpec, MelIF, Representation, Spec, Spectrogram, Wave

PACKAGES = ("audio", "data", "evaluation", "gans", "networks", "representations")
BASES = {Representation, Spectrogram}  # computes nothing alone
ELSEWHERE = {Harmonic}  # encodes outside of a graph, and takes a pitch, too: see its own tests
SAMPLES = 4096


def defined(base):
    """Return the classes under `base` that the modules of the packages define."""
    found = set()
    for package in PACKAGES:
        for module in pkgutil.walk_packages(importlib.import_module(f"kgan.{package}").__path__, f"kgan.{package}."):
            values = vars(importlib.import_module(module.name)).values()
            found |= {value for value in values if isinstance(value, type) and value.__module__ == module.name}
    return {each for each in found if issubclass(each, base)}


LAYERS = {each for each in defined(keras.layers.Layer) if not issubclass(each, keras.Model)}


def adapted(representation):
    rng = np.random.default_rng(0)
    representation.adapt([rng.uniform(-1, 1, (4, SAMPLES, representation.channels)[: 1 + representation.channels])])
    return representation


def folded():
    layer = StridedConv1DTranspose(3, 25, 4, activation="tanh", bias_initializer="random_normal", name="last")
    layer.build((None, 8, 6))
    return FoldedConv1DTranspose(layer)


EXAMPLES = {  # a layer whose arguments are not the usual ones, and the shape of an example
    Conv2DTranspose: (lambda: Conv2DTranspose(3, 5, 2, "valid", activation="tanh", use_bias=False), (8, 4, 6)),
    FoldedConv1DTranspose: (folded, (8, 6)),
    LeakyReLU: (lambda: LeakyReLU(negative_slope=0.4), (8, 6)),
    LogSpec: (lambda: adapted(LogSpec(SAMPLES, 2, griffin_lim_iterations=5)), (SAMPLES, 2)),
    LogMel: (lambda: LogMel(8000, 256, hop_samples=64, bins=40, high_hz=3000.0), (1024,)),
    MelIF: (lambda: adapted(MelIF(SAMPLES, 1, 512, 128, sample_rate_hz=8000)), (SAMPLES,)),
    MinibatchStddev: (lambda: MinibatchStddev(group_size=2), (8, 6)),
    PhaseShuffle: (lambda: PhaseShuffle(3, per="batch", seed=5), (32, 6)),
    PixelNorm: (PixelNorm, (8, 6)),
    Spec: (lambda: Spec(SAMPLES, hop_samples=64, companding="raw"), (SAMPLES,)),
    StridedConv1D: (lambda: StridedConv1D(3, 25, 4, activation="tanh", use_bias=False), (16, 6)),
    StridedConv1DTranspose: (lambda: StridedConv1DTranspose(3, 9, 2, kernel_regularizer="l2"), (8, 6)),
    Wave: (lambda: Wave(SAMPLES, 2), (SAMPLES, 2)),
}


@pytest.fixture(params=["float32", "mixed_bfloat16"])
def policy(request):
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(previous)


def example_of(layer_class, rng):
    make, shape = EXAMPLES[layer_class]
    return make(), tf.constant(rng.uniform(-1, 1, (4, *shape)), tf.float32)


def by_name(classes):
    return sorted(classes, key=lambda each: each.__name__)


def test_each_layer_has_an_example():
    assert set(EXAMPLES) == LAYERS - BASES - ELSEWHERE


@pytest.mark.parametrize("layer_class", by_name(LAYERS | {kgan.DCGAN, kgan.WGAN, kgan.WGANGP, kgan.R1GAN}))
def test_its_name_is_registered(layer_class):
    name = f"kgan>{layer_class.__name__}"
    assert keras.saving.get_registered_name(layer_class) == name
    assert keras.saving.get_registered_object(name) is layer_class


@pytest.mark.parametrize("layer_class", by_name(EXAMPLES))
def test_rebuilt_from_its_configuration_it_computes_the_same(layer_class, policy, rng):
    layer, x = example_of(layer_class, rng)
    layer(x)
    rebuilt = keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(layer))))
    assert rebuilt.get_config() == layer.get_config()
    rebuilt(x) if layer_class not in (LogSpec, MelIF) else None  # which compute nothing before they have their statistics
    rebuilt.set_weights(layer.get_weights())
    for options in ({}, {"training": True}) if "training" in inspect.signature(layer.call).parameters else ({},):
        expected, received = layer(x, **options), rebuilt(x, **options)
        assert received.dtype == expected.dtype
        np.testing.assert_array_equal(tf.cast(received, "float32"), tf.cast(expected, "float32"))


@pytest.mark.parametrize("layer_class", by_name(EXAMPLES))
def test_in_a_model_that_is_saved_and_loaded_it_computes_the_same(layer_class, policy, rng, tmp_path):
    layer, x = example_of(layer_class, rng)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, layer(inputs))
    expected = model(x)
    assert model.output.shape[1:] == expected.shape[1:]
    assert model.output.dtype == expected.dtype
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.layers[-1]) is layer_class
    assert [weight.path for weight in loaded.weights] == [weight.path for weight in model.weights]
    np.testing.assert_array_equal(tf.cast(loaded(x), "float32"), tf.cast(expected, "float32"))
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
