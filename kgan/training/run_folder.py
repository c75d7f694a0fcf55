import contextlib
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import filelock
import tensorflow as tf
from tqdm import tqdm

from kgan import __version__
from kgan.callbacks.checkpoint import Checkpoint
from kgan.callbacks.rows import read_rows
from kgan.config import BUDGET, CHANGEABLE, flatten, load_config, read_yaml, validated
from kgan.errors import InputError
from kgan.evaluation.table import COLUMNS
from kgan.files import remove_unfinished, whole_file
from kgan.labels import Labels
from kgan.serving.formats import Conversion, check_formats, write_formats
from kgan.serving.saved_model import SavedSynthesizer, export_saved_model
from kgan.strategy import chiefs
from kgan.synthesizer import GANSynthesizer, Synthesizer
from kgan.training.build import build_gan, build_representation
from kgan.training.precision import PRECISIONS, fastest_precision

FORMAT = 3  # of the folder: increase it when earlier runs can no longer be resumed


class RunFolder:
    """A run on disk: everything needed to resume, to generate and to export; it does not contain the data set.

    It holds `config.yaml`, `run.json` (the version that wrote it, and the data it is trained on), `checkpoints/`, `logs/`
    (TensorBoard), `history.csv`, `samples/` and `saved_model/`.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path):
        self.path = Path(path).expanduser()
        self.config_file = self.path / "config.yaml"
        self.checkpoints = self.path / "checkpoints"
        self.facts_file = self.path / "run.json"
        self.history = self.path / "history.csv"
        self.logs = self.path / "logs"
        self.samples = self.path / "samples"
        self.scores = self.path / "scores.csv"
        self.saved_model = self.path / "saved_model"

    @contextlib.contextmanager
    def lock(self):
        """Lock the run for this process, and remove unfinished files that a killed process left.

        Raises:
            InputError: the folder cannot be written, or another process trains in it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock").acquire(timeout=0)
        except filelock.Timeout:
            raise InputError(f"Another process is training in {self.path}. Give this one another --run.") from None
        except OSError as error:
            raise InputError(f"The run needs a folder that can be written. Received: {self.path} ({error.strerror}).") from None
        try:
            with lock:
                for folder in (self.checkpoints, self.logs, self.samples, self.saved_model):
                    if folder.exists() and not folder.is_dir():
                        raise InputError(f"A file is in the way of a run's folder: {folder}.")
                    remove_unfinished(folder)
                yield
        finally:
            if not self.exists():  # bad input: leave nothing behind
                (self.path / ".lock").unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.path.rmdir()

    def note_data(self, sounds, labels):
        """Store which data the run is trained on, and warn if the data has changed."""
        digest = hashlib.sha256("\n".join(sounds.ids).encode()).hexdigest()
        data = {"sounds": len(sounds), "sha256_of_ids": digest, "labels": labels.get_config()}
        if self.facts_file.exists() and self._read_facts()["data"] != data:
            tqdm.write(
                "Warning: the sounds are not those that the run was started with; training continues with the current sounds."
            )
        with whole_file(self.facts_file) as scratch:
            scratch.write_text(json.dumps({"format": FORMAT, "kgan": __version__, "data": data}))

    def read_labels(self):
        """Return the `Labels` that the run is conditioned on."""
        return Labels(**self._read_facts()["data"]["labels"]) if self.facts_file.exists() else Labels()

    def facts(self, step):
        """Return facts for the model card at a step: the number of `sounds` the run trains on, and its `scores`."""
        sounds = self._read_facts()["data"]["sounds"]
        rows = [row for row in read_rows(self.scores, step) if int(row["step"]) == step]
        numbers = {name: float(row[name]) for row in rows for name in COLUMNS if row.get(name)}
        return {"sounds": sounds, "scores": numbers or None}

    def exists(self):
        """Return whether there is a run to resume."""
        return self.config_file.is_file()

    def read_config(self):
        """Return the run's `Config`.

        Raises:
            InputError: another version of kgan wrote the run, or a value is invalid.
        """
        self._read_facts()
        try:
            return validated(flatten(read_yaml(self.config_file)))
        except InputError as error:
            raise InputError(f"{self.config_file}: {error}") from None

    def _read_facts(self):
        """Return the content of `run.json`.

        Raises:
            InputError: another version of kgan wrote the run.
        """
        try:
            facts = json.loads(self.facts_file.read_text(encoding="utf-8"))
            found, version = facts["format"], facts["kgan"]
        except FileNotFoundError:
            found, version = "none", "an earlier version"
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"A run's run.json must be as kgan wrote it. Received: {self.facts_file} ({error}).") from None
        if found != FORMAT:
            raise InputError(
                f"A run must be of format {FORMAT}, which kgan {__version__} reads. Received: {self.path}, of format {found},"
                f" which {version} wrote. Train it anew, or use the kgan that wrote it."
            )
        return facts

    def write_config(self, config):
        with whole_file(self.config_file) as scratch:
            scratch.write_text(config.to_yaml(), encoding="utf-8")

    def resumed_config(self, told):
        """Return the run's `Config` with new values for budget and reporting, see `told_values`.

        Raises:
            InputError: a value that the weights depend on differs from the one the run was started with.
        """
        stored = flatten(self.read_config().model_dump())
        told = {name: value for name, value in told.items() if value != "auto" or name in CHANGEABLE}
        renewed = dict.fromkeys(BUDGET) if told.keys() & BUDGET else {}
        config = validated(stored | renewed | told)
        now = flatten(config.model_dump())
        changed = [name for name in stored if now[name] != stored[name] and name not in CHANGEABLE]
        if changed:
            listed = ", ".join(f"{name} {stored[name]} -> {now[name]}" for name in changed)
            raise InputError(
                f"{self.path} must be resumed with its original settings. Received other settings: {listed}."
                " Leave them out, or start another run with --run."
            )
        return config


def new_config(told, strategy):
    """Resolve the configuration of a new run. Size and precision may depend on this machine, or the chief's.

    Returns:
        The `Config`, and two lines that say what was chosen and how to change it.
    """
    on_gpu = bool(tf.config.list_physical_devices("GPU"))
    config = load_config(told, accelerated=on_gpu)
    network, training = config.network, config.training
    ends = [f"{training.minutes:g} minutes"] if training.minutes else []
    ends += [f"{training.cpu_minutes:g} minutes of processor time"] if training.cpu_minutes else []
    ends += [f"{training.steps:,} iterations"] if training.steps else []
    found = "a GPU was found" if on_gpu else "no GPU was found; TF_CPP_MIN_LOG_LEVEL=0 shows why"
    reason = "" if told.get("size", "auto") != "auto" else f" ({found})"
    other = "small" if config.size == "full" else "full"
    lines = [
        f"Size {config.size}{reason}: dim {network.dim}, batch {training.batch_size}, {' or '.join(ends) or 'no end'}."
        f" To change it: --size {other}, --network.dim 32, --minutes 60."
    ]
    if training.precision == "auto":
        fastest, speed = fastest_precision(on_gpu)
        training.precision = PRECISIONS[chiefs(strategy, PRECISIONS.index(fastest))]
        measured = f"its matrix products are {speed:.1f} times as fast as float32's here" if speed > 1 else "none is faster"
        lines.append(f"Precision {training.precision}: {measured}. To change it: --precision float32.")
    else:
        lines.append(f"Precision {training.precision}, as requested. To measure it instead: --precision auto.")
    return config, lines


def load(path: str | Path, best: bool = False) -> Synthesizer:
    """Load the `Synthesizer` of a run, from its latest or best checkpoint, or of a SavedModel.

    Args:
        path: folder of a run, of a SavedModel with its versions (the latest version is loaded), or of one version.
        best: whether to load the checkpoint with the best score instead of the latest one. Only runs that are scored have one.

    Returns:
        A `GANSynthesizer` for a run, a `SavedSynthesizer` for a SavedModel.

    Raises:
        InputError: the folder is neither, the run has no such checkpoint yet, or `best` is set for a SavedModel.
    """
    run = RunFolder(path)
    if run.exists():
        return _of_run(run, best)
    if best:
        raise InputError(f"--best is for runs, which keep several checkpoints. Received: {run.path}, which is not a run.")
    return SavedSynthesizer(run.path)


def export_run(
    path: str | Path,
    folder: str | Path,
    best: bool = False,
    formats: Sequence[str] = (),
    half: bool = False,
) -> tuple[Path, list[Conversion]]:
    """Export a run's latest or best checkpoint as the next version of a SavedModel and, in the same folder, other formats.

    Args:
        path: folder of the run.
        folder: folder of the model, for the versions `1`, `2`, ...; its name is the model's name for TensorFlow Serving.
        best: whether to export the checkpoint with the best score instead of the latest one, see `load`.
        formats: names of other formats: `"onnx"` and `"litert"`.
        half: whether to store the SavedModel's weights as float16, which halves their size.

    Returns:
        The version's folder, and a list of `Conversion`, see `write_formats`.

    Raises:
        InputError: there is no such run, it has no checkpoint, the folder cannot be written, or a package for a format is
            missing.
    """
    check_formats(formats)
    run = RunFolder(path)
    if not run.exists():
        raise InputError(f"There is no run in {path}: it has no config.yaml.")
    synthesizer = _of_run(run, best)
    version = export_saved_model(synthesizer, run.read_config().to_yaml(), folder, **run.facts(synthesizer.step), half=half)
    return version, write_formats(synthesizer, version, version.parent.name, formats)


def _of_run(run, best):
    config = run.read_config()
    representation = build_representation(config)
    gan = build_gan(config, representation, run.read_labels())
    if not Checkpoint(run.checkpoints, representation=representation).restore(gan, best):
        missing = "best checkpoint: only runs with --scores.every_steps have one" if best else "checkpoint yet: train it first"
        raise InputError(f"The run {run.path} has no {missing}.")
    return GANSynthesizer(gan, representation, config.data.sample_rate_hz)
