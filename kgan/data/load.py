"""From a name or a path to sounds: the one function that training, evaluation and notebooks call."""

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

NAMED = 200  # of the sounds that have a problem
PREPARED_OPTIONS = ("slicing", "overlap", "pad_end", "silence_db", "normalize")


def load_sounds(
    name: str = "notes",
    split: str | None = None,
    labels_csv: str | Path | None = None,
    clipping: Clipping = Clipping(),
    filters: Filter = Filter(),
) -> Sounds | ShardedSounds:
    """Load a set: the built-in notes, shards, or any source, which is prepared in the cache first if it is not there yet.

    What was left out and what is damaged is printed.

    Args:
        name: `notes`, `nsynth`, `nsynth/gansynth_subset`, a folder of shards, of sounds, or an archive of NSynth.
        split: `train`, `valid` or `test`, of a named set, or of a folder that has folders called so; None is `train` there.
        labels_csv: labels of a folder's files.
        clipping: how recordings become clips; of shards, what they must be.
        filters: which recordings to take.

    Returns:
        `Sounds` in memory where they fit, else `ShardedSounds` on disk.

    Raises:
        InputError: there is nothing to load, it is not as asked for, or an argument has no effect on this set.
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
    """Load a set in three parts, to train on, to validate and to test; arguments as those of `load_sounds`.

    A folder whose folders are called train, valid and test is split by these. Of any other set, and where one of the three is
    missing, recordings of the first are drawn for the others by a hash of their names, 8 : 1 : 1. All clips of a recording are
    in one part.

    Returns:
        Three times `Sounds` or `ShardedSounds`.

    Raises:
        InputError: there is nothing to load, a part is empty, or the sounds are not as asked for.
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
    """Return `Sounds` or `ShardedSounds` of a whole set, or of a split of a named one."""
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
    """Return lines that name the files that were skipped, and those of which something is missing or damaged.

    Args:
        skipped, remarks: `{name: reason}`, see `Sounds`. The first 200 of each are named.
        folder: of the shards, whose manifest names all.
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
    """Raise an error where an argument has no effect on a set, because it is prepared already.

    Args:
        name, labels_csv, clipping: see `load_sounds`.
        asked: names of attributes of `Clipping` that were asked for; None for those that have not their usual value.

    Raises:
        InputError: one has none.
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
            rule = f"`{option}` is as {name} was prepared, {prepared[option]}."
            raise InputError(f"{rule} Received: {value}. Leave it out, or prepare the sounds anew.")


def _split_folders(ids):
    """Return the split that each clip's first folder names, an array; None where not all folders are called so."""
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
    """Return the number of a recording's part; NSynth's notes of one instrument and pitch, near copies, are in one."""
    note = re.fullmatch(r"(.+_\d{3}-\d{3})-\d{3}", recording_name)
    recording_name = note[1] if note else recording_name
    bucket = int(hashlib.sha256(recording_name.encode()).hexdigest(), 16) % 10
    return max(0, bucket - 7)


def load_folder(path: str | Path, **clipping: Any) -> Sounds | ShardedSounds:
    """Load every sound in a folder and below as clips of one length, prepared in the cache first.

    Args:
        path: the folder; its sub-folders' names are the label `class`.
        **clipping: attributes of `Clipping`, such as `length_samples`.

    Returns:
        `Sounds` or, where they do not fit in memory, `ShardedSounds`. Ids are the file's path within the folder and the clip's
        number, `kicks/808.wav#0`; files that could not be used are in `skipped`.

    Raises:
        InputError: there is no such folder, or no usable sound in it.
        TypeError: `Clipping` has no such attribute.
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
