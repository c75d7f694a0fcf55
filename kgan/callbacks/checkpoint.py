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

BEST = "best_"  # before the name of the best checkpoint
FORMAT = 2  # of the first one the state says nothing; its arrays had numbers in place of names


class Checkpoint(keras.callbacks.Callback):
    """Save all that training goes on from, every few minutes and at the end.

    A checkpoint is a folder `step_00001000/` with `weights.npz`, which holds both networks, both optimizers, the running
    average and the step, from which order and noise follow; and `state.json`. It is written under another name and renamed,
    so that a crash at any moment leaves the one before. Nothing is saved once a loss is not finite.

    Arrays have names, such as `critic/head/kernel`, see `named_arrays`. Layers with names of their own may change places; where
    a name, a shape or a type differs, nothing is loaded.

    The weights are not Keras's HDF5 file: on a full disk that library ends the whole process with a segmentation fault.

    Args:
        directory: folder of the checkpoints.
        every_minutes: minutes between two.
        keep: how many of the newest to keep, at least 1.
        representation: a `Representation` whose statistics are saved and restored, too; None for none.

    Attributes:
        training_s: seconds of training so far, those before a resume included.
        training_cpu_s: likewise, seconds that all processor cores together worked for this process.

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
        """Load the newest checkpoint that can be read into a compiled GAN and return its step.

        Args:
            gan: an `AdversarialModel` of the same networks and optimizers.
            best: whether to load what `save_best` saved instead.

        Returns:
            The iterations that it was trained for; 0 where there is no checkpoint, and nothing is loaded.

        Raises:
            InputError: the newest that can be read is of another network or of another version of kgan; nothing is loaded.
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
        self._named(self.model)  # says now what could not be saved
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
        """Save now, unless the losses are not finite or this step is saved already.

        Raises:
            OSError: the disk is full or fails; the earlier checkpoints stay.
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
        """Save this step as the best so far, `best_step_00001000/`, in place of the one before; the other checkpoints stay.

        Raises:
            OSError: the disk is full or fails; the best one before stays.
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
        """Return all that training goes on from by name, see `named_arrays`."""
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
    """Return the wall's clock and the processor's, in seconds."""
    return np.array([time.monotonic(), time.process_time()])


def _load(folder, variables, counted):
    """Load a checkpoint and return its step and its seconds, see `_clocks_s`. Nothing is assigned unless all of it fits.

    Raises:
        InputError: it is of another network or of another version.
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
    return array.view("bfloat16") if array.dtype == "V2" else array  # NumPy writes that type as two bytes of none
