"""Training in one call, like `kgan train`, for notebooks and programs."""

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from kgan.config import WITHOUT_PITCH, all_values, base_values, check_effective, told_values
from kgan.data.load import check_effective as check_effective_on_data
from kgan.data.sounds import has_pitches
from kgan.files import tensorflow_path
from kgan.strategy import build_strategy, is_chief
from kgan.text import one_line
from kgan.training.build import build_clipping, load_sounds
from kgan.training.fine_tune import settings_of
from kgan.training.run_folder import RunFolder, new_config
from kgan.training.train import Outcome, train_run


def train(
    folder: str | Path,
    values: Mapping[str, Any] | None = None,
    *,
    preset: Literal["fast", "fast_melif", "hq", "hq_melif", "paper"] | None = None,
    files: Iterable[str | Path] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Train a run, new or existing, to the end of its budget, and export it, like `kgan train`.

    The same call resumes a run that was interrupted. In a notebook its previews are shown below the cell.

    Args:
        folder: folder of the run; it need not exist.
        values: `{name: value}` for the settings that `kgan train --help` lists, such as
            `{"data.source": "drums", "training.minutes": 20}`.
        preset: `"fast"`, `"fast_melif"`, `"hq"`, `"hq_melif"` or `"paper"`; None for none.
        files: YAML files of values; later files override earlier ones.
        callbacks: Keras callbacks to add to the run's own.

    Returns:
        An `Outcome`: the number of iterations, and the reason if training failed.

    Raises:
        InputError: a value or the data cannot be used; nothing has been changed.
        OSError: the disk is full or fails; the last checkpoint is kept.

    Example:
        >>> kgan.train("runs/notes", {"training.minutes": 20}, preset="fast").failure  # doctest: +SKIP
        >>> kgan.load("runs/notes").write_wavs("heard", count=8)  # doctest: +SKIP
    """
    told, unpitched = all_values(values, preset, files), None
    if preset in WITHOUT_PITCH and told["repr"] == "harmonic":
        other = WITHOUT_PITCH[preset]
        line = f"Not all of these sounds have a MIDI pitch: --preset {other} instead of {preset}, which needs it."
        unpitched = line, all_values(values, other, files)
    return start_run(told, RunFolder(folder), told_values(values or {}), callbacks, unpitched)


def start_run(told, run, asked=(), callbacks=(), unpitched=None):
    """Train a run like `train`; print what was chosen and, if it fails, why.

    Args:
        told: `{dotted name: value}`.
        run: the `RunFolder`.
        asked: names of the values that must have an effect.
        callbacks: Keras callbacks to add.
        unpitched: `(line, values)` for sounds without known pitches: a line to print and the values to use instead of `told`;
            None to use `told`.
    """
    config, lines, sounds = resolve(told, run, asked, unpitched)
    strategy = build_strategy(config.training.strategy)
    for line in lines if is_chief(strategy) else ():
        print(line, flush=True)
    with run.lock() if is_chief(strategy) else contextlib.nullcontext():
        try:
            outcome = train_run(config, run, callbacks, sounds)
        except Exception as error:
            error.kept = _kept(run)  # the end of the command line's error message
            raise
    if outcome.failure:
        print(one_line(f"kgan: error: {outcome.failure} {_kept(run)}"), file=sys.stderr)
    return outcome


def resolve(told, run, asked=(), unpitched=None):
    """Return the configuration of a run, new or existing, lines that say what was chosen, and its sounds (None if not loaded).

    For a new run the strategy is built first, because processes have to connect before anything is computed. Values in `asked`
    must have an effect. Sounds are loaded only if they decide whether `unpitched` is used.
    """
    tensorflow_path(run.path.resolve())  # fails now if TensorFlow cannot write there
    if run.exists():
        as_unpitched = unpitched is not None and run.read_config().repr == unpitched[1]["repr"]
        return run.resumed_config(unpitched[1] if as_unpitched else told), [], None
    strategy = build_strategy(base_values(told)["training.strategy"])
    inherited = settings_of(told["training.start_from"]) if told.get("training.start_from") else {}
    config, lines = new_config(inherited | told, strategy)
    check_all_effective(asked, config)
    sounds = None if unpitched is None else load_sounds(config)
    if sounds is not None and not has_pitches(sounds):
        config, lines = new_config(inherited | unpitched[1], strategy)
        lines.insert(0, unpitched[0])
    return config, lines, sounds


def check_all_effective(asked, config):
    """Raise an InputError if a requested value has no effect, given the other values or the data.

    Args:
        asked: dotted names of the requested values.
        config: the resolved `Config`.
    """
    check_effective(asked, config)
    of_data = {name.removeprefix("data.") for name in asked if name.startswith("data.")}
    check_effective_on_data(config.data.source, config.data.labels_csv, build_clipping(config), of_data)


def _kept(run):
    if any(run.checkpoints.glob("step_*")):
        return f"The last good checkpoint is in {run.checkpoints}."
    return "There is no earlier checkpoint."
