"""Training as one call: what `kgan train` does, for notebooks and programs."""

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import keras

from kgan.config import WITHOUT_PITCH, all_values, base_values, check_effective, load_config, told_values
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
    preset: Literal["fast", "fast_melif", "hq", "paper"] | None = None,
    files: Iterable[str | Path] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Outcome:
    """Train a run, new or not, to the end of its budget, and export it: what `kgan train` does.

    The same call goes on with a run that was interrupted. In a notebook its previews are shown below the cell.

    Args:
        folder: the run's; it need not exist.
        values: `{name: value}` of what `kgan train --help` lists, such as `{"data.source": "drums", "training.minutes": 20}`.
        preset: `"fast"`, `"fast_melif"`, `"hq"` or `"paper"`; None for none.
        files: YAML files of values, the later the stronger.
        callbacks: Keras callbacks to add to those of a run.

    Returns:
        An `Outcome`: the iterations done, and why it could not go on, if so.

    Raises:
        InputError: a value or the data cannot be used; nothing is changed then.
        OSError: the disk is full or fails; the last checkpoint is kept.

    Example:
        >>> kgan.train("runs/notes", {"training.minutes": 20}, preset="fast").failure  # doctest: +SKIP
        >>> kgan.load("runs/notes").write_wavs("heard", count=8)  # doctest: +SKIP
    """
    told = all_values_for_data(values, preset, files)
    return start_run(told, RunFolder(folder), told_values(values or {}), callbacks)


def all_values_for_data(values, preset=None, files=()):
    """Return `{dotted name: value}` as `all_values` does, of the preset for sounds without pitches where they have none."""
    told = all_values(values, preset, files)
    if preset not in WITHOUT_PITCH or told["repr"] != "harmonic":
        return told
    if has_pitches(load_sounds(load_config(told))):
        return told
    other = WITHOUT_PITCH[preset]
    print(f"Not all of these sounds have a MIDI pitch: --preset {other} instead of {preset}, which needs it.", flush=True)
    return all_values(values, other, files)


def start_run(told, run, asked=(), callbacks=()):
    """Train a run as by `train`, and say what was chosen, and why it failed where it did.

    Args:
        told: `{dotted name: value}`.
        run: its `RunFolder`.
        asked: names of the values that have to have an effect.
        callbacks: those to add.
    """
    config, lines = resolve(told, run, asked)
    strategy = build_strategy(config.training.strategy)
    for line in lines if is_chief(strategy) else ():
        print(line, flush=True)
    with run.lock() if is_chief(strategy) else contextlib.nullcontext():
        try:
            outcome = train_run(config, run, callbacks)
        except Exception as error:
            error.kept = _kept(run)  # the line on the command line ends with it
            raise
    if outcome.failure:
        print(one_line(f"kgan: error: {outcome.failure} {_kept(run)}"), file=sys.stderr)
    return outcome


def resolve(told, run, asked=()):
    """Return the configuration of a run, new or not, and lines that say what was chosen.

    Of a new one the strategy comes first: processes have to find each other before anything is computed. What was `asked` for
    must have an effect.
    """
    tensorflow_path(run.path.resolve())  # says now that it cannot write there
    if run.exists():
        return run.resumed_config(told), []
    strategy = build_strategy(base_values(told)["training.strategy"])
    if told.get("training.start_from"):
        told = settings_of(told["training.start_from"]) | told
    config, lines = new_config(told, strategy)
    check_all_effective(asked, config)
    return config, lines


def check_all_effective(asked, config):
    """Raise an InputError where a value that was asked for has no effect, beside others or on the data.

    Args:
        asked: dotted names.
        config: the resolved `Config`.
    """
    check_effective(asked, config)
    of_data = {name.removeprefix("data.") for name in asked if name.startswith("data.")}
    check_effective_on_data(config.data.source, config.data.labels_csv, build_clipping(config), of_data)


def _kept(run):
    if any(run.checkpoints.glob("step_*")):
        return f"The last good checkpoint is in {run.checkpoints}."
    return "No checkpoint came before."
