"""The NSynth data set, from TensorFlow Datasets or from its official archives.

Reference: Engel et al. 2017, "Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders".
https://arxiv.org/abs/1704.01279 and https://magenta.tensorflow.org/datasets/nsynth
"""

import bz2
import contextlib
import functools
import gzip
import hashlib
import json
import lzma
import re
import tarfile
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kgan.data.notes import FAMILIES, SOURCES
from kgan.data.recordings import Recording
from kgan.errors import InputError
from kgan.files import as_path, cache_folder, size_and_time, tensorflow_path, whole_file

SAMPLE_RATE_HZ, MIDI_NUMBERS = 16000, 128
LABEL_NAMES = {"family": list(FAMILIES), "source": list(SOURCES)}  # of every set; instruments differ between sets
STATED = {"family": "instrument_family", "source": "instrument_source", "pitch": "pitch", "velocity": "velocity"}
_NOTE = re.compile(rf"({'|'.join(FAMILIES)})_({'|'.join(SOURCES)})_(\d{{3}})-(\d{{3}})-(\d{{3}})")


def is_note(name):
    """Return whether a name is the name of an NSynth note."""
    match = _NOTE.fullmatch(name)
    return match is not None and int(match[4]) < MIDI_NUMBERS and int(match[5]) < MIDI_NUMBERS


def note_labels(note_str):
    """Return the integer labels that are contained in a note's name, such as `bass_synthetic_033-022-050`.

    Returns:
        `family`, `source`, `pitch`, `velocity`. For the instrument's name see `instrument_of`; qualities are left out.

    Raises:
        ValueError: the name is not that of an NSynth note.
    """
    if not is_note(note_str):
        raise ValueError(f"is not named as a note of NSynth, such as bass_synthetic_033-022-050: {note_str}")
    family, source, _, pitch, velocity = _NOTE.fullmatch(note_str).groups()
    return {
        "family": FAMILIES.index(family),
        "source": SOURCES.index(source),
        "pitch": int(pitch),
        "velocity": int(velocity),
    }


def instrument_of(note_str):
    """Return the instrument's name within a note's name: `bass_synthetic_033` in `bass_synthetic_033-022-050`."""
    return note_str[: -len("-022-050")]


def names_with(instruments):
    """Return the names that a set's labels number, with the instruments in the given order."""
    return LABEL_NAMES | {"instrument": list(instruments)}


def _stated_labels(name, note):
    """Return the labels of a note in `examples.json`, in the form of `note_labels`.

    Raises:
        ValueError, TypeError, KeyError: it is not a note, or a label is not one of NSynth's.
    """
    note_labels(name)  # raises an error for an invalid name
    return _checked(name, {kind: note[field] for kind, field in STATED.items()})


def _by_number(stated):
    """Return instrument names in the order of NSynth's numbers, from `(number, name)` pairs.

    Raises:
        ValueError: a pair is invalid.
    """
    stated = set(stated)
    for number, name in stated:
        if type(number) is not int or not isinstance(name, str) or not name:
            raise ValueError(f"there is an instrument {number} {name}")
    return list(dict.fromkeys(name for _, name in sorted(stated)))


def _checked(name, labels):
    """Return labels, or raise a ValueError if one is not NSynth's."""
    for kind, value in labels.items():
        if type(value) is not int or value not in range(len(LABEL_NAMES.get(kind, range(MIDI_NUMBERS)))):
            raise ValueError(f"{name} has {STATED[kind]} {value}")
    return labels


class NSynthFolderSource:
    """An extracted archive: a folder with `examples.json` and `audio/*.wav`.

    Args:
        path: the folder, such as `nsynth-train`.

    Attributes:
        label_names: for a label that numbers names, the names in order; `instrument` has those of this set, in NSynth's order.
        left_out: `{name: reason}` of WAV files that `examples.json` does not list.

    Raises:
        InputError: `examples.json` cannot be read or lists no notes.
    """

    def __init__(self, path):
        self.path = as_path(path)
        file = self.path / "examples.json"
        try:
            notes = json.loads(file.read_text(encoding="utf-8"))
            self._labels = {name: _stated_labels(name, note) for name, note in sorted(notes.items())}
            instruments = _by_number((note["instrument"], note["instrument_str"]) for note in notes.values())
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(f"NSynth's examples.json must map the names of its notes. Received: {file} ({error}).") from None
        if not self._labels:
            raise InputError(f"NSynth's examples.json must name notes. Received: {file}, without any.")
        self.label_names = names_with(instruments)
        numbers = {instrument: i for i, instrument in enumerate(instruments)}
        for name, labels in self._labels.items():
            labels["instrument"] = numbers[notes[name]["instrument_str"]]
        audio = self.path / "audio"
        there = {path.stem for path in audio.iterdir() if path.suffix == ".wav"} if audio.is_dir() else set()
        self.left_out = dict.fromkeys(sorted(there - set(self._labels)), "is not named in examples.json")

    @property
    def description(self):
        """What identifies these notes: names, labels, sizes and times of their files."""
        return _described([(name, labels, *size_and_time(self._file(name))) for name, labels in self._labels.items()])

    def recordings(self):
        for name, labels in self._labels.items():
            yield Recording(name, self._file(name), labels)

    def _file(self, name):
        return self.path / "audio" / f"{name}.wav"

    def __len__(self):
        return len(self._labels)


class _Header(tarfile.TarInfo):
    """A member's header. Raises an error if it is damaged or missing, which tarfile would treat as the archive's end."""

    @classmethod
    def fromtarfile(cls, archive):
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


def _decompressed(file, path):
    """Return a stream of an archive's decompressed bytes; the format is detected from its first bytes."""
    with path.open("rb") as first:
        start = first.read(6)
    for mark, opener in ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open)):
        if start.startswith(mark):
            return opener(file, "rb")
    return contextlib.nullcontext(file)


class NSynthTarSource:
    """An official archive of WAV files, `nsynth-*.jsonwav.tar.gz`, read as a stream and never extracted.

    Labels come from the notes' names. The archive is scanned once for its contents, with a progress bar.

    Args:
        path: the archive, compressed or not.

    Attributes:
        label_names: for a label that numbers names, the names in order; `instrument` has those of this set, alphabetically.
        left_out: `{name: reason}` of WAV files that are not notes of NSynth.

    Raises:
        InputError: the file is not a tar archive, or it is damaged.
    """

    def __init__(self, path):
        self.path = Path(path).expanduser()
        if not tarfile.is_tarfile(self.path):
            raise InputError(f"NSynth's WAV files must be in a tar archive. Received: {self.path}.")
        names = [name for name, _ in self._members]
        notes = [Path(name).stem for name in names if is_note(Path(name).stem)]
        self._count = len(notes)
        self.label_names = names_with(sorted(set(map(instrument_of, notes))))
        self.left_out = {name: "is not named as a note of NSynth" for name in names if not is_note(Path(name).stem)}

    @property
    def description(self):
        """What identifies these notes: names and contents of the archive's members."""
        return _described(self._members)

    @functools.cached_property
    def _members(self):
        """Return the name and a digest of each WAV file."""
        found = self._walk("Scanning the archive (once)")
        return _kept(
            self.path, lambda: [(name, hashlib.blake2b(content, digest_size=8).hexdigest()) for name, content in found]
        )

    def _walk(self, progress=None):
        """Yield the name and the bytes of each WAV file."""
        try:
            with (
                self.path.open("rb") as file,
                tqdm.wrapattr(file, "read", self.path.stat().st_size, desc=progress, disable=not progress) as read,
                _decompressed(read, self.path) as stream,
                tarfile.open(fileobj=stream, mode="r|", tarinfo=_Header) as archive,
            ):
                for member in archive:
                    if member.isfile() and member.name.lower().endswith(".wav"):
                        yield member.name, archive.extractfile(member).read()
                while stream.read(2**20):  # the checksum of compressed data is at the end
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
            raise InputError(f"The archive {self.path} is damaged: {error}. Fetch it again.") from None

    def recordings(self):
        """Yield the notes in the archive's order.

        Raises:
            InputError: the archive is damaged; the notes before the damage have been yielded.
        """
        numbers = {instrument: i for i, instrument in enumerate(self.label_names["instrument"])}
        for path, content in self._walk():
            name = Path(path).stem
            if is_note(name):
                yield Recording(name, content, note_labels(name) | {"instrument": numbers[instrument_of(name)]})

    def __len__(self):
        return self._count


class NSynthTFRecordSource:
    """An official `nsynth-*.tfrecord`: `note_str`, `audio` (a list of 64000 floats at 16 kHz) and the labels.

    The file is scanned once for its instruments, with a progress bar.

    Args:
        path: the file.

    Attributes:
        label_names: for a label that numbers names, the names in order; `instrument` has those of this set, in NSynth's order.

    Raises:
        InputError: there is no such file, or it is damaged or not NSynth's.
    """

    left_out = {}

    def __init__(self, path):
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise InputError(f"NSynth's TFRecord must be a file. Received: {self.path}.")
        self._count, instruments = _kept(self.path, self._look_through)
        self.label_names = names_with(instruments)

    def _look_through(self):
        stated = [stated for *_, stated in tqdm(self._notes(), "Scanning the file (once)", unit="sound")]
        return len(stated), _by_number(stated)

    @property
    def description(self):
        return _described([(self.path.name, *size_and_time(self.path))])

    def recordings(self):
        """Yield the notes in the file's order.

        Raises:
            InputError: the file is damaged or not NSynth's; the notes before that have been yielded.
        """
        numbers = {instrument: i for i, instrument in enumerate(self.label_names["instrument"])}
        for name, samples, labels, (_, instrument) in self._notes():
            audio = np.array(samples, np.float32)
            yield Recording(name, audio, labels | {"instrument": numbers[instrument]}, SAMPLE_RATE_HZ)

    def _notes(self):
        """Yield each note's name, samples and labels, and its instrument as NSynth's number and name."""
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        path = tensorflow_path(self.path)
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                values = tf.train.Example.FromString(record).features.feature
                name = values["note_str"].bytes_list.value[0].decode()
                labels = _checked(name, {kind: values[field].int64_list.value[0] for kind, field in STATED.items()})
                instrument = values["instrument"].int64_list.value[0], values["instrument_str"].bytes_list.value[0].decode()
                yield name, values["audio"].float_list.value, labels, instrument
        except tf.errors.DataLossError as error:
            raise InputError(f"The file {self.path} is damaged: {error.message}. Fetch it again.") from None
        except (IndexError, ValueError, DecodeError) as error:
            raise InputError(f"Records of {self.path} must have NSynth's features. Received others: {error}.") from None

    def __len__(self):
        return self._count


class NSynthTFDSSource:
    """NSynth from TensorFlow Datasets, which downloads and prepares it if necessary.

    Args:
        name: `nsynth`, `nsynth/full` or `nsynth/gansynth_subset`.
        split: `train`, `valid` or `test`.
        data_dir: folder of TFDS; None for its default, `$TFDS_DATA_DIR` or `~/tensorflow_datasets`.

    Attributes:
        label_names: for a label that numbers names, the names in order; `instrument` has those of all splits.

    Raises:
        InputError: the name or split is unknown, or the set is missing and cannot be downloaded.
    """

    left_out = {}

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
        self.label_names = names_with(self._builder.info.features["instrument"]["label"].names)

    def _download(self, tfds):
        try:
            self._builder.download_and_prepare()
        except Exception as error:  # errors of requests, urllib3 or TFDS, or a full disk
            folder = self._builder.data_dir
            raise InputError(
                f'NSynth could not be downloaded ({type(error).__name__}). Where there is a network, `python -c "import'
                f" tensorflow_datasets as tfds; tfds.builder('{self._builder.info.full_name.rpartition('/')[0]}')"
                f'.download_and_prepare()"` writes {folder}: copy that folder here. Or give --data the official archive:'
                " a nsynth-*.tfrecord file, nsynth-*.jsonwav.tar.gz, or the folder extracted from it."
            ) from error

    @property
    def description(self):
        files = sorted(Path(self._builder.data_dir).iterdir())
        return _described([self._builder.info.full_name, self._split, *((file.name, *size_and_time(file)) for file in files)])

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
                "instrument": int(example["instrument"]["label"]),
            }
            yield Recording(example["id"].decode(), example["audio"], labels, SAMPLE_RATE_HZ)

    def __len__(self):
        return self._builder.info.splits[self._split].num_examples


def _kept(path, made):
    """Return a function's result for a file, as JSON; it is cached until the file changes."""
    status = path.stat()
    same = json.dumps([str(path.resolve()), status.st_size, status.st_mtime_ns, status.st_ctime_ns])
    index = cache_folder() / f"archive-{hashlib.sha256(same.encode()).hexdigest()[:16]}.json"
    if not index.exists():
        content = json.dumps(made())
        index.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(index) as scratch:
            scratch.write_text(content, encoding="utf-8")
    return json.loads(index.read_text(encoding="utf-8"))


def _described(parts):
    """Return a JSON-compatible fingerprint of a set."""
    return {"sha256": hashlib.sha256(json.dumps(parts).encode()).hexdigest()}
