"""Train a run: from a resolved configuration to sounds, checkpoints and a SavedModel."""

import math
import sys
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.audio.pitch import CLEAR_HARMONICITY, FRAME_S, estimate_pitch
from kgan.audio.signal import mono
from kgan.callbacks import (
    Board,
    Budget,
    Checkpoint,
    HealthWatch,
    HistoryCSV,
    Interrupt,
    Preview,
    ProgressBar,
    Throughput,
    Together,
)
from kgan.config import flatten
from kgan.data.encoded import encode_all
from kgan.data.pipeline import training_dataset
from kgan.labels import Labels, renumbered
from kgan.serving.saved_model import export_saved_model, exported_step
from kgan.strategy import build_strategy, check_same, is_chief, is_multiworker
from kgan.synthesizer import GANSynthesizer
from kgan.text import one_line
from kgan.training.build import (
    build_augmentation,
    build_callbacks,
    build_gan,
    build_representation,
    build_score,
    load_sounds,
)
from kgan.training.fine_tune import start_from, train_new_critic
from kgan.training.run_folder import RunFolder

COMPARED_SOUNDS = 64
SOUNDS_ON_MAP = 16  # per sound of a preview
LOST = "Another process of this job was lost. Start all of them again with the same command."


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        step: total number of iterations.
        signal_number: number of the signal that ended the run; None if there was none.
        failure: why training failed; None if it did not.
        wrote: whether this process wrote the run. Of several processes, only the chief does.
    """

    step: int
    signal_number: int | None = None
    failure: str | None = None
    wrote: bool = True


def train_run(config, run: RunFolder, callbacks=(), sounds=None):
    """Train a run, new or resumed, to the end of its budget, and export it.

    If several processes work together, only the chief writes; all of them read the run's folder.

    Args:
        config: the resolved `Config`; the run's own if it is resumed.
        run: the run's folder, locked by the chief.
        callbacks: Keras callbacks to add to the run's own and those of the configuration.
        sounds: the configuration's sounds, if they are already loaded.

    Returns:
        An `Outcome`.

    Raises:
        InputError: the configuration or the data cannot be used; nothing has been changed.
        OSError: the disk is full or fails; the last checkpoint is kept.
    """
    strategy, training = build_strategy(config.training.strategy), config.training
    representation, augmentation = build_representation(config), build_augmentation(config)
    own = [*build_callbacks(training.callbacks), *callbacks]
    checkpoint = Checkpoint(run.checkpoints, training.checkpoint_minutes, representation=representation)
    budget = Budget(checkpoint, training.steps, training.minutes, training.cpu_minutes)
    labels = run.read_labels()
    if config.conditioning.labels and not run.exists():
        if sounds is None:
            build_gan(config, representation)  # reports invalid settings before the sounds are read
            sounds = load_sounds(config)
        labels = Labels.of(sounds, config.conditioning.labels)
    with strategy.scope():
        gan = build_gan(config, representation, labels)
        start_step = checkpoint.restore(gan)
    check_same(strategy, start_step, "All processes must resume from the same checkpoint, in a folder that they share.")
    synthesizer = GANSynthesizer(gan, representation, config.data.sample_rate_hz)
    if start_step and budget.spent(start_step):
        if not is_chief(strategy):
            return Outcome(start_step, wrote=False)
        run.write_config(config)
        if exported_step(run.saved_model) != start_step:  # ended between its last checkpoint and its export
            _export(synthesizer, config, run)
        return Outcome(start_step)
    sounds = renumbered(sounds or load_sounds(config), labels.names)
    needs_critic = False
    if not start_step and training.start_from:
        needs_critic = not start_from(training.start_from, gan, representation)
    encoded = None
    if representation.encodes_once:
        encoded = encode_all(sounds, representation, adapt=not start_step and not training.start_from)
    elif not start_step and not training.start_from:
        representation.adapt(sounds.batches())

    def dataset_of(input_context):
        return training_dataset(
            sounds,
            representation,
            training.batch_size,
            gan.n_critic,
            seed=config.seed,
            start_step=start_step,
            augmentation=augmentation,
            input_context=input_context,
            encoded=encoded,
        )

    dataset = strategy.distribute_datasets_from_function(dataset_of)
    if needs_critic:
        train_new_critic(gan, dataset)
    if not is_chief(strategy):
        return _train_beside(gan, dataset, training)
    scores = [build_score(config, synthesizer, checkpoint, run)] if config.scores.every_steps else []
    run.note_data(sounds, labels)
    run.write_config(config)  # from here on the run exists; the input has been checked
    health = HealthWatch(synthesizer, training.preview_steps, training.preview_count)
    preview = Preview(synthesizer, run.samples, training.preview_steps, training.preview_count, run.logs, config.seed)
    interrupt, bar = Interrupt(), ProgressBar(budget)
    all_callbacks = [
        Throughput(gan.n_critic * training.batch_size),
        bar,
        HistoryCSV(run.history),
        health,
        checkpoint,
        preview,
        *scores,
        Board(synthesizer, run.logs, flatten(config.model_dump()), SOUNDS_ON_MAP * training.preview_count, config.seed),
        budget,
        interrupt,
        *own,
        *([Together()] if is_multiworker(strategy) else []),
    ]
    begun = f"{'Resuming' if start_step else 'Training the new run'} {run.path} on {len(sounds):,} sounds."
    tqdm.write(f"{one_line(begun)} Ctrl-C ends it cleanly.\n{gan.labels.described(config.conditioning.labels, sounds)}")
    try:
        lost = _fit(gan, dataset, training, all_callbacks)
    finally:
        bar.close()
    failure = lost or health.failure
    if failure is None:
        synthesizer.refresh(gan)
        _export(synthesizer, config, run)
        _compare(synthesizer, sounds, config.seed)
    return Outcome(gan.steps_done, interrupt.received, failure)


def _fit(gan, dataset, training, callbacks):
    """Train until a callback ends it. Return why training failed; None if it did not."""
    first, length = gan.steps_done // training.log_steps, training.log_steps
    epochs = first + math.ceil((training.steps - gan.steps_done) / length) if training.steps else sys.maxsize
    loop = {"initial_epoch": first, "epochs": epochs, "steps_per_epoch": length}
    try:
        gan.fit(dataset, **loop, shuffle=False, verbose=0, callbacks=callbacks)
    except tf.errors.UnavailableError:
        return LOST
    return None


def _train_beside(gan, dataset, training):
    """Train as a process that is not the chief, until the budget's steps are done or the chief or a signal ends it."""
    interrupt = Interrupt()
    lost = _fit(gan, dataset, training, [Budget(None, training.steps), interrupt, Together()])
    return Outcome(gan.steps_done, interrupt.received, lost, wrote=False)


def _export(synthesizer, config, run):
    version = export_saved_model(synthesizer, config.to_yaml(), run.saved_model, **run.facts(synthesizer.step))
    tqdm.write(one_line(f"Sounds and pictures: {run.samples}. SavedModel: {version}."))


def _compare(synthesizer, sounds, seed):
    """Print how harmonic the generated sounds are and how many pitches they have, compared with real sounds."""
    count = min(COMPARED_SOUNDS, len(sounds))
    real = sounds.waveforms(np.linspace(0, len(sounds) - 1, count).astype(int))
    if real.shape[1] < FRAME_S * sounds.sample_rate_hz:
        return
    fake = synthesizer.generate(synthesizer.latents(count, seed))
    pitch_counts = []
    for name, audio in (("Generated", fake), ("Real", real)):
        found = estimate_pitch(mono(audio), sounds.sample_rate_hz)
        clear = found.harmonicity > CLEAR_HARMONICITY
        pitches = np.unique(np.round(12 * np.log2(found.frequency_hz[clear] / 440)))
        tqdm.write(
            f"{name}: {clear.sum()} of {count} sounds have a clear pitch, different pitches: {len(pitches)},"
            f" median harmonicity {np.median(found.harmonicity):.2f}."
        )
        pitch_counts.append(len(pitches))
    if 0 < 4 * pitch_counts[0] < pitch_counts[1] and 2 * clear.sum() > count:
        tqdm.write("There are still few different pitches; train for more iterations.")
