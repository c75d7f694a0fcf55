"""What training goes on from: saved whole, loaded whole and by name."""

import json
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from kgan.callbacks import Checkpoint
from kgan.cli import main
from kgan.errors import InputError
from kgan.files import whole_folder
from kgan.gans import DCGAN, R1GAN, WGANGP
from kgan.labels import Labels
from kgan.networks import wave_critic, wave_generator
from kgan.representations import Representation

LENGTH, LATENT_DIM = 64, 4
LABELS = Labels({"pitch": [60, 61, 62, 60]})


def test_checkpoint_restores_everything(make_gan, fit, tmp_path, weights_of):
    gan = make_gan(DCGAN, ema_decay=0.9)
    fit(gan, 3, [Checkpoint(tmp_path / "checkpoints")])
    state = json.loads((tmp_path / "checkpoints/step_00000003/state.json").read_text())
    assert state["step"] == 3
    assert state["training_s"] > 0
    fresh, checkpoint = make_gan(DCGAN, ema_decay=0.9), Checkpoint(tmp_path / "checkpoints")
    assert checkpoint.restore(fresh) == 3
    assert checkpoint.training_s == state["training_s"]
    assert checkpoint.training_cpu_s == state["training_cpu_s"] > 0
    for mine, expected in zip(weights_of(fresh), weights_of(gan), strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_checkpoint_keeps_the_newest(make_gan, fit, tmp_path):
    fit(make_gan(DCGAN), 5, [Checkpoint(tmp_path, every_minutes=1e-9, keep=2)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000004", "step_00000005"]


def test_checkpoint_falls_back_to_the_one_before(make_gan, fit, tmp_path, capsys):
    fit(make_gan(DCGAN), 3, [Checkpoint(tmp_path, every_minutes=1e-9)])
    broken = tmp_path / "step_00000003" / "weights.npz"
    broken.write_bytes(broken.read_bytes()[:1000])
    gan = make_gan(DCGAN)
    assert Checkpoint(tmp_path).restore(gan) == 2
    assert int(gan.step) == 2
    assert "step_00000003 cannot be read; trying the one before" in capsys.readouterr().out
    broken.write_bytes(b"")
    copy = tmp_path / "step_00000002_good"
    shutil.copytree(tmp_path / "step_00000002", copy)
    again = Checkpoint(tmp_path, keep=2)
    assert again.restore(gan) == 2
    fit(gan, 1, [again])  # reaches step 3 again, and replaces what could not be read
    names = ["step_00000002", "step_00000002_good", "step_00000003", "unreadable_step_00000003"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert Checkpoint(tmp_path).restore(make_gan(DCGAN)) == 3
    broken.write_bytes(b"")
    (tmp_path / "step_00000002" / "state.json").unlink()
    with pytest.raises(OSError, match=r"No checkpoint can be read: .*step_00000003.*step_00000002"):
        Checkpoint(tmp_path).restore(gan)
    assert Checkpoint(tmp_path / "none").restore(gan) == 0


def test_a_full_disk_loses_no_checkpoint(make_gan, fit, tmp_path):
    """A limit on the size of files stands for the disk: the system refuses the write."""
    resource = pytest.importorskip("resource")
    gan = make_gan(DCGAN)
    fit(gan, 1, [Checkpoint(tmp_path)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError):
            fit(gan, 1, [Checkpoint(tmp_path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]
    assert Checkpoint(tmp_path).restore(make_gan(DCGAN)) == 1


def test_reading_a_checkpoint_leaves_a_writer_alone(make_gan, fit, tmp_path):
    """Listening to a run while it trains must not touch what it is writing."""
    fit(make_gan(DCGAN), 1, [Checkpoint(tmp_path)])
    with whole_folder(tmp_path / "step_00000002") as scratch:
        Checkpoint(tmp_path).restore(make_gan(DCGAN))
        assert scratch.exists()


# Going on to the bit


def train(gan, steps, folder=None):
    """Train on the same four waves in every critic step and return the GAN; leave a checkpoint in a folder."""
    waves = np.random.default_rng(0).uniform(-1, 1, (4 * gan.n_critic, *gan.critic.input_shape[1:])).astype(np.float32)
    element = {"x": waves, "pitch": np.tile([60, 61, 62, 60], gan.n_critic).astype(np.int32)} if gan.labels.kinds else waves
    callbacks = [Checkpoint(folder)] if folder else []
    gan.fit(tf.data.Dataset.from_tensors(element).repeat(), steps_per_epoch=steps, verbose=0, callbacks=callbacks)
    return gan


def of_waves(gan_class=DCGAN, optimizer=lambda: keras.optimizers.Adam(1e-3), dtype="float32", width=0, **options):
    """Return a function that builds a GAN over 64 samples, always with the same initial weights."""

    def build():
        keras.utils.set_random_seed(1)
        previous = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype)
        try:
            generator = wave_generator(LENGTH, dim=2, latent_dim=LATENT_DIM, label_width=width)
            gan = gan_class(generator, wave_critic(LENGTH, dim=2, phase_shuffle=1, label_width=width), **options)
        finally:
            keras.config.set_dtype_policy(previous)
        gan.compile(optimizer(), optimizer(), run_eagerly=True)
        return gan

    return build


def of_layers(generator_layers, critic_layers=lambda: [keras.layers.Flatten()], optimizer=lambda: keras.optimizers.Adam(1e-2)):
    """Return a function that builds a GAN of four latents, eight samples and given layers between."""

    def build():
        keras.utils.set_random_seed(1)
        generator = keras.Sequential([keras.Input((LATENT_DIM,)), *generator_layers(), keras.layers.Dense(8, name="end")])
        generator.add(keras.layers.Reshape((8, 1)))
        critic = keras.Sequential([keras.Input((8, 1)), *critic_layers(), keras.layers.Dense(1, name="score")])
        gan = DCGAN(generator, critic, ema_decay=0.9)
        gan.compile(optimizer(), optimizer(), run_eagerly=True)
        return gan

    return build


def dense(*names):
    return lambda: [keras.layers.Dense(LATENT_DIM, name=name) for name in names]


class Accumulating(keras.optimizers.Optimizer):
    """An optimizer of a user's own, with slots of its own and a count."""

    def build(self, variables):
        super().build(variables)
        self.sums = self.add_optimizer_variables(variables, "sum")
        self.count = self.add_variable(())

    def update_step(self, gradient, variable, learning_rate):
        sum_so_far = self.sums[self._get_variable_index(variable)]
        self.assign_add(sum_so_far, gradient)
        self.assign_add(self.count, 1.0)
        self.assign_sub(variable, learning_rate * sum_so_far / self.count)


def scaled():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-3), initial_scale=64.0, dynamic_growth_steps=2)


def nested():
    """Return layers with layers in them, and a random one."""
    layers = keras.layers
    inner = [keras.Input((LATENT_DIM,)), layers.Dense(LATENT_DIM), keras.Sequential([layers.Dense(LATENT_DIM)])]
    return [
        keras.Sequential(inner),
        keras.Sequential([layers.Dense(LATENT_DIM), layers.Dropout(0.5)]),
        layers.BatchNormalization(),
    ]


def recurrent():
    layers = keras.layers
    cells = layers.Bidirectional(layers.GRU(2, return_sequences=True))
    return [cells, layers.Flatten(), layers.SpectralNormalization(layers.Dense(4)), layers.Dropout(0.5)]


GANS = {
    "dcgan": of_waves(ema_decay=0.9),
    "wgan_gp": of_waves(WGANGP, n_critic=2, ema_decay=0.9),
    "float16": of_waves(WGANGP, scaled, "mixed_float16", n_critic=2, ema_decay=0.9),
    "auxiliary": of_waves(WGANGP, width=3, n_critic=2, ema_decay=0.9, labels=LABELS, conditioning="auxiliary"),
    "projection": of_waves(R1GAN, width=3, ema_decay=0.9, labels=LABELS, conditioning="projection", r1_interval=2),
    "rmsprop": of_waves(optimizer=lambda: keras.optimizers.RMSprop(1e-3, momentum=0.5, centered=True)),
    "sgd": of_waves(optimizer=lambda: keras.optimizers.SGD(1e-2, momentum=0.9, nesterov=True)),
    "averaged": of_waves(optimizer=lambda: keras.optimizers.AdamW(1e-3, amsgrad=True, use_ema=True, ema_overwrite_frequency=2)),
    "nadam": of_waves(optimizer=lambda: keras.optimizers.Nadam(1e-3)),
    "adafactor": of_waves(optimizer=lambda: keras.optimizers.Adafactor(1e-3)),
    "user's": of_waves(optimizer=lambda: Accumulating(1e-2)),
    "nested": of_layers(nested, recurrent),
}


@pytest.mark.parametrize("name", GANS)
def test_three_iterations_and_three_after_a_restore_are_six(name, tmp_path, weights_of):
    six = train(GANS[name](), 6)
    three = train(GANS[name](), 3, tmp_path)
    halfway = weights_of(three)
    other = GANS[name]()
    assert any(np.any(mine != saved) for mine, saved in zip(weights_of(other), halfway, strict=True))
    assert Checkpoint(tmp_path).restore(other) == 3
    for mine, saved in zip(weights_of(other), halfway, strict=True):
        np.testing.assert_array_equal(mine, saved)
    for mine, expected in zip(weights_of(train(other, 3)), weights_of(six), strict=True):
        np.testing.assert_array_equal(mine, expected)
    if name == "float16":  # the scale has grown, so that a fresh one would be another
        assert float(other.critic_optimizer.dynamic_scale) > 64.0


def test_networks_of_bfloat16_weights_are_restored(tmp_path, weights_of):
    gan, other = of_waves(dtype="bfloat16")(), of_waves(dtype="bfloat16")()
    for variable in (*gan.generator.weights, *gan.generator_optimizer.variables):
        variable.assign(variable + 1)
    checkpoint = Checkpoint(tmp_path)
    checkpoint.set_model(gan)
    checkpoint.save()
    assert other.generator.weights[0].dtype == "bfloat16"
    Checkpoint(tmp_path).restore(other)
    for mine, saved in zip(weights_of(other), weights_of(gan), strict=True):
        np.testing.assert_array_equal(mine, saved)


# By name


def slots(gan, layer):
    """Return what the generator's optimizer keeps for a layer's kernel."""
    name = gan.generator.get_layer(layer).kernel.path.replace("/", "_")
    return [variable.numpy() for variable in gan.generator_optimizer.variables if variable.name.startswith(f"{name}_")]


def test_named_layers_that_changed_places_are_loaded_by_name(tmp_path):
    gan = train(of_layers(dense("a", "b"))(), 2, tmp_path)
    other = of_layers(dense("b", "a"))()
    assert Checkpoint(tmp_path).restore(other) == 2
    assert np.any(gan.generator.get_layer("a").kernel != gan.generator.get_layer("b").kernel)
    for layer in ("a", "b", "end"):
        for network in ("generator", "ema_generator"):
            mine, saved = (getattr(each, network).get_layer(layer).kernel for each in (other, gan))
            np.testing.assert_array_equal(mine, saved)
        assert len(slots(gan, layer)) == 2
        np.testing.assert_array_equal(slots(other, layer), slots(gan, layer))


def test_named_layers_that_changed_places_are_refused_where_the_optimizer_numbers_its_arrays(tmp_path):
    def adafactor():
        return keras.optimizers.Adafactor(1e-2)

    train(of_layers(dense("a", "b"), optimizer=adafactor)(), 2, tmp_path)
    with pytest.raises(InputError, match="generator/a/kernel has another place, and by their places alone the optimizer"):
        Checkpoint(tmp_path).restore(of_layers(dense("b", "a"), optimizer=adafactor)())


class Other(keras.layers.Dense):
    """A layer of other name whose weights are those of `Dense`."""


def two_layers(first=keras.layers.Dense, second=Other, width=LATENT_DIM):
    return lambda: [first(width), second(LATENT_DIM)]


MISFITS = {
    "layers without a name change places": (
        of_layers(two_layers(Other, keras.layers.Dense)),
        r"it lacks generator/other/kernel \(first of 16\); it holds generator/dense/kernel \(first of 16\), which the network",
    ),
    "another width": (
        of_layers(two_layers(width=5)),
        r"step_00000001: generator/dense/kernel \(first of 12\) is \(4, 4\) float32, not \(4, 5\) float32.$",
    ),
    "a layer more": (
        of_layers(lambda: [*two_layers()(), keras.layers.Dense(LATENT_DIM)]),
        r"step_00000001: it lacks generator/dense_2/kernel \(first of 8\).$",
    ),
    "a layer less": (
        of_layers(lambda: [keras.layers.Dense(LATENT_DIM)]),
        r"step_00000001: it holds generator/other_1/kernel \(first of 8\), which the network lacks.$",
    ),
    "another optimizer": (
        of_layers(two_layers(), optimizer=lambda: keras.optimizers.RMSprop(1e-2)),
        r"it holds generator_optimizer/dense/kernel/momentum \(first of 8\), which the network lacks.$",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_checkpoint_that_does_not_fit_is_refused_and_nothing_assigned(name, tmp_path, weights_of, capsys):
    build, difference = MISFITS[name]
    train(of_layers(two_layers())(), 1, tmp_path)
    gan = build()
    before = weights_of(gan)
    with pytest.raises(InputError, match=f"must hold the arrays of this network, by name, shape and type. .*{difference}"):
        Checkpoint(tmp_path).restore(gan)
    for mine, untouched in zip(weights_of(gan), before, strict=True):
        np.testing.assert_array_equal(mine, untouched)
    assert capsys.readouterr().out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def rewritten(folder, change):
    """Replace the arrays of a checkpoint by what a function makes of them."""
    with np.load(folder / "weights.npz") as saved:
        arrays = {name: saved[name] for name in saved.files}
    np.savez(folder / "weights.npz", **change(arrays))


def test_another_type_is_refused_and_a_damaged_array_is_not_half_loaded(tmp_path, weights_of):
    train(of_waves()(), 1, tmp_path)
    last = "critic_optimizer/dense_1/bias/velocity"
    rewritten(tmp_path / "step_00000001", lambda arrays: arrays | {last: arrays[last].astype(np.float16)})
    gan = of_waves()()
    before = weights_of(gan)
    with pytest.raises(InputError, match=rf"{last} is \(1,\) float16, not \(1,\) float32.$"):
        Checkpoint(tmp_path).restore(gan)
    rewritten(tmp_path / "step_00000001", lambda arrays: arrays | {last: arrays[last].astype(np.float32)})
    file = tmp_path / "step_00000001" / "weights.npz"
    content = bytearray(file.read_bytes())
    place = content.rindex(b"\x93NUMPY")  # of the last array
    content[place + 128] ^= 1
    file.write_bytes(content)
    with pytest.raises(OSError, match="No checkpoint can be read: .*Bad CRC-32"):
        Checkpoint(tmp_path).restore(gan)
    for mine, untouched in zip(weights_of(gan), before, strict=True):
        np.testing.assert_array_equal(mine, untouched)


def test_arrays_that_share_a_name_are_refused_before_training(tmp_path):
    class Siblings(keras.layers.Layer):
        def __init__(self, **options):
            super().__init__(**options)
            self.parts = [keras.layers.Dense(LATENT_DIM, name="part"), keras.layers.Dense(LATENT_DIM, name="part")]

        def call(self, inputs):
            return self.parts[1](self.parts[0](inputs))

    gan = of_layers(lambda: [Siblings()])()
    twice = "Received twice: generator/siblings/part/kernel, generator/siblings/part/bias"
    with pytest.raises(ValueError, match=twice):
        train(gan, 1, tmp_path)
    assert gan.steps_done == 0
    with pytest.raises(ValueError, match=twice):
        Checkpoint(tmp_path).restore(gan)


def test_the_statistics_of_a_representation_go_by_name(tmp_path):
    class Levels(Representation):
        def __init__(self, level):
            super().__init__()
            self.low = self.add_weight(name="low", shape=(), initializer=keras.initializers.Constant(level))
            self.high = self.add_weight(name="high", shape=(), initializer=keras.initializers.Constant(2 * level))

    gan, levels = of_waves()(), Levels(0.0)
    checkpoint = Checkpoint(tmp_path, representation=Levels(3.0))
    checkpoint.set_model(gan)
    gan.step.assign(1)
    checkpoint.save()
    with np.load(tmp_path / "step_00000001" / "weights.npz") as saved:
        assert (saved["representation/low"], saved["representation/high"], saved["gan/step"]) == (3.0, 6.0, 1)
    assert Checkpoint(tmp_path, representation=levels).restore(of_waves()()) == 1
    assert (float(levels.low), float(levels.high)) == (3.0, 6.0)
    with pytest.raises(InputError, match=r"it holds representation/low \(first of 2\), which the network lacks"):
        Checkpoint(tmp_path).restore(of_waves()())


# Of other versions


def made_old(folder):
    """Make of a checkpoint one of the kind before names: arrays by their numbers, and a state without a format."""
    state = json.loads((folder / "state.json").read_text())
    assert state.pop("format") == 2
    (folder / "state.json").write_text(json.dumps(state))
    rewritten(folder, lambda arrays: {f"gan.{i}": array for i, array in enumerate(arrays.values())})


@pytest.mark.parametrize("readable", ["older", "newer"])
def test_another_version_s_checkpoint_is_refused_and_left_alone(readable, tmp_path, weights_of, capsys):
    gan = train(of_waves()(), 1, tmp_path)
    train(gan, 1, tmp_path)
    latest = tmp_path / "step_00000002"
    if readable == "older":
        made_old(latest)
    else:
        (latest / "state.json").write_text((latest / "state.json").read_text().replace('"format": 2', '"format": 3'))
    files = {file: file.read_bytes() for file in tmp_path.rglob("*.*")}
    fresh = of_waves()()
    before = weights_of(fresh)
    with pytest.raises(InputError) as caught:
        Checkpoint(tmp_path).restore(fresh)
    assert str(caught.value) == (
        "A checkpoint must name its arrays by path, as this version of kgan writes it."
        f" Received: {latest}, of {'an older' if readable == 'older' else 'a newer'} version."
        " Train the run anew, or use the kgan that wrote it."
    )
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.*")} == files
    assert capsys.readouterr().out == ""
    for mine, untouched in zip(weights_of(fresh), before, strict=True):
        np.testing.assert_array_equal(mine, untouched)


def test_the_command_line_refuses_an_older_version_s_run_in_one_line(finished_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    latest = max((run / "checkpoints").iterdir())
    made_old(latest)
    files = {file: file.read_bytes() for file in run.rglob("*.*") if file.is_file()}
    for command in (["train", "--run", str(run), "--steps", "8"], ["generate", str(run), "--out", str(tmp_path / "sounds")]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert f"must name its arrays by path, as this version of kgan writes it. Received: {latest}, of an older" in line
    assert {file: file.read_bytes() for file in run.rglob("*.*") if file.is_file()} == files
    assert not (tmp_path / "sounds").exists()


def test_the_command_line_refuses_a_checkpoint_of_another_network_in_one_line(finished_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    latest = max((run / "checkpoints").iterdir())
    rewritten(latest, lambda arrays: {name: array for name, array in arrays.items() if name != "critic/dense_3/bias"})
    for command in (["train", "--run", str(run), "--steps", "8"], ["generate", str(run), "--out", str(tmp_path / "sounds")]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert f"by name, shape and type. Received: {latest}: it lacks critic/dense_3/bias." in line
    assert latest.is_dir()
