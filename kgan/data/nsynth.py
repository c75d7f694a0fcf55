"""NSynth: through TensorFlow Datasets, and from its official archives.

Reference: Engel et al. 2017, "Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders".
https://arxiv.org/abs/1704.01279 and https://magenta.tensorflow.org/datasets/nsynth
"""

import json
import re
import tarfile
from pathlib import Path

import numpy as np

from kgan.data.notes import FAMILIES, SOURCES
from kgan.data.recordings import Recording
from kgan.errors import InputError
from kgan.files import as_path

SAMPLE_RATE_HZ = 16000
LABEL_NAMES = {"family": list(FAMILIES), "source": list(SOURCES)}
_NOTE = re.compile(rf"({'|'.join(FAMILIES)})_({'|'.join(SOURCES)})_(\d{{3}})-(\d{{3}})-(\d{{3}})")


def note_labels(note_str):
    """Return the integer labels that a note's name states, such as `bass_synthetic_033-022-050`.

    Returns:
        `family`, `source`, `pitch`, `velocity`. Which instrument it is, the name states; qualities are left out.

    Raises:
        ValueError: it is no name of an NSynth note.
    """
    match = _NOTE.fullmatch(note_str)
    if match is None:
        raise ValueError(f"is not named as a note of NSynth, such as bass_synthetic_033-022-050: {note_str}")
    family, source, _, pitch, velocity = match.groups()
    return {
        "family": FAMILIES.index(family),
        "source": SOURCES.index(source),
        "pitch": int(pitch),
        "velocity": int(velocity),
    }


class NSynthFolderSource:
    """An extracted archive: a folder with `examples.json` and `audio/*.wav`.

    Args:
        path: the folder, such as `nsynth-train`.

    Raises:
        InputError: `examples.json` cannot be read or names no notes.
    """

    label_names = LABEL_NAMES

    def __init__(self, path):
        self.path = as_path(path)
        file = self.path / "examples.json"
        try:
            self._names = sorted(json.loads(file.read_text(encoding="utf-8")))
            self._labels = [note_labels(name) for name in self._names]
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"NSynth's examples.json must map the names of its notes. Received: {file} ({error}).") from None
        if not self._names:
            raise InputError(f"NSynth's examples.json must name notes. Received: {file}, without any.")

    @property
    def description(self):
        changed_ns = (self.path / "audio").stat().st_mtime_ns if (self.path / "audio").exists() else 0
        return {"folder": str(self.path), "notes": len(self), "last": self._names[-1], "changed_ns": changed_ns}

    def recordings(self):
        for name, labels in zip(self._names, self._labels, strict=True):
            yield Recording(name, self.path / "audio" / f"{name}.wav", labels)

    def __len__(self):
        return len(self._names)


class NSynthTarSource:
    """An official archive of WAV files, `nsynth-*.jsonwav.tar.gz`, read as a stream and never extracted.

    Labels are what the notes' names state.

    Args:
        path: the archive, compressed or not.

    Raises:
        InputError: it is no tar archive.
    """

    label_names = LABEL_NAMES

    def __init__(self, path):
        self.path = Path(path).expanduser()
        if not tarfile.is_tarfile(self.path):
            raise InputError(f"NSynth's WAV files must be in a tar archive. Received: {self.path}.")

    @property
    def description(self):
        return {"archive": str(self.path), "bytes": self.path.stat().st_size}

    def recordings(self):
        """Yield the notes in the archive's order.

        Raises:
            InputError: the archive is damaged; what came before has been yielded.
        """
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for member in archive:
                    name = Path(member.name)
                    if member.isfile() and name.suffix == ".wav" and _NOTE.fullmatch(name.stem):
                        yield Recording(name.stem, archive.extractfile(member).read(), note_labels(name.stem))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise InputError(f"The archive {self.path} is damaged: {error}. Fetch it again.") from None

    def __len__(self):
        return 0  # known only at the end


class NSynthTFRecordSource:
    """An official `nsynth-*.tfrecord`: `note_str` and `audio`, a list of 64000 floats at 16 kHz, and the labels beside them.

    Args:
        path: the file.

    Raises:
        InputError: there is no such file.
    """

    label_names = LABEL_NAMES

    def __init__(self, path):
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise InputError(f"NSynth's TFRecord must be a file. Received: {self.path}.")

    @property
    def description(self):
        return {"tfrecord": str(self.path), "bytes": self.path.stat().st_size}

    def recordings(self):
        """Yield the notes in the file's order.

        Raises:
            InputError: the file is damaged or not NSynth's; what came before has been yielded.
        """
        import tensorflow as tf

        try:
            for record in tf.data.TFRecordDataset(str(self.path)).as_numpy_iterator():
                example = tf.train.Example.FromString(record)
                values = example.features.feature
                name = values["note_str"].bytes_list.value[0].decode()
                audio = np.array(values["audio"].float_list.value, np.float32)
                labels = {
                    "family": values["instrument_family"].int64_list.value[0],
                    "source": values["instrument_source"].int64_list.value[0],
                    "pitch": values["pitch"].int64_list.value[0],
                    "velocity": values["velocity"].int64_list.value[0],
                }
                yield Recording(name, audio, labels, SAMPLE_RATE_HZ)
        except tf.errors.DataLossError as error:
            raise InputError(f"The file {self.path} is damaged: {error.message}. Fetch it again.") from None
        except (IndexError, ValueError) as error:
            raise InputError(f"Records of {self.path} must have NSynth's features. Received others: {error}.") from None

    def __len__(self):
        return 0


class NSynthTFDSSource:
    """NSynth through TensorFlow Datasets, which downloads and prepares it where it is not there yet.

    Args:
        name: `nsynth`, `nsynth/full` or `nsynth/gansynth_subset`.
        split: `train`, `valid` or `test`.
        data_dir: TFDS's folder; None is its own default, `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Raises:
        InputError: it is not there and cannot be downloaded.
    """

    label_names = LABEL_NAMES

    def __init__(self, name="nsynth/full", split="train", data_dir=None):
        import tensorflow_datasets as tfds

        name = "nsynth/full" if name == "nsynth" else name
        try:
            self._builder = tfds.builder(name, data_dir=data_dir)
        except (ValueError, tfds.core.registered.DatasetNotFoundError) as error:
            raise InputError(f"NSynth comes as nsynth/full and nsynth/gansynth_subset. Received: {name}.") from error
        if not self._builder.is_prepared():
            self._download(tfds)
        if split not in self._builder.info.splits:
            known = ", ".join(self._builder.info.splits)
            raise InputError(f"`split` of {name} must be one of {known}. Received: {split}.")
        self._split = split

    def _download(self, tfds):
        try:
            self._builder.download_and_prepare()
        except Exception as error:  # requests', urllib3's, TFDS's own, a full disk
            folder = self._builder.data_dir
            raise InputError(
                f'NSynth could not be downloaded ({type(error).__name__}). Where there is a network, `python -c "import'
                f" tensorflow_datasets as tfds; tfds.builder('{self._builder.info.full_name.rpartition('/')[0]}')"
                f'.download_and_prepare()"` writes {folder}: copy that folder here. Or give --data the official archive:'
                " a nsynth-*.tfrecord file, nsynth-*.jsonwav.tar.gz, or the folder extracted from it."
            ) from error

    @property
    def description(self):
        return {"tfds": self._builder.info.full_name, "split": self._split, "notes": len(self)}

    def recordings(self):
        import tensorflow as tf

        options = tf.data.Options()
        options.deterministic = True
        dataset = self._builder.as_dataset(split=self._split, shuffle_files=False).with_options(options)
        for example in dataset.as_numpy_iterator():
            labels = {
                "family": int(example["instrument"]["family"]),
                "source": int(example["instrument"]["source"]),
                "pitch": int(example["pitch"]),
                "velocity": int(example["velocity"]),
            }
            yield Recording(example["id"].decode(), example["audio"], labels, SAMPLE_RATE_HZ)

    def __len__(self):
        return self._builder.info.splits[self._split].num_examples
