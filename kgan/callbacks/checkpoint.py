import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from kgan.callbacks.array_names import differences, named_arrays
from kgan.errors import InputError
from kgan.files import remove_unfinished, whole_folder
from kgan.gans import AdversarialModel
from kgan.representations import Representation

BEST = "best_"  # prefix of the best checkpoint's name
FORMAT = 2  # format 1, which is not recorded in the state, had numbers instead of names for its arrays


class Checkpoint(keras.callbacks.Callback):
    """Save the complete state of the training every few minutes and at the end.

    A checkpoint is a folder `step_00001000/` with two files: `weights.npz` holds both networks, both optimizers, the running
    average and the step, which determines the order of the data and the noise; `state.json` holds the step and the training
    time. It is written under another name and then renamed, so that a crash at any moment leaves the previous checkpoint
    intact. Nothing is saved once a loss is not finite.

    Arrays have names such as `critic/head/kernel`, see `named_arrays`. Layers with names of their own may change their order;
    if a name, a shape or a type differs, nothing is loaded.

    The weights are not stored as Keras's HDF5 file, because that library crashes with a segmentation fault on a full disk.

    Args:
        directory: folder of the checkpoints.
        every_minutes: minutes between two checkpoints.
        keep: number of latest checkpoints to keep, at least 1.
        representation: a `Representation` whose statistics are also saved and restored; None for none.

    Attributes:
        training_s: seconds of training so far, including those before a resume.
        training_cpu_s: processor seconds of this process so far, summed over all cores, including those before a resume.

    Example:
        >>> gan = kgan.WGAN(kgan.networks.wave_generator(256, dim=2), kgan.networks.wave_critic(256, dim=2), n_critic=1)
        >>> gan.compile("adam", "adam")
        >>> dataset = tf.data.Dataset.from_tensors(tf.zeros((4, 256, 1))).repeat()
        >>> checkpoint = Checkpoint("runs/drums/checkpoints")
        >>> checkpoint.restore(gan)  # the step that it goes on from; 0 where there is nothing yet
        0
        >>> history = gan.fit(dataset, steps_per_epoch=2, callbacks=[checkpoint], verbose=0)
        >>> checkpoint.restore(gan)
        2
    """

    def __init__(
        self,
        directory: str | Path,
        every_minutes: float = 5.0,
        keep: int = 2,
        representation: Representation | None = None,
    ):
        super().__init__()
        self.directory = Path(directory)
        self.every_minutes = every_minutes
        self.keep = keep
        self.representation = representation
        self._before_s = self._began_s = np.zeros(2)  # see `_clocks_s`
        self._training = False
        self._saved_s = None
        self._healthy = True
        self._unreadable = set()

    @property
    def training_s(self) -> float:
        return float(self._spent_s[0])

    @property
    def training_cpu_s(self) -> float:
        return float(self._spent_s[1])

    @property
    def _spent_s(self):
        return self._before_s + (_clocks_s() - self._began_s if self._training else 0.0)

    def restore(self, gan: AdversarialModel, best: bool = False) -> int:
        """Load the latest readable checkpoint into a compiled GAN and return its step.

        Args:
            gan: an `AdversarialModel` with the same networks and optimizers.
            best: whether to load the checkpoint of `save_best` instead.

        Returns:
            The number of iterations it was trained for; 0 if there is no checkpoint, in which case nothing is loaded.

        Raises:
            InputError: the latest readable checkpoint is of another network or another version of kgan; nothing is loaded.
            OSError: there are checkpoints, but none can be read.
            ValueError: two arrays of the GAN have the same name.
        """
        named, unreadable = self._named(gan), {}
        for folder in reversed(self._folders(BEST if best else "")):
            try:
                step, spent_s = _load(folder, *named)
            except InputError:
                raise
            except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                unreadable[folder] = error
                tqdm.write(f"Warning: the checkpoint {folder} cannot be read; trying the one before it.")
                continue
            self._before_s = spent_s
            self._unreadable = set(unreadable)
            return step
        if unreadable:
            listed = "; ".join(f"{folder} ({error})" for folder, error in unreadable.items())
            raise OSError(f"No checkpoint can be read: {listed}")
        return 0

    def on_train_begin(self, logs=None):
        self._named(self.model)  # fails now rather than at the first save
        remove_unfinished(self.directory)
        self._began_s, self._training = _clocks_s(), True
        self._saved_s = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        self._healthy = all(np.isfinite(value) for value in (logs or {}).values())
        if time.monotonic() - self._saved_s >= 60 * self.every_minutes:
            self.save()

    def on_train_end(self, logs=None):
        self.save()
        self._before_s, self._training = self._spent_s, False

    def save(self) -> None:
        """Save now, unless the losses are not finite or this step is already saved.

        Raises:
            OSError: the disk is full or fails; earlier checkpoints are kept.
        """
        folder = self.directory / f"step_{self.model.steps_done:08d}"
        if not self._healthy or (folder.exists() and folder not in self._unreadable):
            return
        if folder in self._unreadable:
            self._unreadable.remove(folder)
            folder.rename(folder.with_name(f"unreadable_{folder.name}"))
        self._write(folder)
        self._saved_s = time.monotonic()
        for old in self._folders()[: -self.keep]:
            shutil.rmtree(old)

    def save_best(self) -> None:
        """Save this step as the best so far, `best_step_00001000/`, replacing the previous best; other checkpoints are kept.

        Raises:
            OSError: the disk is full or fails; the previous best is kept.
        """
        folder = self.directory / f"{BEST}step_{self.model.steps_done:08d}"
        if not folder.exists():
            self._write(folder)
        for other in self._folders(BEST):
            if other != folder:
                shutil.rmtree(other)

    def _write(self, folder):
        with whole_folder(folder) as scratch:
            variables, _ = self._named(self.model)
            np.savez(scratch / "weights.npz", **{name: variable.numpy() for name, variable in variables.items()})
            state = {"format": FORMAT, "step": self.model.steps_done}
            state |= {"training_s": self.training_s, "training_cpu_s": self.training_cpu_s}
            (scratch / "state.json").write_text(json.dumps(state))
            for file in scratch.iterdir():
                with file.open("rb+") as written:
                    os.fsync(written.fileno())

    def _named(self, gan):
        """Return the complete state of the training by name, see `named_arrays`."""
        networks = {"generator": gan.generator, "critic": gan.critic, "ema_generator": gan.ema_generator}
        layers = networks | {"gan": gan, "representation": self.representation}
        optimizers = {
            "generator_optimizer": (gan.generator_optimizer, gan.generator),
            "critic_optimizer": (gan.critic_optimizer, gan.critic),
        }
        return named_arrays({name: layer for name, layer in layers.items() if layer is not None}, optimizers)

    def _folders(self, prefix=""):
        return sorted(self.directory.glob(f"{prefix}step_" + 8 * "[0-9]"))


def _clocks_s():
    """Return wall-clock time and processor time, in seconds."""
    return np.array([time.monotonic(), time.process_time()])


def _load(folder, variables, counted):
    """Load a checkpoint and return its step and its training times, see `_clocks_s`. If anything differs, nothing is assigned.

    Raises:
        InputError: the checkpoint is of another network or another version.
    """
    state = json.loads((folder / "state.json").read_text())
    step, spent_s = int(state["step"]), np.array([state["training_s"], state.get("training_cpu_s", 0.0)], float)
    version = int(state.get("format", 1))
    if version != FORMAT:
        raise InputError(
            "A checkpoint must name its arrays by path, as this version of kgan writes it."
            f" Received: {folder}, of {'an older' if version < FORMAT else 'a newer'} version."
            " Train the run anew, or use the kgan that wrote it."
        )
    with np.load(folder / "weights.npz", allow_pickle=False) as saved:
        arrays = {name: _typed(saved[name]) for name in saved.files}
    found = differences(arrays, variables, counted)
    if found:
        rule = "A checkpoint must hold the arrays of this network, by name, shape and type."
        raise InputError(f"{rule} Received: {folder}: {'; '.join(found)}.")
    for name, variable in variables.items():
        variable.assign(arrays[name])
    return step, spent_s


def _typed(array):
    return array.view("bfloat16") if array.dtype == "V2" else array  # NumPy stores bfloat16 as two untyped bytes
