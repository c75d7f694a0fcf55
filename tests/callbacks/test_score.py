import csv

import keras
import numpy as np
import pytest

from kgan.callbacks import Checkpoint, Score
from kgan.data.pipeline import training_dataset
from kgan.errors import InputError
from kgan.evaluation.evaluate import generated
from kgan.gans import DCGAN
from kgan.representations import Wave
from kgan.synthesizer import GANSynthesizer


class Told:
    """Stands for an `Evaluator`: the scores are told in advance, in order."""

    classifier = None

    def __init__(self, *values):
        self.values = list(values)
        self.seen = []

    def scores(self, sounds):
        self.seen.append(sounds.audio.copy())
        return {"count": len(sounds), "frechet_distance": self.values.pop(0), "d_self": 1.5, "warnings": []}


@pytest.fixture
def fit(tiny_sounds, tmp_path, make_gan):
    """Return a function that trains a DCGAN with a `Score` that is told its scores, and returns both."""

    def run(evaluator, steps, gan=None, epochs=1, others=(), **options):
        gan = gan or make_gan(DCGAN)
        checkpoint = Checkpoint(tmp_path / "checkpoints")
        synthesizer = GANSynthesizer(gan, Wave(1024), 16000)
        score = Score(synthesizer, evaluator, tmp_path, every_steps=2, count=6, checkpoint=checkpoint, **options)
        dataset = training_dataset(tiny_sounds, Wave(1024), batch_size=4, start_step=int(gan.step))
        score.history = gan.fit(
            dataset, steps_per_epoch=steps, epochs=epochs, verbose=0, callbacks=[checkpoint, score, *others]
        ).history
        return gan, score

    return run


def test_rows_picture_and_the_best_checkpoint(fit, tmp_path, make_gan):
    evaluator = Told(9.0, 4.0, 6.0, 7.0)
    _, score = fit(evaluator, 7)
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    assert [(row["step"], row["frechet_distance"], row["d_self"]) for row in rows] == [
        ("2", "9.0", "1.5"), ("4", "4.0", "1.5"), ("6", "6.0", "1.5"), ("7", "7.0", "1.5"),  # the last at the end
    ]  # fmt: skip
    assert (tmp_path / "scores.png").read_bytes()[:4] == b"\x89PNG"
    assert score.best_step == 4
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best_step_00000004", "step_00000007"]
    best = make_gan(DCGAN)
    assert Checkpoint(tmp_path / "checkpoints").restore(best, best=True) == 4
    sounds = generated(GANSynthesizer(best, Wave(1024), 16000), 6, seed=0)
    np.testing.assert_array_equal(sounds.audio, evaluator.seen[1])  # what was scored is what is kept


def test_it_stops_when_scores_no_longer_improve(fit, capsys):
    gan, _ = fit(Told(9.0, 4.0, 5.0, 6.0, 3.0), 20, patience=2)
    assert int(gan.step) == 8
    assert "best frechet_distance was at step 4, 2 scores ago" in capsys.readouterr().out


def test_scores_are_among_the_logs_of_an_epoch_for_other_callbacks(fit):
    stop = keras.callbacks.EarlyStopping("frechet_distance", mode="min", patience=2)
    gan, score = fit(Told(9.0, 4.0, 5.0, 6.0, 3.0), 2, epochs=9, others=[stop])
    assert score.history["frechet_distance"] == [9.0, 4.0, 5.0, 6.0]
    assert gan.steps_done == 8


def test_more_is_better_for_some_scores(fit):
    class Rising(Told):
        def scores(self, sounds):
            return {"count": 6, "inception_score": self.values.pop(0), "warnings": []}

    assert fit(Rising(1.0, 3.0, 2.0), 6, monitor="inception_score")[1].best_step == 4


def test_a_resumed_run_knows_its_best(fit, make_gan, tmp_path):
    gan, _ = fit(Told(9.0, 4.0), 4)
    gan, score = fit(Told(5.0), 2, gan=gan)
    assert [row["step"] for row in score.rows] == [2, 4, 6]
    assert score.best_step == 4
    assert (tmp_path / "checkpoints/best_step_00000004").is_dir()
    _, score = fit(Told(3.0), 2, gan=gan)
    assert score.best_step == 8
    assert [path.name for path in (tmp_path / "checkpoints").glob("best_*")] == ["best_step_00000008"]


def test_scores_had_otherwise_do_not_count(fit, tmp_path, capsys):
    gan, _ = fit(Told(9.0, 1.0), 4)
    rows = (tmp_path / "scores.csv").read_text().replace(",none,", ",another,")
    (tmp_path / "scores.csv").write_text(rows)
    _, score = fit(Told(5.0), 2, gan=gan)
    assert [row["step"] for row in score.rows] == [6]
    assert "another classifier are not comparable: they start anew" in capsys.readouterr().out


def test_sounds_that_cannot_be_scored_do_not_end_training(fit, capsys):
    class Refusing(Told):
        def scores(self, sounds):
            raise InputError("Sounds must be finite.")

    gan, score = fit(Refusing(), 3)
    assert (int(gan.step), score.rows) == (3, [])
    assert "Step 2 is not scored. Sounds must be finite." in capsys.readouterr().out


def test_broken_weights_are_not_scored(fit):
    class Break(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weight = self.model.generator.trainable_variables[0]
            weight.assign(weight * np.nan)

    gan, score = fit(Told(1.0), 1)
    Break.model = gan
    Break().on_train_batch_end(0)
    gan.step.assign(2)
    score.score()
    assert [row["step"] for row in score.rows] == [1]


def test_a_file_of_another_origin_is_refused(fit, tmp_path):
    (tmp_path / "scores.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is not a file that kgan wrote"):
        fit(Told(), 2)


def test_only_scores_with_a_direction_can_be_monitored(make_gan, tmp_path):
    with pytest.raises(ValueError, match="`monitor` must be one of inception_score, frechet_distance"):
        Score(GANSynthesizer(make_gan(), Wave(1024), 16000), Told(), tmp_path, monitor="d_self")


def test_a_score_that_the_evaluator_does_not_tell_cannot_be_monitored(fit):
    with pytest.raises(InputError, match="one of the evaluator's scores, frechet_distance, d_self. Received: musicnn_frechet"):
        fit(Told(9.0), 2, monitor="musicnn_frechet")
