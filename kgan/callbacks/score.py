from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.callbacks.checkpoint import Checkpoint
from kgan.callbacks.preview import in_notebook
from kgan.callbacks.rows import read_rows, write_rows
from kgan.errors import InputError
from kgan.evaluation.evaluate import generated
from kgan.evaluation.evaluator import Evaluator
from kgan.evaluation.table import COLUMNS, curves
from kgan.files import tensorflow_path, whole_file
from kgan.synthesizer import GANSynthesizer


class Score(keras.callbacks.Callback):
    """Score the sounds every few iterations, plot the scores, keep the best checkpoint, and stop when they stop improving.

    Rewrites `scores.csv` and `scores.png` at each scoring. If `scores.csv` exists, its rows up to the model's step are kept.
    The latest scores are also added to the logs of an epoch, for callbacks listed after this one, such as
    `keras.callbacks.EarlyStopping("frechet_distance", mode="min")`.

    Args:
        synthesizer: the `GANSynthesizer` that makes the sounds.
        evaluator: the `Evaluator` that computes the scores.
        directory: folder of the two files.
        every_steps: iterations between two scorings.
        count: number of sounds to score, always from the same latents.
        monitor: name of the evaluator's score that decides which step is best.
        checkpoint: the `Checkpoint` that keeps the best step; None keeps none.
        patience: number of scorings without improvement before training stops, including those before a resume; None never
            stops it.
        real: `{name: score}` of real sounds, for the picture; None for none.
        log_dir: folder of TensorBoard's scalars; None for none.

    Attributes:
        rows: a dictionary for each scoring, with `step`, the scores and, if there is a checkpoint, the training time
            `minutes` and the processor time `cpu_minutes`.
        best_step: the step with the best score; None before the first scoring.

    Raises:
        ValueError: `monitor` is not the name of a score that can be better or worse.
        InputError: during training, the evaluator does not compute `monitor`.
    """

    def __init__(
        self,
        synthesizer: GANSynthesizer,
        evaluator: Evaluator,
        directory: str | Path,
        every_steps: int = 500,
        count: int = 500,
        monitor: str = "frechet_distance",
        checkpoint: Checkpoint | None = None,
        patience: int | None = None,
        real: Mapping[str, Any] | None = None,
        log_dir: str | Path | None = None,
    ):
        super().__init__()
        if monitor not in COLUMNS or not COLUMNS[monitor].better:
            valid = ", ".join(name for name, column in COLUMNS.items() if column.better)
            raise ValueError(f"`monitor` must be one of {valid}. Received: monitor={monitor!r}")
        self.synthesizer, self.evaluator, self.directory = synthesizer, evaluator, Path(directory)
        self.every_steps, self.count, self.monitor = every_steps, count, monitor
        self.checkpoint, self.patience, self.real, self.log_dir = checkpoint, patience, real, log_dir
        self.rows = []
        self._writer = None

    @property
    def best_step(self) -> int | None:
        rows = [row for row in self.rows if self.monitor in row]
        return max(rows, key=lambda row: COLUMNS[self.monitor].better * row[self.monitor])["step"] if rows else None

    @property
    def _how(self):
        classifier = self.evaluator.classifier
        return {"sounds": self.count, "classifier": classifier.description["fingerprint"] if classifier else "none"}

    def on_train_begin(self, logs=None):
        told = read_rows(self.directory / "scores.csv", self.model.steps_done)
        same = [row for row in told if (row.get("sounds"), row.get("classifier")) == tuple(map(str, self._how.values()))]
        if len(same) < len(told):
            tqdm.write("Scores of another number of sounds or another classifier are not comparable: they start anew.")
        self.rows = [
            {
                "step": int(row["step"]),
                **self._how,
                **{name: float(row[name]) for name in ("minutes", "cpu_minutes", *COLUMNS) if row.get(name)},
            }
            for row in same
        ]
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(tensorflow_path(self.log_dir))

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_done % self.every_steps == 0:
            self.score()

    def on_epoch_end(self, epoch, logs=None):
        if self.rows and logs is not None:
            logs |= {name: value for name, value in self.rows[-1].items() if name in COLUMNS}

    def on_train_end(self, logs=None):
        self.score()
        if self._writer is not None:
            self._writer.close()

    def score(self) -> None:
        """Score now, unless this step is already scored or its weights are not finite."""
        step = self.model.steps_done
        if any(row["step"] == step for row in self.rows) or not all(map(_finite, self.model.best_generator.weights)):
            return
        self.synthesizer.refresh(self.model)
        try:
            scores = self.evaluator.scores(generated(self.synthesizer, self.count, seed=0))
        except InputError as error:
            tqdm.write(f"Step {step} is not scored. {error}")
            return
        scores = {name: value for name, value in scores.items() if name in COLUMNS}
        clocks = {"minutes": "training_s", "cpu_minutes": "training_cpu_s"} if self.checkpoint is not None else {}
        if self.monitor not in scores:
            raise InputError(f"`monitor` must be one of the evaluator's scores, {', '.join(scores)}. Received: {self.monitor}.")
        spent = {name: round(getattr(self.checkpoint, clock) / 60, 2) for name, clock in clocks.items()}
        self.rows.append({"step": step, **self._how, **spent, **scores})
        if self.best_step == step and self.checkpoint is not None:
            self.checkpoint.save_best()
        write_rows(self.directory / "scores.csv", self.rows)
        picture = curves({"this run": self.rows}, self.real, self.best_step)
        with whole_file(self.directory / "scores.png") as scratch:
            scratch.write_bytes(picture)
        if self._writer is not None:
            with self._writer.as_default(step=step):
                for name, value in scores.items():
                    tf.summary.scalar(f"scores/{name}", value)
            self._writer.flush()
        if in_notebook():
            from IPython.display import Image, display

            display(Image(picture))
        since = sum(row["step"] > self.best_step for row in self.rows)
        if self.patience is not None and since >= self.patience:
            tqdm.write(f"The best {self.monitor} was at step {self.best_step}, {since} scores ago; training stops.")
            self.model.stop_training = True


def _finite(weight):
    return np.isfinite(weight.numpy()).all()
