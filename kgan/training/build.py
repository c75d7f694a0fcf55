"""From a configuration to the objects that it names. The only place that turns names into classes."""

import inspect
import pkgutil

import keras
from tqdm import tqdm

from kgan.config import DATA_SETS, MODELS, REPRESENTATIONS
from kgan.data.folder import load_folder
from kgan.errors import InputError
from kgan.gans.adversarial import AdversarialModel
from kgan.networks.spectrogram import spectrogram_critic, spectrogram_generator
from kgan.networks.wave import wave_critic, wave_generator
from kgan.representations.representation import Representation

ADAPT_BATCH_SIZE = 320


def build_representation(config):
    """Return the representation, a Keras layer without statistics as yet.

    Raises:
        InputError: an option that it does not have is set, or its sizes do not fit the clip.
    """
    representation_class = pkgutil.resolve_name(REPRESENTATIONS[config.repr])
    options = _options_of(representation_class, Representation, config.representation, "representation", config.repr)
    clip = {"length_samples": config.data.length_samples, "channels": config.data.channels}
    if "sample_rate_hz" in _parameters(representation_class, Representation):
        clip["sample_rate_hz"] = config.data.sample_rate_hz
    return representation_class(**clip, **options)


def load_sounds(config, split="train"):
    """Return the `Sounds` to train on, and say which files were skipped.

    Raises:
        InputError: there are none.
    """
    data = config.data
    clip = {"length_samples": data.length_samples, "sample_rate_hz": data.sample_rate_hz, "channels": data.channels}
    if data.source in DATA_SETS:
        return pkgutil.resolve_name(DATA_SETS[data.source])(split, **clip)
    sounds = load_folder(data.source, **clip)
    if sounds.skipped:
        tqdm.write(f"Skipped {len(sounds.skipped)} files of {data.source}:")
        for name, reason in sounds.skipped.items():
            tqdm.write(f"  {name} {reason}")
    return sounds


def adapt(representation, sounds):
    """Let the representation learn the statistics of all sounds, with a progress bar if it needs any."""
    starts = range(0, len(sounds), ADAPT_BATCH_SIZE)

    def batches():
        for start in tqdm(starts, f"Measuring the sounds for {type(representation).__name__}", unit="batch", leave=False):
            yield sounds.waveforms(slice(start, start + ADAPT_BATCH_SIZE))

    representation.adapt(batches())


def build_gan(config, example_shape):
    """Return the GAN, compiled, with initial weights that depend on the configuration alone.

    Args:
        config: the `Config`.
        example_shape: shape of an example, the representation's; two axes are a wave, three a picture.

    Raises:
        InputError: the configuration sets an option that the model does not have, or an impossible clip length.
    """
    gan_class = pkgutil.resolve_name(MODELS[config.model])
    options = _options_of(gan_class, AdversarialModel, config.gan, "gan", config.model, optional={"ema_decay"})
    keras.utils.set_random_seed(config.seed)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.training.precision)
    try:
        gan = gan_class(*_networks(config, example_shape), **options, seed=config.seed)
    finally:
        keras.config.set_dtype_policy(previous_policy)
    gan.compile(build_optimizer(config.optimizer), build_optimizer(config.optimizer))
    return gan


def _networks(config, example_shape):
    """Return generator and critic for waves `(samples, channels)` or pictures `(frames, bins, channels)`."""
    network = config.network
    shared = {"dim": network.dim, "kernel_size": network.kernel_size, "weight_stddev": network.weight_stddev}
    of_generator = {"latent_dim": network.latent_dim, "activation": network.generator_activation}
    if len(example_shape) == 3:
        if network.phase_shuffle:
            raise InputError(f"`network.phase_shuffle` is for waves; {config.repr} needs 0. Received: {network.phase_shuffle}.")
        shared["shape"] = example_shape
        return spectrogram_generator(**shared, **of_generator), spectrogram_critic(**shared)
    if network.phase_shuffle >= 16:
        raise InputError(
            "`network.phase_shuffle` must be below 16, the length of the critic's last layers."
            f" Received: {network.phase_shuffle}."
        )
    shared |= dict(zip(("length_samples", "channels"), example_shape, strict=True))
    of_critic = {name: getattr(network, name) for name in ("phase_shuffle", "phase_shuffle_per")} | {"seed": config.seed}
    return wave_generator(**shared, **of_generator), wave_critic(**shared, **of_critic)


def build_optimizer(optimizer):
    """Return a new Keras optimizer."""
    if optimizer.name == "rmsprop":
        return keras.optimizers.RMSprop(optimizer.learning_rate)
    return keras.optimizers.Adam(optimizer.learning_rate, optimizer.beta_1, optimizer.beta_2)


def _options_of(named_class, base, section, section_name, name, optional=frozenset()):
    """Return the values of a configuration's section that a class takes.

    Raises:
        InputError: one is set that it does not take, or null that it needs.
    """
    known = _parameters(named_class, base)
    options = section.model_dump()
    for option, value in options.items():
        if value is not None and option not in known:
            raise InputError(f"{name} has no option `{section_name}.{option}`. Received: {value}.")
        if value is None and option in known and option not in optional:
            raise InputError(f"{name} needs `{section_name}.{option}`. Received: null.")
    return {option: value for option, value in options.items() if option in known}


def _parameters(named_class, base):
    """Return the names of the arguments that a class and its bases, up to `base`, take."""
    classes = [each for each in named_class.__mro__ if issubclass(each, base)]
    return {name for each in classes for name in inspect.signature(each).parameters}
