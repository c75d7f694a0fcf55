"""Load sounds by the name or path of a set, for training, evaluation and notebooks."""

import functools
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from kgan.config import DATA_SETS
from kgan.data.folder_labels import split_of
from kgan.data.notes import SPLITS, load_notes
from kgan.data.prepare import PLAN, plan_of, prepare
from kgan.data.recordings import Clipping, Filter
from kgan.data.shards import MANIFEST, ShardedSounds, clipping_of, is_prepared
from kgan.data.sounds import Sounds
from kgan.data.sources import find_source
from kgan.errors import InputError
from kgan.files import as_path, cache_folder
from kgan.text import one_line

NAMED = 200  # maximum number of sounds with problems to list
PREPARED_OPTIONS = ("slicing", "overlap", "pad_end", "silence_db", "normalize")


def load_sounds(
    name: str = "notes",
    split: str | None = None,
    labels_csv: str | Path | None = None,
    clipping: Clipping = Clipping(),
    filters: Filter = Filter(),
) -> Sounds | ShardedSounds:
    """Load a set: the built-in notes, shards, or any source, which is first prepared in the cache if necessary.

    Files that were left out or are damaged are printed.

    Args:
        name: `notes`, `nsynth`, `nsynth/gansynth_subset`, a folder of shards or of sounds, or an archive of NSynth.
        split: `train`, `valid` or `test`, for a named set or a folder with sub-folders of these names; None means `train`.
        labels_csv: CSV file with labels of a folder's files.
        clipping: how recordings become clips; shards must match it.
        filters: which recordings to use.

    Returns:
        `Sounds` if they fit in memory, else `ShardedSounds` on disk.

    Raises:
        InputError: there is nothing to load, the set does not match the arguments, or an argument has no effect on it.
    """
    if name in DATA_SETS:
        sounds = _load(name, split or "train", labels_csv, clipping, filters)
    else:
        sounds = _load(name, None, labels_csv, clipping, filters)
        parts = _split_folders(sounds.ids)
        if parts is None and split is not None:
            raise InputError(f"`split` is for sets with folders such as train and test. Received: {split} of {name}, without.")
        if parts is not None:
            sounds = _taken_split(sounds, parts, split or "train", name)
    return _in_memory(sounds)


def load_splits(name="notes", labels_csv=None, clipping=Clipping(), filters=Filter()):
    """Load a set in three parts for training, validation and testing; for the arguments see `load_sounds`.

    A folder with sub-folders named train, valid and test is split by them. Any other set is split by a hash of the recordings'
    names, 8 : 1 : 1; if one of the sub-folders is missing, its part is taken from train in the same way. All clips of a
    recording are in the same part.

    Returns:
        Three `Sounds` or `ShardedSounds`.

    Raises:
        InputError: there is nothing to load, a part is empty, or the sounds do not match the arguments.
    """
    if name in DATA_SETS:
        return tuple(load_sounds(name, split, labels_csv, clipping, filters) for split in SPLITS)
    sounds = _load(name, None, labels_csv, clipping, filters)
    by_hash = np.array([SPLITS[_part_of(_recording_of(clip_id))] for clip_id in sounds.ids])
    parts = _split_folders(sounds.ids)
    if parts is None:
        parts = by_hash
    else:
        drawn = (parts == "train") & ~np.isin(by_hash, parts)
        parts = np.where(drawn, by_hash, parts)
    chosen = [np.flatnonzero(parts == split) for split in SPLITS]
    if not all(map(len, chosen)):
        raise InputError(f"Too few recordings to hold some out for a test. Received: {len(sounds)} clips of {name}.")
    return tuple(_in_memory(sounds.subset(indices)) for indices in chosen)


def _in_memory(sounds):
    return sounds.in_memory() if isinstance(sounds, ShardedSounds) and sounds.fits_in_memory() else sounds


def _load(name, split, labels_csv, clipping, filters):
    """Return `Sounds` or `ShardedSounds` of a whole set, or of a split of a named set."""
    if "://" in name and (as_path(name) / MANIFEST).is_file():
        raise InputError(f"Shards are read from a disk. Received: {name}. Copy that folder here first.")
    check_effective(name, labels_csv, clipping)
    if name == "notes":
        notes = load_notes(split, clipping.sample_rate_hz, clipping.length_samples, clipping.channels)
        return filtered(notes, filters)
    if (Path(name) / PLAN).is_file() and any(Path(name).glob("shard-*.tfrecord")) and not is_prepared(name):
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
    _say_once("\n".join(problems(sounds.skipped, sounds.remarks, sounds.folder)))
    return sounds


@functools.cache
def _say_once(lines):
    if lines:
        tqdm.write(lines)


def problems(skipped, remarks, folder):
    """Return lines that list the skipped files and the incomplete or damaged files.

    Args:
        skipped, remarks: `{name: reason}`, see `Sounds`. The first 200 of each are listed.
        folder: folder of the shards, whose manifest lists all.
    """
    lines = []
    for told, title in ((skipped, "skipped"), (remarks, "used, with a remark")):
        if told:
            lines.append(f"{len(told):,} {'sound was' if len(told) == 1 else 'sounds were'} {title}:")
        lines += [one_line(f"  {name} {reason}") for name, reason in list(told.items())[:NAMED]]
        if len(told) > NAMED:
            lines.append(one_line(f"  ... and {len(told) - NAMED:,} more, named in {folder}/{MANIFEST}"))
    return lines


def check_effective(name, labels_csv, clipping, asked=None):
    """Check that arguments have an effect: some have none on a set that is already prepared.

    Args:
        name, labels_csv, clipping: see `load_sounds`.
        asked: names of the attributes of `Clipping` that were set; None for those that differ from the default.

    Raises:
        InputError: an argument has no effect.
    """
    if name != "notes" and not is_prepared(name):
        return
    if labels_csv:
        raise InputError(
            f"`labels_csv` is for a folder of sounds. Received: {labels_csv} beside {name}, which has its own labels."
        )
    usual = asdict(Clipping())
    prepared = usual if name == "notes" else clipping_of(name)
    for option in PREPARED_OPTIONS:
        value = getattr(clipping, option)
        if (option in asked if asked is not None else value != usual[option]) and value != prepared[option]:
            rule = f"`{option}` must be {prepared[option]}, as {name} was prepared."
            raise InputError(f"{rule} Received: {value}. Leave it out, or prepare the sounds anew.")


def _split_folders(ids):
    """Return an array of the splits that the clips' first folders name; None if not all folders are splits."""
    parts = [split_of(str(clip_id)) for clip_id in ids]
    return np.array(parts) if all(parts) else None


def _taken_split(sounds, parts, split, name):
    chosen = np.flatnonzero(parts == split)
    there = ", ".join(sorted(set(parts)))
    if not len(chosen):
        raise InputError(f"`split` of {name} must be one of {there}. Received: {split}.")
    _say_once(one_line(f"{name} has folders for the splits {there}, of which {split} is taken."))
    return sounds.subset(chosen)


def _recording_of(clip_id):
    return str(clip_id).rpartition("#")[0]


def _part_of(recording_name):
    """Return the part of a recording. NSynth's notes of the same instrument and pitch, near copies, share a part."""
    note = re.fullmatch(r"(.+_\d{3}-\d{3})-\d{3}", recording_name)
    recording_name = note[1] if note else recording_name
    bucket = int(hashlib.sha256(recording_name.encode()).hexdigest(), 16) % 10
    return max(0, bucket - 7)


def load_folder(path: str | Path, **clipping: Any) -> Sounds | ShardedSounds:
    """Load all sounds in a folder and its sub-folders as clips of one length, which are first prepared in the cache.

    Args:
        path: the folder; the names of its sub-folders are the label `class`.
        **clipping: attributes of `Clipping`, such as `length_samples`.

    Returns:
        `Sounds` or, if they do not fit in memory, `ShardedSounds`. An id is the file's path within the folder and the clip's
        number, such as `kicks/808.wav#0`. Files that could not be used are listed in `skipped`.

    Raises:
        InputError: there is no such folder, or no usable sound in it.
        TypeError: `Clipping` has no such attribute.
    """
    return load_sounds(str(path), clipping=Clipping(**clipping))


def filtered(sounds, filters):
    """Return the sounds that pass a `Filter`.

    Raises:
        InputError: no sound passes.
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
