"""Real sounds and experiments, scored alike."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from kgan.audio.files import find_audio
from kgan.data.load import load_sounds
from kgan.data.sounds import Sounds, to_int16
from kgan.errors import InputError, unknown_name
from kgan.evaluation.classifier import load_classifier
from kgan.evaluation.evaluator import COMPARED_SOUNDS, METRICS, NEED_CLASSIFIER, SOUNDS, Evaluator, drawn
from kgan.evaluation.inception_score import SPLITS
from kgan.evaluation.table import REAL_TEST

REAL_TRAIN = "Real (train)"


def evaluate(
    experiments, train, valid, test, data, earlier=(), architecture="mel", label=None, metrics=None, count=SOUNDS, seed=0
):
    """Score real sounds and experiments by the same classifier, numbers and seed.

    An experiment that cannot be scored costs no other: it is named in the result.

    Args:
        experiments: `{name: function}`; each function takes a count and a seed and returns `Sounds`.
        train, valid, test: real `Sounds`.
        data: what they are called.
        earlier: results of earlier calls, whose experiments are taken over.
        architecture, label: of the classifier, see `load_classifier`.
        metrics: names out of `METRICS`; None for all that the data has labels for.
        count: sounds of each.
        seed: of all that is drawn.

    Returns:
        A dictionary that JSON can hold: `settings`, `classifier`, `rows` (scores with `experiment`, `count` and `warnings`) and
        `failed` (`{experiment: reason}`).

    Raises:
        InputError: the real sounds cannot be used, there are too few, or an earlier result was had otherwise.
    """
    if metrics is None:
        metrics = [name for name in METRICS if train.labels or name not in NEED_CLASSIFIER]
        if len(metrics) < len(METRICS):
            tqdm.write(f"Without labels there is no classifier, hence no {' and no '.join(sorted(NEED_CLASSIFIER))}.")
    for name in metrics:
        if name not in METRICS:
            raise unknown_name("metric", name, METRICS)
    least = SPLITS if "inception" in metrics else 2
    if min(count, len(test), len(train)) < least:
        raise InputError(
            f"These scores need at least {least} sounds of each. Received: {count} asked for, {len(train)} to train and"
            f" {len(test)} to test on."
        )
    classifier = None
    if NEED_CLASSIFIER & set(metrics) or ("pitch" in metrics and "pitch" in train.labels):
        classifier = load_classifier(train, valid, test, architecture, label, seed)
    compared = min(COMPARED_SOUNDS, count, len(test))
    settings = {"data": data, "count": count, "compared": compared, "metrics": list(metrics), "splits": SPLITS, "seed": seed}
    result = {"settings": settings, "classifier": classifier and classifier.description, "rows": [], "failed": {}}
    for each in earlier:
        _check_comparable(each, result)
    evaluator = Evaluator(train, classifier, metrics, SPLITS, compared, seed=seed)
    real = {REAL_TRAIN: train, REAL_TEST: test}
    rows = {name: lambda count, seed, sounds=sounds: drawn(sounds, count, seed) for name, sounds in real.items()}
    for name, sounds_of in (rows | experiments).items():
        tqdm.write(f"Scoring {name}.")
        try:
            scores = evaluator.scores(sounds_of(count, seed), progress=True)
        except InputError as error:
            if name in real:
                raise
            result["failed"][name] = str(error)
        else:
            result["rows"].append({"experiment": name} | scores)
    for each in earlier:
        known = {row["experiment"] for row in result["rows"]}
        result["rows"] += [row for row in each["rows"] if row["experiment"] not in known]
    return result


def generated(synthesizer, count, seed):
    """Return `Sounds` that a `Synthesizer` makes.

    Raises:
        InputError: they are not finite.
    """
    audio = synthesizer.generate(synthesizer.latents(count, seed), progress=True)
    if not np.isfinite(audio).all():
        raise InputError("Sounds must be finite. Received: NaN or infinity from the generator.")
    return Sounds(to_int16(audio), synthesizer.sample_rate_hz, [str(i) for i in range(count)])


def folder_sounds(path, clipping, count, seed):
    """Return the first clip of each sound file in a folder as `Sounds`, in random order, at the level that the file has.

    Files of another rate are resampled; those of another length are cut, or filled up with zeros; both are said. A file
    `labels.csv` in the folder, with the columns `file` and `pitch`, says which pitches were asked for.

    Raises:
        InputError: there is no usable sound.
    """
    path = Path(path).expanduser()
    labels_csv = path / "labels.csv"
    clipping = replace(clipping, slicing="first", pad_end=True, silence_db=None, normalize=False)
    sounds = load_sounds(str(path), labels_csv=str(labels_csv) if labels_csv.is_file() else None, clipping=clipping)
    for name, reason in sounds.skipped.items():
        tqdm.write(f"  skipped: {name} {reason}")
    other_rate, other_length = _count_others(path, clipping)
    if other_rate or other_length:
        tqdm.write(
            f"{path}: {other_rate} files were resampled to {clipping.sample_rate_hz} Hz and {other_length} cut or filled up to"
            f" {clipping.length_samples} samples."
        )
    return drawn(sounds, count, seed)


def _count_others(path, clipping):
    """Return how many files of a folder have another rate, and how many another duration."""
    other_rate = other_length = 0
    for file in find_audio(path):
        try:
            info = soundfile.info(file)
        except (OSError, RuntimeError):  # libsndfile's own error is a RuntimeError: another decoder may read the file
            continue
        other_rate += info.samplerate != clipping.sample_rate_hz
        other_length += round(info.frames * clipping.sample_rate_hz / info.samplerate) != clipping.length_samples
    return other_rate, other_length


def _check_comparable(earlier, result):
    """Raise an InputError where an earlier result was had by another classifier or other settings."""
    prints = [each["classifier"] and each["classifier"]["fingerprint"] for each in (earlier, result)]
    if prints[0] != prints[1]:
        raise InputError(f"Scores of different classifiers are not comparable. Received: {prints[0]}, here it is {prints[1]}.")
    changed = [name for name, value in result["settings"].items() if earlier["settings"].get(name) != value]
    if changed:
        raise InputError(f"Scores are comparable by the same settings alone. Received: another {' and '.join(changed)}.")
