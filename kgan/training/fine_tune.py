"""Fine-tuning: start a run from the networks of another run or a SavedModel, so that a small set of sounds suffices."""

import itertools
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kgan.callbacks.checkpoint import Checkpoint
from kgan.config import BUDGET, Config, flatten, read_yaml, validated
from kgan.errors import InputError
from kgan.networks.layers import label_gain
from kgan.serving.saved_model import CONFIG_FILE, SavedSynthesizer, saved_model_version
from kgan.synthesizer import GANSynthesizer
from kgan.training.build import build_gan, build_representation
from kgan.training.run_folder import RunFolder

CRITIC_STEPS = 200  # steps of a new critic before the generator is trained
OF_THE_RUN = BUDGET | {"training.start_from", "training.strategy", "data.source", "data.labels_csv", "data.split"}


def settings_of(source):
    """Return `{dotted name: value}` of a run's or a SavedModel's configuration, without its data and its budget.

    Raises:
        InputError: the source is neither.
    """
    flat = flatten(_config_of(source).model_dump())
    return {name: value for name, value in flat.items() if name not in OF_THE_RUN}


def start_from(source, gan, representation):
    """Initialise a new GAN with the networks of another, and its representation with the other's statistics.

    The source's best generator is used. Label values that both have keep their weights. A value that the source lacks starts
    as the mean of that label's values, and a label that the source lacks starts without an effect. A label that is no longer
    used is replaced by the mean of its values.

    Args:
        source: a run folder or a SavedModel, with the same representation and networks.
        gan: the GAN.
        representation: its representation.

    Returns:
        Whether the source has a critic. A SavedModel has none: call `train_new_critic` before training the generator.

    Raises:
        InputError: the source is neither, has no checkpoint, or has other networks.
    """
    other, statistics, has_critic = _load(source)
    _assign(source, representation.weights, statistics)
    best = [weight.numpy() for weight in other.best_generator.weights]
    gains = label_gain(other.best_generator), label_gain(gan.generator)
    _assign(source, gan.generator.weights, _relabelled_generator(best, other.labels, gan.labels, *gains))
    if gan.ema_generator is not None:
        gan.ema_generator.set_weights(gan.generator.get_weights())
    if has_critic:
        theirs = [weight.numpy() for weight in other.critic.weights]
        _assign(source, gan.critic.weights, _relabelled_critic(gan.critic, theirs, other.labels, gan.labels))
    return has_critic


def train_new_critic(gan, dataset):
    """Train a new critic while the generator stays unchanged."""
    some = itertools.islice(dataset, CRITIC_STEPS)  # a distributed dataset has no `take`
    gan.train_critic(tqdm(some, "Training a new critic", total=CRITIC_STEPS, unit="step", leave=False))


def _config_of(source) -> Config:
    run = RunFolder(source)
    if run.exists():
        return run.read_config()
    return validated(flatten(read_yaml(saved_model_version(source) / CONFIG_FILE)))


def _load(source):
    """Return the GAN of a run or SavedModel, the weights of its representation, and whether its critic is trained."""
    config, run = _config_of(source), RunFolder(source)
    representation = build_representation(config)
    if run.exists():
        gan = build_gan(config, representation, run.read_labels())
        if not Checkpoint(run.checkpoints, representation=representation).restore(gan):
            raise InputError(f"The run {run.path} has no checkpoint yet: train it first.")
        return gan, [weight.numpy() for weight in representation.weights], True
    saved = SavedSynthesizer(source)
    gan, stored = build_gan(config, representation, saved.labels), saved.weights
    synthesizer = GANSynthesizer(gan, representation, config.data.sample_rate_hz)
    of_generator = len(synthesizer.generator.weights)
    _assign(source, synthesizer.generator.weights, stored[:of_generator])
    synthesizer.give_back(gan)
    return gan, stored[of_generator:], False


def _relabelled_generator(weights, theirs, mine, their_gain, my_gain):
    """Return a generator's weights for other labels. The rows of its first kernel are latents and labels."""
    kernel, bias, *others = weights
    latents, rows = np.split(kernel, [len(kernel) - theirs.width])
    rows = rows * their_gain
    gone = [rows[start : start + count] for kind, (start, count) in _places(theirs).items() if kind not in mine.kinds]
    bias = bias + sum(of_kind.mean(axis=0) for of_kind in gone)
    return [np.concatenate([latents, _mixing(theirs, mine).T @ rows / my_gain]), bias, *others]


def _relabelled_critic(critic, weights, theirs, mine):
    """Return a critic's weights for other labels. The last axis of its last layer's weights is the score and the labels."""
    mixing = _mixing(theirs, mine)
    kept = np.flatnonzero(mixing.any(axis=0))
    last_layer = [layer for layer in critic.layers if layer.weights][-1]
    relabelled, last = [], [id(variable) for variable in last_layer.weights]
    for variable, values in zip(critic.weights, weights, strict=False):
        if id(variable) in last and values.shape == (*variable.shape[:-1], 1 + theirs.width):
            here, values = values, variable.numpy()
            values[..., 0] = here[..., 0]
            values[..., 1 + kept] = (here[..., 1:] @ mixing)[..., kept]
        relabelled.append(values)
    return relabelled + weights[len(relabelled) :]


def _mixing(theirs, mine):
    """Return the share of each of their labels in each of mine, `(theirs.width, mine.width)`; a column of zeros means none."""
    mixing = np.zeros((theirs.width, mine.width), np.float32)
    for kind, (start, _) in _places(mine).items():
        if kind in theirs.kinds:
            first, count = _places(theirs)[kind]
            known, new = ([each.named(kind, value) for value in each.values[kind]] for each in (theirs, mine))
            same = np.equal.outer(np.array(known, object), np.array(new, object))  # (count, values of mine)
            mixing[first : first + count, start : start + same.shape[1]] = np.where(same.any(axis=0), same, 1.0 / count)
    return mixing


def _places(labels):
    """Return the start and the number of each kind's values in the one-hot labels."""
    places, start = {}, 0
    for kind, values in labels.values.items():
        places[kind] = start, len(values)
        start += len(values)
    return places


def _assign(source, variables, values):
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise InputError(f"A run starts from one with the same networks and clips. Received: {Path(source)}, which has others.")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
