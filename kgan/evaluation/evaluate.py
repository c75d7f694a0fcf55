"""Score real sounds and experiments in the same way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kgan.audio.decode import read_audio
from kgan.audio.files import find_audio
from kgan.data.load import load_sounds
from kgan.data.recordings import Clipping
from kgan.data.shards import clipping_of, is_prepared
from kgan.data.sounds import Sounds, to_int16
from kgan.errors import InputError, unknown_name
from kgan.evaluation.classifier import fingerprint, load_classifier, usable_label
from kgan.evaluation.evaluator import (
    COMPARED_SOUNDS,
    DEFAULT_METRICS,
    METRICS,
    NEED_CLASSIFIER,
    REFERENCE_SOUNDS,
    SOUNDS,
    Evaluator,
    drawn,
)
from kgan.evaluation.inception_score import SPLITS
from kgan.evaluation.log_mel import FLOOR_DB
from kgan.evaluation.musicnn import musicnn_folder
from kgan.evaluation.table import COLUMNS, REAL_TEST, REAL_TRAIN
from kgan.synthesizer import BATCH_SIZE
from kgan.text import one_line

SHOWN_BATCHES = 20  # fewer batches need no progress bar


def evaluate(
    experiments, train, valid, test, data, earlier=(), architecture="mel", label=None, metrics=None, count=SOUNDS, seed=0
):
    """Score real sounds and experiments with the same classifier, number of sounds and seed.

    If an experiment fails, the result names it and the other experiments are still scored. An interrupt during an experiment
    ends the scoring and keeps the rows so far.

    Args:
        experiments: `{name: function}`; each function takes a count and a seed and returns `Sounds` and a dictionary of further
            columns for its row, such as `iterations`.
        train, valid, test: real `Sounds`.
        data: name of the data.
        earlier: results of earlier calls, whose experiments are included.
        architecture, label: for the classifier, see `load_classifier`.
        metrics: names out of `METRICS`; None for all that the data has labels for, except `musicnn`.
        count: number of sounds of each experiment.
        seed: seed of latents, and of the choice of sounds if there are more than `count`.

    Returns:
        A JSON-compatible dictionary: `settings`, `classifier`, `rows` (scores with `experiment`, `count` and `warnings`) and
        `failed` (`{experiment: reason}`).

    Raises:
        InputError: the real sounds cannot be used, there are too few, or an earlier result has other settings.
    """
    metrics, label = usable_metrics(metrics, label, train)
    least = SPLITS if "inception" in metrics else 2
    if min(count, len(test), len(train)) < least:
        raise InputError(
            f"These scores need at least {least} sounds of each. Received: {count} asked for, {len(train)} to train and"
            f" {len(test)} to test on."
        )
    classifier = None if label is None else load_classifier(train, valid, test, architecture, label)
    compared = min(COMPARED_SOUNDS, count, len(test))
    settings = {
        "data": data, "train": fingerprint(train), "test": fingerprint(test), "count": count, "compared": compared,
        "references": min(REFERENCE_SOUNDS, len(train)), "metrics": metrics, "splits": SPLITS, "seed": seed,
        "mel_floor_db": FLOOR_DB,
    }  # fmt: skip
    result = {"settings": settings, "classifier": classifier and classifier.description, "rows": [], "failed": {}}
    real = {REAL_TRAIN: train, REAL_TEST: test}
    _check_earlier(earlier, result, (*real, *experiments))
    evaluator = Evaluator(train, classifier, metrics, SPLITS, compared)
    rows = {name: lambda count, seed, sounds=sounds: (drawn(sounds, count, seed), {}) for name, sounds in real.items()}
    for name, sounds_of in (rows | experiments).items():
        tqdm.write(one_line(f"Scoring {name}."))
        try:
            sounds, details = sounds_of(count, seed)
            result["rows"].append({"experiment": name} | details | evaluator.scores(sounds, progress=True))
        except (Exception, KeyboardInterrupt) as error:
            if name in real:
                raise
            result["failed"][name] = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, KeyboardInterrupt):
                break
    for each in earlier:
        result["rows"] += [row for row in each["rows"] if row["experiment"] not in real]
        result["failed"] |= each["failed"]
    _note_relatives(result["rows"])
    return result


def usable_metrics(metrics, label, train):
    """Return the names of usable metrics, without those that need a classifier if there can be none, and its label or None.

    Raises:
        InputError: there is no such metric or label, or a requirement of an explicitly requested metric is missing.
    """
    for name in metrics or ():
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    names = list(DEFAULT_METRICS if metrics is None else metrics)
    if "musicnn" in names:
        musicnn_folder()
    if not set(names) & {*NEED_CLASSIFIER, "pitch"}:
        if label is not None:
            raise InputError(f"The label {label} is for metrics that need a classifier. Received: {', '.join(names)}.")
        return names, None
    try:
        return names, usable_label(train, label)
    except InputError as error:
        if label is not None or (metrics is not None and NEED_CLASSIFIER & set(metrics)):
            raise
        names = [name for name in names if name not in NEED_CLASSIFIER]
        tqdm.write(f"Scored without a classifier, by {', '.join(names)} alone. {error}")
        return names, None


def _note_relatives(rows):
    """Add scores relative to those of real sounds.

    The diversity of generated sounds is relative to that of equally many training sounds, which are drawn at random, too. Test
    sounds may come in pairs with a small distance, such as a note at two velocities.
    """
    rows_by_name = {row["experiment"]: row for row in rows}
    for row in rows:
        for name, column in COLUMNS.items():
            real = column.relative and rows_by_name[column.relative].get(name)
            if real and name in row:
                row[f"{name}_relative"] = row[name] / real


def generated(synthesizer, count, seed):
    """Return `Sounds` of a `Synthesizer`. For a conditional one, labels are as frequent as in its training data.

    Raises:
        InputError: the sounds are not finite.
    """
    latents, labels = synthesizer.latents(count, seed), synthesizer.chosen_labels(count, seed=seed)
    clips = []
    starts = range(0, count, BATCH_SIZE)
    for start in tqdm(starts, "Generating", unit="batch", leave=False, disable=len(starts) < SHOWN_BATCHES):
        batch = slice(start, start + BATCH_SIZE)
        audio = synthesizer.generate(latents[batch], {kind: values[batch] for kind, values in labels.items()})
        if not np.isfinite(audio).all():
            raise InputError("Sounds must be finite. Received: NaN or infinity from the generator.")
        clips.append(to_int16(audio))
    ids = [str(i) for i in range(count)]
    return Sounds(np.concatenate(clips), synthesizer.sample_rate_hz, ids, labels, synthesizer.labels.names)


def folder_sounds(path, clipping, count, seed):
    """Return the first clip of each sound file in a folder as `Sounds`, in random order, at the file's level.

    Files with another sample rate are resampled, and files of another length are cut or padded with zeros; both are reported. A
    file `labels.csv` in the folder, with the columns `file` and `pitch`, gives the requested pitches.

    Raises:
        InputError: there is no usable sound.
    """
    path = Path(path).expanduser().resolve()  # so that a folder named notes is not taken for the built-in set
    labels_csv = path / "labels.csv"
    clipping = replace(clipping, slicing="first", overlap=0.0, pad_end=True, silence_db=None, normalize=False)
    if is_prepared(path):
        clipping = Clipping(**clipping_of(path))
    sounds = load_sounds(str(path), labels_csv=str(labels_csv) if labels_csv.is_file() else None, clipping=clipping)
    other_rate, other_length = _count_others(path, clipping)
    resampled = f"{other_rate} of the files were resampled to {clipping.sample_rate_hz} Hz"
    resized = f"{other_length} of the files were cut or filled up to {clipping.length_samples} samples"
    for changed, told in ((other_rate, resampled), (other_length, resized)):
        if changed:
            tqdm.write(one_line(f"{path}: {told}."))
    return drawn(sounds, count, seed)


def _count_others(path, clipping):
    """Return the number of files with another sample rate and the number with another duration."""
    other_rate = other_length = 0
    for file in find_audio(path)[0]:
        try:
            decoded = read_audio(file, clipping.sample_rate_hz, clipping.channels)
        except ValueError:  # skipped files have already been reported
            continue
        other_rate += decoded.file_rate_hz != clipping.sample_rate_hz
        other_length += len(decoded.audio) != clipping.length_samples
    return other_rate, other_length


def _check_earlier(earlier, result, names):
    """Raise an InputError if an earlier result used another classifier or other settings, or if a name occurs twice."""
    known = set(names)
    for each in earlier:
        prints = [table["classifier"] and table["classifier"]["fingerprint"] for table in (each, result)]
        if prints[0] != prints[1]:
            raise InputError(
                f"Scores of different classifiers are not comparable. Received: {prints[0]}, here it is {prints[1]}."
            )
        changed = [name for name, value in result["settings"].items() if each["settings"].get(name) != value]
        if changed:
            raise InputError(f"Scores are comparable only with the same settings. Received: another {' and '.join(changed)}.")
        new = [row["experiment"] for row in each["rows"] if row["experiment"] not in (REAL_TRAIN, REAL_TEST)]
        if known & set(new):
            raise InputError(f"Each experiment needs a name of its own. Received twice: {', '.join(sorted(known & set(new)))}.")
        known |= set(new)
