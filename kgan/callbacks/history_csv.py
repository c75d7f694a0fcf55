from pathlib import Path

import keras

from kgan.callbacks.rows import read_rows, write_rows


class HistoryCSV(keras.callbacks.Callback):
    """Write the logs of each epoch to a CSV file, which a resumed run continues.

    If the file exists, its rows up to the model's step are kept: a run that was killed resumes from a checkpoint and repeats
    the rows after it. (`keras.callbacks.CSVLogger` would write them twice, and add an empty `val_` column for each term.)

    Args:
        path: the CSV file. Its first column is `step`, the total number of iterations.
    """

    def __init__(self, path: str | Path):
        super().__init__()
        self.path = Path(path)
        self._rows = []

    def on_train_begin(self, logs=None):
        self._rows = read_rows(self.path, self.model.steps_done)

    def on_epoch_end(self, epoch, logs=None):
        terms = {name: f"{value:.6g}" for name, value in (logs or {}).items()}
        self._rows.append({"step": self.model.steps_done, **terms})
        write_rows(self.path, self._rows)
