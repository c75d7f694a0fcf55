"""From a name or a path to sounds: the one function that training, evaluation and notebooks call."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np

from kgan.config import DATA_SETS
from kgan.data.notes import SPLITS, load_notes
from kgan.data.prepare import PLAN, plan_of, prepare
from kgan.data.recordings import Clipping, Filter
from kgan.data.shards import MANIFEST, ShardedSounds, is_prepared
from kgan.data.sources import find_source
from kgan.errors import InputError
from kgan.files import as_path, cache_folder


def load_sounds(name="notes", split="train", labels_csv=None, clipping=Clipping(), filters=Filter()):
    """Load a set: the built-in notes, shards, or any source, which is prepared in the cache first if it is not there yet.

    Args:
        name: `notes`, `nsynth`, `nsynth/gansynth_subset`, a folder of shards, of sounds, or an archive of NSynth.
        split: of a named set: `train`, `valid` or `test`.
        labels_csv: labels of a folder's files.
        clipping: how recordings become clips; of shards, what they must be.
        filters: which recordings to take.

    Returns:
        `Sounds` in memory where they fit, else `ShardedSounds` on disk.

    Raises:
        InputError: there is nothing to load, or it is not as asked for.
    """
    if name == "notes":
        notes = load_notes(split, clipping.sample_rate_hz, clipping.length_samples, clipping.channels)
        return filtered(notes, filters)
    if "://" in name and (as_path(name) / MANIFEST).is_file():
        raise InputError(f"Shards are read from a disk. Received: {name}. Copy that folder here first.")
    if (Path(name) / PLAN).is_file() and not is_prepared(name):
        raise InputError(f"{name} is not prepared to its end. Give `kgan prepare` the same arguments again.")
    if is_prepared(name):
        sounds = ShardedSounds(name)
        _check_clips(sounds, clipping)
        sounds = filtered(sounds, filters)
    else:
        source = find_source(name, split, labels_csv)
        digest = hashlib.sha256(json.dumps(plan_of(source, clipping, filters), sort_keys=True).encode()).hexdigest()
        folder = cache_folder() / f"shards-{digest[:16]}"
        prepare(source, folder, clipping, filters)
        sounds = ShardedSounds(folder)
    return sounds.in_memory() if sounds.fits_in_memory() else sounds


def load_splits(name="notes", labels_csv=None, clipping=Clipping(), filters=Filter()):
    """Load a set in three parts, to train on, to validate and to test; arguments as those of `load_sounds`.

    A set that has no splits of its own is split by a hash of its recordings' names, 8 : 1 : 1: all clips of a recording are
    in one part.

    Returns:
        Three times `Sounds` or `ShardedSounds`.

    Raises:
        InputError: there is nothing to load, a part is empty, or the sounds are not as asked for.
    """
    if name in DATA_SETS:
        return tuple(load_sounds(name, split, labels_csv, clipping, filters) for split in SPLITS)
    sounds = load_sounds(name, labels_csv=labels_csv, clipping=clipping, filters=filters)
    parts = np.array([_part_of(str(clip_id).rpartition("#")[0]) for clip_id in sounds.ids])
    chosen = [np.flatnonzero(parts == part) for part in range(len(SPLITS))]
    if not all(map(len, chosen)):
        raise InputError(f"Too few recordings to hold some out for a test. Received: {len(sounds)} clips of {name}.")
    return tuple(sounds.subset(indices) for indices in chosen)


def _part_of(recording_name):
    """Return the number of a recording's part; NSynth's notes of one instrument and pitch, near copies, are in one."""
    note = re.fullmatch(r"(.+_\d{3}-\d{3})-\d{3}", recording_name)
    recording_name = note[1] if note else recording_name
    bucket = int(hashlib.sha256(recording_name.encode()).hexdigest(), 16) % 10
    return max(0, bucket - 7)


def load_folder(path, **clipping):
    """Load every sound in a folder and below as clips of one length, prepared in the cache first.

    Args:
        path: the folder; its sub-folders' names are the label `class`.
        **clipping: attributes of `Clipping`, such as `length_samples`.

    Returns:
        `Sounds` or, where they do not fit in memory, `ShardedSounds`. Ids are the file's path within the folder and the clip's
        number, `kicks/808.wav#0`; files that could not be used are in `skipped`.

    Raises:
        InputError: there is no such folder, or no usable sound in it.
    """
    return load_sounds(str(path), clipping=Clipping(**clipping))


def filtered(sounds, filters):
    """Return the sounds that pass a `Filter`.

    Raises:
        InputError: none does.
    """
    if filters == Filter():
        return sounds
    columns = {kind: values.tolist() for kind, values in sounds.labels.items()}
    labels = ({kind: values[i] for kind, values in columns.items()} for i in range(len(sounds)))
    chosen = np.flatnonzero([filters.accepts(each, sounds.label_names) for each in labels])
    if not len(chosen):
        raise InputError(f"No recording passes the filter. Received: {filters}.")
    return sounds.subset(chosen)


def _check_clips(sounds, clipping):
    shape = (clipping.length_samples,) if clipping.channels == 1 else (clipping.length_samples, clipping.channels)
    if sounds.clip_shape != shape or sounds.sample_rate_hz != clipping.sample_rate_hz:
        length, channels = sounds.clip_shape[0], (*sounds.clip_shape, 1)[1]
        raise InputError(
            f"The shards {sounds.folder} hold clips of {length} samples at {sounds.sample_rate_hz} Hz in {channels} channels."
            f" Received: {clipping.length_samples} at {clipping.sample_rate_hz} Hz in {clipping.channels}. Set"
            f" --data.length_samples {length} --data.sample_rate_hz {sounds.sample_rate_hz} --data.channels {channels}."
        )
