import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from kgan.files import remove_unfinished, whole_folder


class Checkpoint(keras.callbacks.Callback):
    """Save all that training goes on from, every few minutes and at the end.

    A checkpoint is a folder `step_00001000/` with `weights.npz`, which holds both networks, both optimizers, the running
    average and the step, from which order and noise follow; and `state.json`. It is written under another name and renamed,
    so that a crash at any moment leaves the one before. Nothing is saved once a loss is not finite.

    The weights are not Keras's HDF5 file: on a full disk that library ends the whole process with a segmentation fault.

    Args:
        directory: folder of the checkpoints.
        every_minutes: time between two.
        keep: how many of the newest to keep.
        representation: a layer whose statistics are saved and restored, too; None for none.

    Attributes:
        training_s: seconds of training so far, those before a resume included.

    Example:
        >>> checkpoint = Checkpoint("runs/drums/checkpoints")
        >>> checkpoint.restore(gan)  # the step that it goes on from; 0 where there is nothing yet
        0
        >>> gan.fit(dataset, steps_per_epoch=100, epochs=10, callbacks=[checkpoint])
    """

    def __init__(self, directory, every_minutes=5.0, keep=2, representation=None):
        super().__init__()
        self.directory = Path(directory)
        self.every_minutes = every_minutes
        self.keep = keep
        self.representation = representation
        self._training_s_before = 0.0
        self._began_s = self._saved_s = None
        self._healthy = True
        self._unreadable = set()

    @property
    def training_s(self):
        return self._training_s_before + (0.0 if self._began_s is None else time.monotonic() - self._began_s)

    def restore(self, gan):
        """Load the newest checkpoint that can be read into a compiled GAN and return its step, 0 without any.

        Raises:
            OSError: there are checkpoints, but none can be read.
        """
        unreadable = {}
        for folder in reversed(self._folders()):
            try:
                state = json.loads((folder / "state.json").read_text())
                step, training_s = int(state["step"]), float(state["training_s"])
                _load(self._variables(gan), folder / "weights.npz")
            except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                unreadable[folder] = error
                tqdm.write(f"Warning: the checkpoint {folder} cannot be read; trying the one before it.")
                continue
            self._training_s_before = training_s
            self._unreadable = set(unreadable)
            return step
        if unreadable:
            listed = "; ".join(f"{folder} ({error})" for folder, error in unreadable.items())
            raise OSError(f"No checkpoint can be read: {listed}")
        return 0

    def on_train_begin(self, logs=None):
        remove_unfinished(self.directory)
        self._began_s = self._saved_s = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._healthy = all(np.isfinite(value) for value in (logs or {}).values())
        if time.monotonic() - self._saved_s >= 60 * self.every_minutes:
            self.save()

    def on_train_end(self, logs=None):
        self.save()
        self._training_s_before, self._began_s = self.training_s, None

    def save(self):
        """Save now, unless the losses are not finite or this step is saved already."""
        folder = self.directory / f"step_{int(self.model.step):08d}"
        if not self._healthy or (folder.exists() and folder not in self._unreadable):
            return
        if folder in self._unreadable:
            self._unreadable.remove(folder)
            folder.rename(folder.with_name(f"unreadable_{folder.name}"))
        with whole_folder(folder) as scratch:
            np.savez(scratch / "weights.npz", **{name: v.numpy() for name, v in self._variables(self.model).items()})
            state = {"step": int(self.model.step), "training_s": self.training_s}
            (scratch / "state.json").write_text(json.dumps(state))
            for file in scratch.iterdir():
                with file.open("rb+") as written:
                    os.fsync(written.fileno())
        self._saved_s = time.monotonic()
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old)

    def _variables(self, gan):
        """Return all that training goes on from, by names that do not depend on Keras's running numbers."""
        parts = {
            "gan": gan.weights,
            "generator_optimizer": gan.generator_optimizer.variables,
            "critic_optimizer": gan.critic_optimizer.variables,
            "representation": self.representation.weights if self.representation else [],
        }
        return {f"{part}.{i}": variable for part, variables in parts.items() for i, variable in enumerate(variables)}

    def _folders(self):
        return sorted(self.directory.glob("step_" + 8 * "[0-9]"))


def _load(variables, path):
    with np.load(path, allow_pickle=False) as saved:
        if saved.files != list(variables):
            raise ValueError(f"it holds {len(saved.files)} arrays, this model needs {len(variables)}")
        for name, variable in variables.items():
            variable.assign(saved[name])
