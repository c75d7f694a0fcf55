"""The prepared form of a set of sounds: TFRecords of int16 clips, with an index for random access.

A folder of shards holds
    shard-00000.tfrecord   `tf.train.Example`s with `id` (text), `audio` (int16, little endian) and an integer for each label
    shard-00000.npz        offsets, ids and labels of the clips, so that they can be read in any order without parsing
    shard-00000.json       number of clips, SHA-256 of the file, skipped recordings with reasons, and remarks on others
    manifest.json          all of these together; it is written last, so that its presence means that the folder is complete
"""

import copy
import hashlib
import itertools
import json
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from kgan.data.sounds import FULL_SCALE, Sounds, empty_clips
from kgan.errors import InputError
from kgan.files import as_path, tensorflow_path, whole_file

FORMAT = 2
MANIFEST = "manifest.json"
LARGEST_IN_MEMORY = 0.4  # share of the free memory


def write_shard(recordings, clipping, stem):
    """Write the clips of some recordings as one shard: three files, of which `.json` is written last and marks it complete.

    All shards are written by this function, in local processes and on Beam workers. The same recordings give the same bytes.

    Args:
        recordings: a list of `Recording`s.
        clipping: a `Clipping`.
        stem: path of the files without a suffix, which may be remote.

    Returns:
        The content of `.json`: `file`, `clips`, `recordings`, `bytes`, `sha256`, `skipped` (`{name: reason}`) and `remarks`
        (`{name: what is missing or damaged}`).
    """
    stem = as_path(stem)
    offsets, ids, labels, skipped, remarks = [], [], [], {}, {}
    position = 0
    with whole_file(stem.with_suffix(".tfrecord")) as scratch:
        with tf.io.TFRecordWriter(tensorflow_path(scratch)) as writer:
            for recording in recordings:
                try:
                    clips, told = clipping.clips(recording)
                except ValueError as error:
                    skipped[recording.name] = str(error)
                    continue
                if told:
                    remarks[recording.name] = "; ".join(told)
                for i, clip in enumerate(clips.astype("<i2")):
                    clip_id, audio = f"{recording.name}#{i}", clip.tobytes()
                    record = _example(clip_id, audio, recording.labels)
                    writer.write(record)
                    offsets.append(position + _HEADER_BYTES + record.index(audio))
                    position += _HEADER_BYTES + len(record) + _FOOTER_BYTES
                    ids.append(clip_id)
                    labels.append(recording.labels)
        with scratch.open("rb+") as file:
            sha256 = _sha256(file)
            os.fsync(file.fileno())
        size = scratch.stat().st_size
    kinds = sorted(labels[0]) if labels else []
    with whole_file(stem.with_suffix(".npz")) as scratch, scratch.open("wb") as file:
        columns = {f"label.{kind}": np.array([each[kind] for each in labels], np.int32) for kind in kinds}
        np.savez(file, offsets=np.array(offsets, np.int64), ids=np.array(ids, np.str_), **columns)
    summary = {
        "file": stem.with_suffix(".tfrecord").name,
        "clips": len(ids),
        "recordings": len(recordings),
        "bytes": size,
        "sha256": sha256,
        "skipped": skipped,
        "remarks": remarks,
    }
    with whole_file(stem.with_suffix(".json")) as scratch:
        scratch.write_text(json.dumps(summary), encoding="utf-8")
    return summary


_HEADER_BYTES, _FOOTER_BYTES = 12, 4  # of a TFRecord: the length with its checksum, and the checksum of the data


def _sha256(file):
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    return digest.hexdigest()


def _example(clip_id, audio, labels):
    def integer(value):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {kind: integer(value) for kind, value in labels.items()}
    for name, value in (("id", clip_id.encode()), ("audio", audio)):
        features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


class ShardedSounds:
    """A folder of shards with the interface of `Sounds`, whose audio stays on disk.

    Only ids, labels and positions are kept in memory, about 100 bytes per clip.

    Args:
        folder: a folder that `prepare` wrote.

    Raises:
        InputError: it is not such a folder, it is incomplete, or the size of a shard has changed.
    """

    def __init__(self, folder):
        self.folder = Path(folder).expanduser()
        manifest = _manifest(self.folder)
        try:
            shards = [shard for shard in manifest["shards"] if shard["clips"]]
            indices = [_read_index(self.folder / Path(shard["file"]).with_suffix(".npz")) for shard in shards]
            self.sample_rate_hz = manifest["sample_rate_hz"]
            self.clip_shape = tuple(manifest["clip_shape"])
            self.clipping = manifest["clipping"]
            self.label_names = manifest["label_names"]
            self.skipped = manifest["skipped"]
            self.remarks = manifest["remarks"]
            self.ids = np.concatenate([index["ids"] for index in indices])
            self.labels = {kind: np.concatenate([index[f"label.{kind}"] for index in indices]) for kind in manifest["labels"]}
            self._offsets = np.concatenate([index["offsets"] for index in indices])
            self._shard_of = np.repeat(np.arange(len(shards)), [shard["clips"] for shard in shards])
            self._files = [self.folder / shard["file"] for shard in shards]
            sizes = [file.stat().st_size for file in self._files]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _incomplete(self.folder, error) from None
        for shard, file, size in zip(shards, self._files, sizes, strict=True):
            if size != shard["bytes"]:
                raise InputError(f"{file} is damaged: it must have {shard['bytes']} bytes. Prepare the folder again.")

    def __len__(self):
        return len(self.ids)

    @property
    def clip_bytes(self):
        return 2 * int(np.prod(self.clip_shape))

    def read(self, indices):
        """Return int16 clips `(count, samples[, channels])` in the order of `indices`."""
        clips = empty_clips((len(indices), *self.clip_shape))
        shards = self._shard_of[indices]
        order = np.argsort(shards, kind="stable")
        # Files are opened only for this call, because a large set has more shards than a process may keep open.
        for shard, places in itertools.groupby(order, key=shards.__getitem__):
            with self._files[shard].open("rb", buffering=0) as file:
                for place in places:
                    file.seek(int(self._offsets[indices[place]]))
                    if not _filled(clips[place], file):
                        raise OSError(f"{self._files[shard]} has become shorter than when it was opened")
        return clips

    def subset(self, indices):
        """Return only the clips with these numbers, in the order of `indices`."""
        chosen = copy.copy(self)
        chosen.ids, chosen._offsets, chosen._shard_of = self.ids[indices], self._offsets[indices], self._shard_of[indices]
        chosen.labels = {kind: values[indices] for kind, values in self.labels.items()}
        return chosen

    def relabelled(self, labels, label_names=None):
        """Return the same clips with other labels, and with the names that they number."""
        chosen = copy.copy(self)
        chosen.labels, chosen.label_names = labels, label_names or {}
        return chosen

    def gather(self, indices):
        """Return clips as an int16 tensor, given an int64 tensor of numbers; they are read from disk and not cached."""
        clips = tf.numpy_function(self.read, [indices], tf.int16, stateful=False)
        clips.set_shape((indices.shape[0], *self.clip_shape))
        return clips

    def waveforms(self, indices=slice(None)):
        """Return float32 clips in [-1, 1)."""
        return self.read(np.arange(len(self))[indices]).astype(np.float32) / FULL_SCALE

    batches = Sounds.batches

    def fits_in_memory(self):
        """Return whether the audio takes less than 40 % of the free memory."""
        return self.clip_bytes * len(self) < LARGEST_IN_MEMORY * free_memory_bytes()

    def in_memory(self):
        """Return the clips as `Sounds`."""
        audio = self.read(np.arange(len(self)))
        return Sounds(audio, self.sample_rate_hz, self.ids.tolist(), self.labels, self.label_names, self.skipped, self.remarks)


def _filled(clip, file):
    """Read a clip from a file's current position, in several reads if necessary, and return whether it is complete."""
    space = memoryview(clip).cast("B")
    while space and (count := file.readinto(space)):
        space = space[count:]
    return not space


def _read_index(path):
    with np.load(path, allow_pickle=False) as index:
        return {name: index[name] for name in index.files}


def is_prepared(folder):
    """Return whether a folder is a complete set of shards; a `manifest.json` may also belong to another program."""
    manifest = as_path(folder) / MANIFEST
    return manifest.is_file() and b'"shards"' in manifest.read_bytes()


def clipping_of(folder):
    """Return the attributes of the `Clipping` of a folder of shards, without opening a shard.

    Raises:
        InputError: it is not a folder of shards.
    """
    return _manifest(as_path(folder))["clipping"]


def _manifest(folder):
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        found = manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _incomplete(folder, error) from None
    if found != FORMAT:
        raise InputError(f"Shards must have format {FORMAT}. Received: {folder}, format {found}.")
    return manifest


def _incomplete(folder, error):
    return InputError(f"Shards must be in a folder that `prepare` completed. Received: {folder} ({error}).")


def free_memory_bytes():
    """Return the memory that is available without swapping."""
    import psutil

    return psutil.virtual_memory().available
