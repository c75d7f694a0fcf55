"""From a configuration to the objects that it names. The only place that turns names into classes."""

import inspect
import pkgutil

import keras
from tqdm import tqdm

from kgan.config import DATA_SETS, MODELS, REPRESENTATIONS
from kgan.data.folder import load_folder
from kgan.errors import InputError
from kgan.gans.adversarial import AdversarialModel
from kgan.networks.wave import wave_critic, wave_generator, wave_strides


def build_representation(config):
    """Return the representation, a Keras layer."""
    return pkgutil.resolve_name(REPRESENTATIONS[config.repr])(dtype="float32")


def load_sounds(config, split="train"):
    """Return the `Sounds` to train on, and say which files were skipped.

    Raises:
        InputError: there are none.
    """
    data = config.data
    wave_strides(data.length_samples)  # tells of an impossible length before minutes are spent on loading
    clip = {"length_samples": data.length_samples, "sample_rate_hz": data.sample_rate_hz, "channels": data.channels}
    if data.source in DATA_SETS:
        return pkgutil.resolve_name(DATA_SETS[data.source])(split, **clip)
    sounds = load_folder(data.source, **clip)
    if sounds.skipped:
        tqdm.write(f"Skipped {len(sounds.skipped)} files of {data.source}:")
        for name, reason in sounds.skipped.items():
            tqdm.write(f"  {name} {reason}")
    return sounds


def build_gan(config):
    """Return the GAN, compiled, with initial weights that depend on the configuration alone.

    Raises:
        InputError: the configuration sets an option that the model does not have, or an impossible clip length.
    """
    network, data = config.network, config.data
    gan_class = pkgutil.resolve_name(MODELS[config.model])
    bases = [base for base in gan_class.__mro__ if issubclass(base, AdversarialModel)]
    known = {name for base in bases for name in inspect.signature(base).parameters}
    options = config.gan.model_dump()
    for name, value in options.items():
        if value is not None and name not in known:
            raise InputError(f"The model {config.model} has no option `gan.{name}`. Received: {value}.")
        if value is None and name in known and name != "ema_decay":
            raise InputError(f"The model {config.model} needs `gan.{name}`. Received: null.")
    options = {name: value for name, value in options.items() if name in known}
    if network.phase_shuffle >= 16:
        raise InputError(
            "`network.phase_shuffle` must be below 16, the length of the critic's last layers."
            f" Received: {network.phase_shuffle}."
        )
    shape = {
        "length_samples": data.length_samples,
        "channels": data.channels,
        "dim": network.dim,
        "kernel_size": network.kernel_size,
        "weight_stddev": network.weight_stddev,
    }
    keras.utils.set_random_seed(config.seed)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.training.precision)
    try:
        generator = wave_generator(**shape, latent_dim=network.latent_dim, activation=network.generator_activation)
        critic = wave_critic(
            **shape,
            phase_shuffle=network.phase_shuffle,
            phase_shuffle_per=network.phase_shuffle_per,
            seed=config.seed,
        )
        gan = gan_class(generator, critic, **options, seed=config.seed)
    finally:
        keras.config.set_dtype_policy(previous_policy)
    gan.compile(build_optimizer(config.optimizer), build_optimizer(config.optimizer))
    return gan


def build_optimizer(optimizer):
    """Return a new Keras optimizer."""
    if optimizer.name == "rmsprop":
        return keras.optimizers.RMSprop(optimizer.learning_rate)
    return keras.optimizers.Adam(optimizer.learning_rate, optimizer.beta_1, optimizer.beta_2)
