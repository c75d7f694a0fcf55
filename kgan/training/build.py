"""Build the objects that a configuration names. This is the only place that turns names into classes."""

import dataclasses
import inspect
import os
import pkgutil
import sys

import keras
import tensorflow as tf
from tqdm import tqdm

from kgan.callbacks import Score
from kgan.config import MODELS, REPRESENTATIONS
from kgan.data import load
from kgan.data.augment import Augmentation
from kgan.data.pipeline import check_divides
from kgan.data.recordings import Clipping, Filter
from kgan.errors import InputError
from kgan.evaluation.classifier import load_classifier
from kgan.evaluation.evaluate import usable_metrics
from kgan.evaluation.evaluator import Evaluator, drawn
from kgan.evaluation.inception_score import SPLITS
from kgan.gans.adversarial import AdversarialModel
from kgan.labels import Labels
from kgan.networks.spectrogram import spectrogram_critic, spectrogram_generator
from kgan.networks.vector import vector_critic, vector_generator
from kgan.networks.wave import wave_critic, wave_generator
from kgan.representations.representation import Representation

SCORE_REFERENCES = 2_000  # real sounds to compare with during training
COSTLY = {"ndb"}  # not scored during training


def build_representation(config):
    """Return the representation, a Keras layer that has no statistics yet.

    Raises:
        InputError: an option is set that the representation does not have, or its sizes do not fit the clip.
    """
    representation_class = pkgutil.resolve_name(REPRESENTATIONS[config.repr])
    options = _options_of(representation_class, Representation, config.representation, "representation", config.repr)
    clip = {"length_samples": config.data.length_samples, "channels": config.data.channels}
    if "sample_rate_hz" in _parameters(representation_class, Representation):
        clip["sample_rate_hz"] = config.data.sample_rate_hz
    return representation_class(**clip, **options)


def load_sounds(config):
    """Return the sounds to train on.

    Raises:
        InputError: there are no sounds.
    """
    data = config.data
    return load.load_sounds(data.source, data.split, data.labels_csv, build_clipping(config), build_filter(config))


def build_clipping(config):
    """Return the `Clipping` that turns recordings into clips."""
    names = [field.name for field in dataclasses.fields(Clipping) if field.name != "seed"]
    return Clipping(**{name: getattr(config.data, name) for name in names}, seed=config.seed)


def build_filter(config):
    """Return the `Filter` that selects recordings."""
    values = {field.name: getattr(config.data, field.name) for field in dataclasses.fields(Filter)}
    return Filter(**{name: None if value is None else tuple(value) for name, value in values.items()})


def build_augmentation(config):
    """Return the `Augmentation`; None if it is off.

    Raises:
        InputError: masks are requested, but the representation is not a spectrogram.
    """
    augmentation = Augmentation(**config.augment.model_dump())
    if config.repr == "wave" and (augmentation.frequency_mask_bins or augmentation.time_mask_frames):
        raise InputError("Masks are for spectrograms: `augment.frequency_mask_bins` and `augment.time_mask_frames` must be 0.")
    augmentation.of_audio(tf.zeros((1, config.data.length_samples)), tf.constant([0, 0]))  # fails now if it cannot be done
    return None if augmentation == Augmentation() else augmentation


def build_callbacks(names):
    """Return the user's own Keras callbacks.

    Args:
        names: names such as `mine:Callback`, each of a callback or of a class that needs no arguments, in a module that can be
            imported, also from the working directory. None for none.

    Raises:
        InputError: the module cannot be imported, or it has no such callback.
    """
    if names and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    callbacks = []
    for name in names or ():
        try:
            found = pkgutil.resolve_name(name)
            callback = found() if isinstance(found, type) else found
            received = f"a {type(callback).__name__}"
        except Exception as error:  # the user's code may raise anything
            callback, received = None, f"{type(error).__name__}: {error}"
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(
                "`training.callbacks` must be Keras callbacks as module:Class, of classes that need no arguments."
                f" Received: {name} ({received})."
            )
        callbacks.append(callback)
    return callbacks


def build_score(config, synthesizer, checkpoint, run):
    """Return the callback `Score`. If its classifier is not in the cache, it is trained first.

    Raises:
        InputError: the sounds cannot be scored, there are too few, or the monitored score needs labels that are missing.
    """
    scores = config.scores
    clipping, filters = build_clipping(config), build_filter(config)
    train, valid, test = load.load_splits(config.data.source, config.data.labels_csv, clipping, filters)
    metrics, label = usable_metrics(None, None, train)
    metrics = [name for name in metrics if name not in COSTLY]
    least = SPLITS if label and scores.monitor == "inception_score" else 2
    if len(test) < least:
        raise InputError(
            f"Scores need at least {least} sounds that are not trained on. Received: {len(test)}."
            " Set --scores.every_steps null."
        )
    if "inception" in metrics and len(test) < SPLITS:
        metrics.remove("inception")
        tqdm.write(f"No inception score: it needs at least {SPLITS} sounds that are not trained on. Received: {len(test)}.")
    classifier = label and load_classifier(train, valid, test, label=label)
    evaluator = Evaluator(train, classifier, metrics, compared=min(scores.sounds, len(test)), references=SCORE_REFERENCES)
    real = evaluator.scores(drawn(test, scores.sounds, seed=0))
    monitor = scores.monitor or ("frechet_distance" if classifier else "harmonicity")
    if monitor not in real:
        raise InputError(f"The score {monitor} needs labels. Received: sounds without; set --scores.monitor harmonicity.")
    options = {"checkpoint": checkpoint, "patience": scores.patience, "real": real, "log_dir": run.logs}
    return Score(synthesizer, evaluator, run.path, scores.every_steps, scores.sounds, monitor, **options)


def build_gan(config, representation, labels=None):
    """Return the GAN, compiled, with initial weights that depend only on the arguments.

    Args:
        config: the `Config`.
        representation: the representation to generate; examples with two axes are waveforms, with three axes images.
        labels: the `Labels` to condition on; None for none.

    Raises:
        InputError: the configuration sets an option that the model does not have, or an impossible clip length.
    """
    missing = [] if labels is None else [kind for kind in representation.label_kinds if kind not in labels.kinds]
    if missing:
        raise InputError(
            f"--repr {config.repr} needs the label {missing[0]}, which --conditioning.labels has to name, too. Received: labels"
            f" {', '.join(labels.kinds) or 'none'}. --repr melif needs none."
        )
    labels = labels or Labels()
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    check_divides(config.training.batch_size, replicas)
    group, batch = config.network.minibatch_stddev, config.training.batch_size // replicas
    if group == 1 or (group and batch % group):
        of = f" of each of {replicas} replicas" if replicas > 1 else ""
        raise InputError(f"`network.minibatch_stddev` must divide the batch size {batch}{of} into groups. Received: {group}.")
    gan_class = pkgutil.resolve_name(MODELS[config.model])
    options = _options_of(gan_class, AdversarialModel, config.gan, "gan", config.model, optional={"ema_decay"})
    conditioning = {
        "conditioning": config.conditioning.critic,
        "auxiliary_weight": config.conditioning.weight,
        "labels": labels,
    }
    keras.utils.set_random_seed(config.seed)
    previous_policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.training.precision)
    try:
        gan = gan_class(*_networks(config, representation, labels.width), **options, **conditioning, seed=config.seed)
    finally:
        keras.config.set_dtype_policy(previous_policy)
    rates = config.optimizer.learning_rate, config.optimizer.critic_learning_rate or config.optimizer.learning_rate
    gan.compile(*(build_optimizer(config.optimizer, rate) for rate in rates))
    return gan


def _networks(config, representation, label_width):
    """Return generator and critic for examples with one axis (vectors), two (waveforms) or three (images)."""
    network, example_shape = config.network, representation.example_shape
    shared = {"dim": network.dim, "kernel_size": network.kernel_size, "weight_stddev": network.weight_stddev}
    of_generator = {"latent_dim": network.latent_dim, "activation": network.generator_activation}
    of_generator |= {"pixel_norm": network.pixel_norm, "label_width": label_width}
    of_generator["label_gain"] = config.conditioning.label_gain
    of_critic = {"label_width": label_width, "minibatch_stddev": network.minibatch_stddev}
    if len(example_shape) != 2 and network.phase_shuffle:
        raise InputError(f"`network.phase_shuffle` is for waves; {config.repr} needs 0. Received: {network.phase_shuffle}.")
    if len(example_shape) == 1:
        del shared["kernel_size"]
        shared["components"] = example_shape[0]
        return vector_generator(**shared, **of_generator), vector_critic(**shared, **of_critic)
    if len(example_shape) == 3:
        shared["shape"] = example_shape
        return spectrogram_generator(**shared, **of_generator), spectrogram_critic(**shared, **of_critic)
    if network.phase_shuffle >= 16:
        raise InputError(
            "`network.phase_shuffle` must be below 16, the length of the critic's last layers."
            f" Received: {network.phase_shuffle}."
        )
    shared |= dict(zip(("length_samples", "channels"), example_shape, strict=True))
    of_critic |= {name: getattr(network, name) for name in ("phase_shuffle", "phase_shuffle_per")} | {"seed": config.seed}
    return wave_generator(**shared, **of_generator), wave_critic(**shared, **of_critic)


def build_optimizer(optimizer, learning_rate):
    """Return a new Keras optimizer."""
    if optimizer.name == "rmsprop":
        return keras.optimizers.RMSprop(learning_rate)
    return keras.optimizers.Adam(learning_rate, optimizer.beta_1, optimizer.beta_2)


def _options_of(named_class, base, section, section_name, name, optional=frozenset()):
    """Return the values of a configuration section that a class accepts.

    Raises:
        InputError: a value is set that the class does not accept, or is null although the class needs it.
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
    """Return the names of the arguments of a class and its base classes, up to `base`."""
    classes = [each for each in named_class.__mro__ if issubclass(each, base)]
    return {name for each in classes for name in inspect.signature(each).parameters}
