"""All scores of a set of sounds, relative to real sounds."""

import functools
from collections.abc import Sequence

import numpy as np

from kgan.audio.envelope import attack_ms
from kgan.audio.pitch import FRAME_S
from kgan.audio.signal import SILENT_PEAK, mono
from kgan.data.shards import ShardedSounds
from kgan.data.sounds import Sounds, has_pitches
from kgan.errors import InputError
from kgan.evaluation.classifier import Classifier
from kgan.evaluation.distances import frechet_distance, kernel_distance
from kgan.evaluation.diversity import mean_nearest_distance
from kgan.evaluation.envelope import level_noise_db
from kgan.evaluation.inception_score import SPLITS, effective_classes, inception_score
from kgan.evaluation.log_mel import LogMel
from kgan.evaluation.musicnn import Musicnn
from kgan.evaluation.ndb import Bins
from kgan.evaluation.pitch_scores import pitch_accuracy, pitch_entropy, pitchedness

SOUNDS = 5_000  # of each set that is scored
COMPARED_SOUNDS = 1_000  # of these, for all scores except the inception score
REFERENCE_SOUNDS = 10_000
BATCH_SIZE = 64
MEL_FFT_SAMPLES = 2048


def check_length(sounds):
    """Check that clips are long enough for pitch estimation and mel spectrograms.

    Raises:
        InputError: they are shorter than 0.128 s or 2048 samples.
    """
    length_samples, least = sounds.waveforms([0]).shape[1], max(round(FRAME_S * sounds.sample_rate_hz), MEL_FFT_SAMPLES)
    if length_samples < least:
        raise InputError(f"Scores need clips of at least {least} samples. Received: {length_samples}.")


class Evaluator:
    """Scores sounds relative to the real sounds that a generator was trained on.

    Sounds are rounded to 16 bits, so that a generator and a folder of its WAV files get the same scores.

    Args:
        train: real `Sounds`.
        classifier: a `Classifier` of the same data; None if no metric needs one.
        metrics: names out of `METRICS`; None for all except `musicnn`, which needs an extra package.
        splits: number of splits of the inception score.
        compared: number of sounds of a set for all scores except the inception score. These scores depend on the number, so it
            must be the same for all sets that are compared, including real test sounds.
        references: maximum number of real sounds that embeddings and log mel spectrograms are compared with.
        seed: seed of the chosen sounds and of the bins.

    Raises:
        InputError: a metric needs a classifier or a package that is missing, or the sounds are shorter than 0.128 s or 2048
            samples.
    """

    def __init__(
        self,
        train: Sounds | ShardedSounds,
        classifier: Classifier | None,
        metrics: Sequence[str] | None = None,
        splits: int = SPLITS,
        compared: int = COMPARED_SOUNDS,
        references: int = REFERENCE_SOUNDS,
        seed: int = 0,
    ):
        self.metrics = tuple(DEFAULT_METRICS if metrics is None else metrics)
        for name in self.metrics:
            if name in NEED_CLASSIFIER and classifier is None:
                raise InputError(f"The metric {name} needs a classifier. Received: none.")
        check_length(train)
        self.classifier, self.splits, self.compared, self.seed = classifier, splits, compared, seed
        self.log_mel = LogMel(train.sample_rate_hz, MEL_FFT_SAMPLES)
        self.musicnn = Musicnn() if "musicnn" in self.metrics else None
        self._real = _Observed(drawn(train, references, seed), self, references)

    @functools.cached_property
    def bins(self):
        return Bins(self._real.log_mels, seed=self.seed)

    def scores(self, sounds, progress=False):
        """Return the scores of `Sounds`, and `warnings`: sentences about problems that make the scores unreliable.

        If the sounds have the classifier's label, some scores, such as `attack_ms`, are also reported for each of its values,
        as `attack_ms_by_label`.

        Args:
            sounds: `Sounds` with the sample rate and length of the real ones, in random order. Their labels, `pitch` and the
                classifier's, are the requested ones.
            progress: whether to show progress bars.

        Raises:
            InputError: there are too few sounds for a metric, or they have another sample rate or length.
        """
        here, real = ((each.sample_rate_hz, each.waveforms([0]).shape[1:]) for each in (sounds, self._real.sounds))
        if here != real:
            raise InputError(
                f"Sounds must be like the real ones, {real[1]} at {real[0]} Hz. Received: {here[1]} at {here[0]} Hz."
            )
        observed = _Observed(sounds, self, self.compared, progress)
        found = {"count": len(sounds)}
        for name in self.metrics:
            found |= METRICS[name](self, observed)
        peaks = np.concatenate([np.abs(batch).reshape(len(batch), -1).max(axis=1) for batch in _batches(sounds)])
        silent = int((peaks < SILENT_PEAK).sum())
        found["warnings"] = [f"{silent} of {len(sounds)} sounds are silent."] if silent else []
        if len(sounds) < self.compared:
            found["warnings"].append(f"Only {len(sounds)} sounds: its scores are not comparable with those of {self.compared}.")
        return found

    def _inception(self, observed):
        mean, deviation = inception_score(observed.predictions.label, self.splits)
        classes = effective_classes(observed.predictions.label[: self.compared])
        return {"inception_score": mean, "inception_score_std": deviation, "effective_classes": classes}

    def _label(self, observed):
        if observed.asked is None:
            return {}
        classes = np.array(self.classifier.description["classes"])
        right = classes[observed.predictions.label[: self.compared].argmax(axis=1)] == observed.asked
        return {"label_accuracy": float(right.mean()), "label_accuracy_by_label": by_label(np.mean, right, observed.asked)}

    def _diversity(self, observed):
        real = self._real.some
        return {
            "d_self": mean_nearest_distance(observed.some),
            "d_train": mean_nearest_distance(observed.some, real),
            "mel_d_self": mean_nearest_distance(observed.log_mels),
            "mel_d_train": mean_nearest_distance(observed.log_mels, self._real.log_mels),
        }

    def _frechet(self, observed):
        embeddings = observed.predictions.embedding[: self.compared], self._real.predictions.embedding
        return {"frechet_distance": frechet_distance(*embeddings), "kernel_distance": kernel_distance(*embeddings)}

    def _musicnn(self, observed):
        features = observed.musicnn, self._real.musicnn
        return {"musicnn_frechet": frechet_distance(*features), "musicnn_kernel": kernel_distance(*features)}

    def _ndb(self, observed):
        return {"ndb": self.bins.differing_share(observed.log_mels)}

    def _pitch(self, observed):
        asked = observed.sounds.labels["pitch"][: self.compared] if has_pitches(observed.sounds) else None
        scores = {}
        if asked is not None and self.classifier is not None and observed.predictions.pitch is not None:
            pitch = observed.predictions.pitch[: self.compared]
            scores = {"pitch_accuracy": pitch_accuracy(pitch, asked), "pitch_entropy": pitch_entropy(pitch)}
        return scores | pitchedness(
            mono(observed.sounds.waveforms(slice(self.compared))), self._real.sounds.sample_rate_hz, asked
        )

    def _envelope(self, observed):
        audio, rate_hz = mono(observed.sounds.waveforms(slice(self.compared))), self._real.sounds.sample_rate_hz
        scores = {}
        for name, values in (
            ("level_noise_db", level_noise_db(audio, rate_hz)),
            ("attack_ms", attack_ms(audio, rate_hz)),
        ):
            heard = np.isfinite(values)  # silence has no attack
            if heard.any():
                scores[name] = float(np.median(values[heard]))
                if observed.asked is not None:
                    scores[f"{name}_by_label"] = by_label(np.median, values[heard], observed.asked[heard])
        return scores


METRICS = {
    "inception": Evaluator._inception,
    "label": Evaluator._label,
    "diversity": Evaluator._diversity,
    "frechet": Evaluator._frechet,
    "ndb": Evaluator._ndb,
    "pitch": Evaluator._pitch,
    "envelope": Evaluator._envelope,
    "musicnn": Evaluator._musicnn,
}
DEFAULT_METRICS = tuple(name for name in METRICS if name != "musicnn")
NEED_CLASSIFIER = {"inception", "label", "frechet"}


class _Observed:
    """Sounds with the features that several scores need; each feature is computed once, when it is first used."""

    def __init__(self, sounds, evaluator, compared, progress=False):
        self.sounds, self._evaluator, self._compared, self._progress = sounds, evaluator, compared, progress

    @functools.cached_property
    def predictions(self):
        return self._evaluator.classifier.predict(self.sounds, self._progress)

    @functools.cached_property
    def asked(self):
        """The requested values of the classifier's label, texts `(compared,)`; None if a sound has none."""
        kind = self._evaluator.classifier and self._evaluator.classifier.description["label"]
        if kind not in self.sounds.labels:
            return None
        names, values = self.sounds.label_names.get(kind), self.sounds.labels[kind][: self._compared]
        if names and values.min() < 0:
            return None
        return np.array([names[value] if names else str(value) for value in values])

    @functools.cached_property
    def musicnn(self):
        indices = np.arange(min(self._compared, len(self.sounds)))
        return self._evaluator.musicnn.embed(self.sounds.subset(indices), self._progress)

    @functools.cached_property
    def some(self):
        waveforms = self.sounds.waveforms(slice(self._evaluator.compared))
        return waveforms.reshape(len(waveforms), -1)

    @functools.cached_property
    def log_mels(self):
        """Log mel spectrograms of the sounds to compare, each as one row."""
        batches = _batches(self.sounds, self._compared)
        spectrograms = (self._evaluator.log_mel(mono(batch)).numpy() for batch in batches)
        return np.concatenate([batch.reshape(len(batch), -1) for batch in spectrograms])


def by_label(statistic, values, labels):
    """Return `{label: statistic of the values with that label}`, in alphabetical order of the labels."""
    return {str(label): float(statistic(values[labels == label])) for label in np.unique(labels)}


def drawn(sounds, count, seed):
    """Return `count` sounds in random order, or all sounds if there are fewer."""
    return sounds.subset(np.random.default_rng(seed).permutation(len(sounds))[:count])


def _batches(sounds, count=None):
    stop = len(sounds) if count is None else min(count, len(sounds))
    for start in range(0, stop, BATCH_SIZE):
        yield sounds.waveforms(slice(start, min(start + BATCH_SIZE, stop)))
