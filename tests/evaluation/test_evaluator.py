from dataclasses import replace

import numpy as np
import pytest

from kgan.data.sounds import Sounds
from kgan.errors import InputError
from kgan.evaluation import (
    Evaluator,
    attack_ms,
    effective_classes,
    frechet_distance,
    inception_score,
    level_noise_db,
    mean_nearest_distance,
)
from kgan.evaluation.classifier import Predictions
from kgan.evaluation.evaluator import drawn
from kgan.evaluation.log_mel import LogMel
from tests.evaluation.conftest import LENGTH, RATE_HZ


@pytest.fixture(scope="module")
def evaluator(parts, classifier):
    return Evaluator(parts[0], classifier, compared=60)


def test_the_scores_are_those_of_their_functions(evaluator, parts, classifier):
    train, _, test = parts
    scores = evaluator.scores(test)
    real = drawn(train, len(train), seed=0)
    predictions = classifier.predict(test)
    assert (scores["inception_score"], scores["inception_score_std"]) == inception_score(predictions.label)
    assert scores["effective_classes"] == effective_classes(predictions.label[:60])
    assert scores["level_noise_db"] == np.median(level_noise_db(test.waveforms(slice(60)), RATE_HZ))
    assert scores["attack_ms"] == np.median(attack_ms(test.waveforms(slice(60)), RATE_HZ))
    assert scores["d_self"] == mean_nearest_distance(test.waveforms(slice(60)))
    assert scores["d_train"] == mean_nearest_distance(test.waveforms(slice(60)), real.waveforms(slice(60)))
    log_mel = LogMel(RATE_HZ, 2048)
    mine, theirs = (log_mel(sounds.waveforms()).numpy().reshape(len(sounds), -1) for sounds in (test, real))
    assert scores["mel_d_self"] == pytest.approx(mean_nearest_distance(mine[:60]), rel=1e-5)
    assert scores["mel_d_train"] == pytest.approx(mean_nearest_distance(mine[:60], theirs), rel=1e-5)
    expected = frechet_distance(predictions.embedding[:60], classifier.predict(real).embedding)
    assert scores["frechet_distance"] == pytest.approx(expected, rel=1e-6)
    assert scores["count"] == 90
    assert scores["warnings"] == []


def test_labels_that_were_asked_for_are_heard_or_not(evaluator, parts, classifier):
    test = parts[2]
    heard = classifier.predict(test).label[:60].argmax(axis=1)
    right = heard == test.labels["family"][:60]
    scores = evaluator.scores(test)
    assert scores["label_accuracy"] == right.mean() > 0.9
    squares = test.labels["family"][:60] == 1
    assert scores["label_accuracy_by_label"]["square"] == right[squares].mean()
    attacks = attack_ms(test.waveforms(slice(60)), RATE_HZ)
    assert scores["attack_ms_by_label"]["square"] == np.median(attacks[squares])
    assert list(scores["level_noise_db_by_label"]) == ["noise", "sine", "square"]
    others = replace(test, labels={"family": (test.labels["family"] + 1) % 3})
    assert evaluator.scores(others)["label_accuracy"] <= 1.0 - right.mean()


def test_labels_are_compared_by_name(evaluator, parts):
    """A generator may number names in another order, and know one that the data has not."""
    test = parts[2]
    names = ["square", "bell", "noise", "sine"]
    renumbered = replace(test, labels={"family": np.array([3, 0, 2])[test.labels["family"]]}, label_names={"family": names})
    assert evaluator.scores(renumbered)["label_accuracy"] == evaluator.scores(test)["label_accuracy"]
    bells = replace(test, labels={"family": np.ones(90, np.int32)}, label_names={"family": names})
    assert evaluator.scores(bells)["label_accuracy_by_label"] == {"bell": 0.0}


def test_labels_without_names_are_told_by_number(parts):
    """Instruments 7 and 40, of which the classifier hears every second sound as the other."""

    class EverySecond:
        description = {"label": "instrument", "classes": ["7", "40"]}

        def predict(self, sounds, progress=False):
            heard = (sounds.labels["instrument"] == 40) ^ (np.arange(len(sounds)) % 2 == 1)
            return Predictions(np.eye(2)[heard.astype(int)], None, None)

    instrument = np.repeat([7, 40, 40], 30).astype(np.int32)
    sounds = replace(parts[2], labels={"instrument": instrument}, label_names={})
    scores = Evaluator(parts[0], EverySecond(), ["label"], compared=45).scores(sounds)
    assert scores["label_accuracy"] == pytest.approx(23 / 45)
    assert scores["label_accuracy_by_label"] == {"40": pytest.approx(8 / 15), "7": 0.5}


def test_sounds_that_lack_the_label_have_no_score_of_it(evaluator, parts):
    for labels in ({}, {"family": np.r_[parts[2].labels["family"][:-1], np.int32(-1)]}):
        scores = evaluator.scores(replace(parts[2], labels=labels).subset(np.arange(90)[::-1]))
        assert "label_accuracy" not in scores
        assert not [name for name in scores if name.endswith("_by_label")]
        assert scores["attack_ms"] >= 0.0


def test_real_training_sounds_repeat_themselves(evaluator, parts):
    scores = evaluator.scores(drawn(parts[0], 60, seed=0))
    assert scores["mel_d_train"] == 0.0
    assert scores["d_train"] == 0.0
    assert scores["d_self"] > 0.0


def test_scores_order_real_collapsed_and_noisy_sounds(evaluator, parts, rng):
    test = parts[2]
    good = evaluator.scores(test)
    sines = np.flatnonzero(test.labels["family"] == 0)
    collapsed = evaluator.scores(test.subset(np.resize(sines, 90)))
    noise = evaluator.scores(replace(test, audio=rng.integers(-9000, 9000, test.audio.shape).astype(np.int16)))
    for bad in (collapsed, noise):
        assert bad["inception_score"] < good["inception_score"]
        assert bad["frechet_distance"] > 2 * good["frechet_distance"]
        assert bad["ndb"] > good["ndb"]
    assert collapsed["mel_d_self"] < 0.1 * good["mel_d_self"]
    assert noise["pitch_accuracy"] < good["pitch_accuracy"]
    assert noise["pitched"] == 0.0


def test_a_silent_generator_scores_one_and_is_told(evaluator, parts):
    silent = replace(parts[2], audio=np.zeros_like(parts[2].audio))
    scores = evaluator.scores(silent)
    assert scores["inception_score"] == pytest.approx(1.0, abs=1e-9)
    assert scores["warnings"] == ["90 of 90 sounds are silent."]
    assert scores["d_self"] == 0.0
    assert "attack_ms" not in scores  # silence has none
    numbers = [value for name, value in scores.items() if name != "warnings" and not name.endswith("_by_label")]
    assert np.isfinite(numbers).all()


def test_sounds_without_pitches_or_classifier(parts):
    sounds = replace(parts[2], labels={})
    scores = Evaluator(parts[0], None, ["diversity", "pitch"], compared=50).scores(sounds)
    assert set(scores) == {
        "count", "d_self", "d_train", "mel_d_self", "mel_d_train", "harmonicity", "pitched", "warnings"
    }  # fmt: skip
    with pytest.raises(InputError, match="inception needs a classifier"):
        Evaluator(parts[0], None, ["inception"])


def test_stereo_is_scored_by_its_mean_and_its_channels(parts):
    train, _, test = (replace(part, audio=np.stack([part.audio, part.audio // 2], axis=2)) for part in parts)
    scores = Evaluator(train, None, ["diversity", "pitch"], compared=50).scores(test)
    assert scores["d_self"] == mean_nearest_distance(test.waveforms(slice(50)).reshape(50, -1))


def test_clips_too_short_to_score(classifier):
    short = Sounds(np.zeros((20, LENGTH // 2), np.int16), RATE_HZ, [str(i) for i in range(20)])
    with pytest.raises(InputError, match="at least 2048 samples. Received: 1024"):
        Evaluator(short, classifier, ["diversity"])
