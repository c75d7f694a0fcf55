from pathlib import Path

import keras
import tensorflow as tf

from kgan.callbacks.rows import read_rows, write_rows
from kgan.files import tensorflow_path

GROUPS = {"loss": "losses", "gap": "losses", "penalty": "penalties", "norm": "gradients", "second": "speed"}  # by the last word


class HistoryCSV(keras.callbacks.Callback):
    """Write the mean of every term over the last `every_steps` iterations to a CSV file, and to TensorBoard, in groups.

    The means of the model are reset after each row. Where the file exists, its rows up to the model's step are kept and
    new ones follow, so that a resumed run reads as one.

    Args:
        path: the CSV file; its first column is `step`. None writes nothing, but resets the means: all processes of a job have
            to do that together.
        every_steps: iterations between rows.
        log_dir: folder of TensorBoard's scalars; None for none.
    """

    def __init__(self, path, every_steps=20, log_dir=None):
        super().__init__()
        self.path = None if path is None else Path(path)
        self.every_steps = every_steps
        self.log_dir = log_dir
        self._rows = []
        self._writer = None

    def on_train_begin(self, logs=None):
        self._rows = read_rows(self.path, self.model.steps_done) if self.path else []
        if self.log_dir is not None:
            self._writer = tf.summary.create_file_writer(tensorflow_path(self.log_dir))

    def on_train_batch_end(self, batch, logs=None):
        step = self.model.steps_done
        if step % self.every_steps:
            return
        self._rows.append({"step": step, **{name: f"{value:.6g}" for name, value in (logs or {}).items()}})
        if self.path:
            write_rows(self.path, self._rows)
        if self._writer is not None:
            with self._writer.as_default(step=step):
                for name, value in (logs or {}).items():
                    tf.summary.scalar(f"{GROUPS.get(name.rpartition('_')[2], 'other')}/{name}", value)
            self._writer.flush()
        self.model.reset_metrics()

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
