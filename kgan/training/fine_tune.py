"""To begin a run with the networks of another one, or of a SavedModel: a small set of sounds then suffices."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.callbacks.checkpoint import Checkpoint
from kgan.config import BUDGET, Config, flatten, read_yaml, validated
from kgan.errors import InputError
from kgan.labels import Labels
from kgan.serving.saved_model import CONFIG_FILE, saved_model_version
from kgan.synthesizer import Synthesizer
from kgan.training.build import build_gan, build_representation
from kgan.training.run_folder import RunFolder

CRITIC_STEPS = 200  # of a critic that begins anew, before the generator moves
OF_THE_RUN = BUDGET | {"training.start_from", "data.source", "data.labels_csv", "data.split"}


def settings_of(source):
    """Return `{dotted name: value}` of a run's or a SavedModel's configuration, without its data and its budget.

    Raises:
        InputError: it is neither.
    """
    flat = flatten(_config_of(source).model_dump())
    return {name: value for name, value in flat.items() if name not in OF_THE_RUN}


def start_from(source, gan, representation):
    """Let a GAN that was just built begin with the networks of another, and its representation with the other's statistics.

    Labels that both have are kept; others begin as the mean of the old ones.

    Args:
        source: a run folder or a SavedModel, of the same representation and networks.
        gan: the GAN.
        representation: its representation.

    Returns:
        Whether the source had a critic. A SavedModel has none: `train_new_critic` before the generator moves.

    Raises:
        InputError: the source is neither, has no checkpoint, or other networks.
    """
    other, statistics, has_critic = _load(source)
    _assign(source, representation.weights, statistics)
    best = [weight.numpy() for weight in other.best_generator.weights]
    _assign(source, gan.generator.weights, _relabelled_generator(best, other.labels, gan.labels, gan.latent_dim))
    if gan.ema_generator is not None:
        gan.ema_generator.set_weights(gan.generator.get_weights())
    if has_critic:
        theirs = [weight.numpy() for weight in other.critic.weights]
        _assign(source, gan.critic.weights, _relabelled_critic(gan.critic, theirs, other.labels, gan.labels))
    return has_critic


def train_new_critic(gan, dataset):
    """Let a new critic learn beside a generator that stays as it is."""
    gan.train_critic(tqdm(dataset.take(CRITIC_STEPS), "A new critic learns", total=CRITIC_STEPS, unit="step", leave=False))


def _config_of(source) -> Config:
    run = RunFolder(source)
    if run.exists():
        return run.read_config()
    values = read_yaml(saved_model_version(source) / CONFIG_FILE)
    return validated({name: value for name, value in flatten(values).items() if name.split(".")[0] in Config.model_fields})


def _load(source):
    """Return the GAN of a run or a SavedModel, the weights of its representation, and whether its critic is trained."""
    config, run = _config_of(source), RunFolder(source)
    representation = build_representation(config)
    if run.exists():
        gan = build_gan(config, representation, run.read_labels())
        if not Checkpoint(run.checkpoints, representation=representation).restore(gan):
            raise InputError(f"The run {run.path} has no checkpoint yet: train it first.")
        return gan, [weight.numpy() for weight in representation.weights], True
    version = saved_model_version(source)
    labels = Labels(**read_yaml(version / CONFIG_FILE).get("labels", {}))
    gan = build_gan(config, representation, labels)
    stored = [weight.numpy().astype(np.float32) for weight in getattr(tf.saved_model.load(str(version)), "weights", [])]
    synthesizer = Synthesizer(gan, representation, config.data.sample_rate_hz)
    of_generator = len(synthesizer.generator.weights)
    _assign(source, synthesizer.generator.weights, stored[:of_generator])
    synthesizer.give_back(gan)
    return gan, stored[of_generator:], False


def _relabelled_generator(weights, theirs, mine, latent_dim):
    """Return a generator's weights, the rows of its first kernel being latents and labels, for other labels."""
    kernel, bias, *others = weights
    latent_rows, label_rows = kernel[:latent_dim], kernel[latent_dim:]
    rows, bias = [], bias.copy()
    for kind, start in _starts(theirs).items():
        of_kind = label_rows[start : start + len(theirs.values[kind])]
        if kind not in mine.kinds:
            bias += of_kind.mean(axis=0)
    for kind in mine.kinds:
        for value in mine.values[kind]:
            if kind not in theirs.kinds:
                rows.append(np.zeros_like(bias))
                continue
            start, values = _starts(theirs)[kind], theirs.values[kind]
            of_kind = label_rows[start : start + len(values)]
            rows.append(of_kind[values == value][0] if value in values else of_kind.mean(axis=0))
    return [np.concatenate([latent_rows, *([np.stack(rows)] if rows else [])]), bias, *others]


def _relabelled_critic(critic, weights, theirs, mine):
    """Return a critic's weights, the columns of its last kernel being the score and labels, for other labels."""
    *others, kernel, bias = weights
    new_kernel, new_bias = (weight.numpy() for weight in critic.weights[-2:])
    pairs = [(0, 0)]
    for kind in set(mine.kinds) & set(theirs.kinds):
        for i, value in enumerate(mine.values[kind]):
            for j in np.flatnonzero(theirs.values[kind] == value):
                pairs.append((1 + _starts(mine)[kind] + i, 1 + _starts(theirs)[kind] + j))
    for new, old in pairs:
        new_kernel[:, new], new_bias[new] = kernel[:, old], bias[old]
    return [*others, new_kernel, new_bias]


def _starts(labels):
    """Return where each kind's values begin among one-hot labels."""
    sizes = [len(labels.values[kind]) for kind in labels.kinds]
    return dict(zip(labels.kinds, np.cumsum([0, *sizes[:-1]]).tolist(), strict=True))


def _assign(source, variables, values):
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise InputError(f"A run starts from one with the same networks and clips. Received: {Path(source)}, which has others.")
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
