"""Training as one call: what `kgan train` does, for notebooks and programs."""

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
    """Train a run, new or not, to the end of its budget, and export it: what `kgan train` does.

    The same call goes on with a run that was interrupted. In a notebook its previews are shown below the cell.

    Args:
        folder: the run's; it need not exist.
        values: `{name: value}` of what `kgan train --help` lists, such as `{"data.source": "drums", "training.minutes": 20}`.
        preset: `"fast"`, `"fast_melif"`, `"hq"`, `"hq_melif"` or `"paper"`; None for none.
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
    told, unpitched = all_values(values, preset, files), None
    if preset in WITHOUT_PITCH and told["repr"] == "harmonic":
        other = WITHOUT_PITCH[preset]
        line = f"Not all of these sounds have a MIDI pitch: --preset {other} instead of {preset}, which needs it."
        unpitched = line, all_values(values, other, files)
    return start_run(told, RunFolder(folder), told_values(values or {}), callbacks, unpitched)


def start_run(told, run, asked=(), callbacks=(), unpitched=None):
    """Train a run as by `train`, and say what was chosen, and why it failed where it did.

    Args:
        told: `{dotted name: value}`.
        run: its `RunFolder`.
        asked: names of the values that have to have an effect.
        callbacks: those to add.
        unpitched: what is told of sounds whose pitch is not known, after a line that says so; None for the same.
    """
    config, lines, sounds = resolve(told, run, asked, unpitched)
    strategy = build_strategy(config.training.strategy)
    for line in lines if is_chief(strategy) else ():
        print(line, flush=True)
    with run.lock() if is_chief(strategy) else contextlib.nullcontext():
        try:
            outcome = train_run(config, run, callbacks, sounds)
        except Exception as error:
            error.kept = _kept(run)  # the line on the command line ends with it
            raise
    if outcome.failure:
        print(one_line(f"kgan: error: {outcome.failure} {_kept(run)}"), file=sys.stderr)
    return outcome


def resolve(told, run, asked=(), unpitched=None):
    """Return the configuration of a run, new or not, lines that say what was chosen, and its sounds, None if not yet loaded.

    Of a new one the strategy comes first: processes have to find each other before anything is computed. What was `asked` for
    must have an effect. Sounds are loaded where `unpitched` depends on them.
    """
    tensorflow_path(run.path.resolve())  # says now that it cannot write there
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
