import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as kgan does: Keras, which imports TensorFlow, comes before it here
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several, and so are the processes it starts
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")

import keras
import numpy as np
import psutil
import pytest

from kgan.audio.files import write_wav
from kgan.cli import main
from kgan.data.sounds import Sounds, to_int16
from kgan.gans import WGANGP
from kgan.labels import Labels
from kgan.networks import vector_critic, vector_generator, wave_critic, wave_generator
from kgan.representations import Harmonic, Wave
from kgan.synthesizer import GANSynthesizer

LENGTH, DIM, LATENT_DIM = 1024, 4, 8
MOST_BYTES = 4 * 2**30


@pytest.fixture(scope="module", autouse=True)
def garbage_is_left():
    """Searches among all that TensorFlow traced cost an eighth of the time: garbage is collected where memory runs short."""
    gc.disable()
    yield
    if psutil.Process().memory_info().rss > MOST_BYTES:
        gc.collect()


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def tiny_sounds():
    """Forty decaying sines of 1,024 samples, told apart by their label."""
    time_s = np.arange(LENGTH) / 16000
    numbers = np.arange(40, dtype=np.int32)
    audio = np.exp(-20 * time_s) * np.sin(2 * np.pi * (100 + 25 * numbers[:, None]) * time_s)
    return Sounds(to_int16(audio), 16000, [str(i) for i in numbers], labels={"number": numbers})


@pytest.fixture
def make_gan():
    """Return a function that builds a small compiled GAN, always from the same initial weights."""

    def make(gan_class=WGANGP, optimizer=None, dtype="float32", phase_shuffle=0, length=LENGTH, **options):
        keras.utils.set_random_seed(1)
        previous = keras.config.dtype_policy()
        keras.config.set_dtype_policy(dtype)
        try:
            generator = wave_generator(length, dim=DIM, latent_dim=LATENT_DIM)
            critic = wave_critic(length, dim=DIM, phase_shuffle=phase_shuffle)
            gan = gan_class(generator, critic, **options)
        finally:
            keras.config.set_dtype_policy(previous)
        optimizer = optimizer or (lambda: keras.optimizers.Adam(1e-3, 0.5, 0.9))
        gan.compile(optimizer(), optimizer())
        return gan

    return make


@pytest.fixture(scope="session")
def conditional():
    """A synthesizer of 64 samples that is asked for a pitch and a family, and its generator."""
    keras.utils.set_random_seed(1)
    columns = {"pitch": [60, 62, 60, 64], "family": [2, 2, 0, 0]}
    labels = Labels(columns, [1, 3, 2, 1], {"family": ["bass", "brass", "flute"]})
    generator = wave_generator(64, dim=4, latent_dim=LATENT_DIM, label_width=labels.width)
    gan = WGANGP(generator, wave_critic(64, dim=2, label_width=labels.width), labels=labels)
    return GANSynthesizer(gan, Wave(64), 16000), generator


@pytest.fixture(scope="session")
def playing():
    """A synthesizer that plays notes, which hold steady; latents and families change the levels of their ten partials."""
    keras.utils.set_random_seed(1)
    harmonic = Harmonic(8192, components=4)
    mean, over_levels = np.full(harmonic.levels_shape, -20.0), np.zeros(harmonic.level_shapes.shape)
    mean[:, :10], over_levels[:10, :10] = -2 - np.log(np.arange(1, 11)), np.eye(10)
    harmonic.mean.assign(mean)
    harmonic.time_shapes.assign(0.3 * np.eye(1, harmonic.time_shapes.shape[1]).repeat(len(mean), axis=0))
    harmonic.level_shapes.assign(over_levels)
    harmonic.component_of.assign(np.arange(harmonic.component_of.shape[0]) % 4)
    columns = {"pitch": [60, 62, 60, 64], "family": [1, 1, 0, 0]}
    labels = Labels(columns, names={"family": ["bass", "flute"]})
    generator = vector_generator(4, dim=8, latent_dim=LATENT_DIM, label_width=labels.width)
    gan = WGANGP(generator, vector_critic(4, dim=8, label_width=labels.width), labels=labels)
    return GANSynthesizer(gan, harmonic, 16000)


@pytest.fixture(scope="session")
def notes_cache(tmp_path_factory):
    """The built-in notes rendered once for all tests, half a minute on two cores; all processes of a run share them."""
    root = tmp_path_factory.getbasetemp()
    folder = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "notes"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(notes_cache):
    """Nothing is read from or left in the user's own cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KGAN_CACHE", str(notes_cache))
        yield


@pytest.fixture
def weights_of():
    """Return a function that lists all that a GAN saves: networks, running average, step and both optimizers."""

    def list_weights(gan):
        optimizers = [gan.generator_optimizer, gan.critic_optimizer]
        return [v.numpy() for v in (*gan.weights, *(v for o in optimizers for v in o.variables))]

    return list_weights


@pytest.fixture(scope="session")
def sound_folder(tmp_path_factory):
    """Forty WAV files of 1,024 samples, for runs that take seconds."""
    folder = tmp_path_factory.mktemp("sounds")
    rng = np.random.default_rng(0)
    time_s = np.arange(LENGTH) / 16000
    for i in range(40):
        write_wav(folder / f"{i:02d}.wav", np.sin(2 * np.pi * (200 + 50 * i) * time_s + rng.uniform(0, 6)), 16000)
    return folder


@pytest.fixture(scope="session")
def tiny_run_options(sound_folder):
    """Arguments of `kgan train` for a run of a few seconds."""
    return [
        "--data", str(sound_folder), "--data.length_samples", str(LENGTH), "--network.dim", str(DIM),
        "--network.latent_dim", str(LATENT_DIM), "--gan.n_critic", "2", "--training.batch_size", "4", "--precision", "float32",
        "--training.log_steps", "2", "--training.preview_steps", "3", "--training.preview_count", "2",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, tiny_run_options):
    """The folder of a run of six iterations."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    assert main(["train", "--run", str(run), "--steps", "6", *tiny_run_options]) == 0
    return run
