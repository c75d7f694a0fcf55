"""Any folder of sounds."""

import csv
import hashlib
import json
import os
import re

from kgan.audio.files import EXTENSIONS, find_audio
from kgan.data.recordings import Recording
from kgan.errors import InputError
from kgan.files import as_path

RESERVED = ("audio", "id", "x")  # what examples and shards call their other parts


class FolderSource:
    """Every sound file in a folder and below, sorted by name.

    Labels are the columns of a CSV file, or else `class`, the first sub-folder's name, where there are sub-folders.

    Args:
        path: the folder, or that of a store such as `gs://bucket/folder`.
        labels_csv: a CSV file with the column `file`, a path within the folder, and one column for each kind of label. A
            column of integers is taken as it is, any other is numbered in alphabetical order. Files that it does not list
            have no place in the set.

    Attributes:
        label_names: for a label that numbers names, the names in order.

    Raises:
        InputError: there is no such folder, no sound file in it, or the CSV file cannot be used.
    """

    def __init__(self, path, labels_csv=None):
        self.path = as_path(path)
        if not self.path.is_dir():
            raise InputError(f"The data must be the name of a set or an existing folder of sounds. Received: {self.path}.")
        files = find_audio(self.path)
        if not files:
            raise InputError(f"There are no sound files in {self.path}. Looked for: {' '.join(sorted(EXTENSIONS))}.")
        self._files = {_printable(file.relative_to(self.path).as_posix()): file for file in files}
        names = list(self._files)
        rows = _read_labels(as_path(labels_csv), names) if labels_csv else _classes(names)
        self.label_names, self._labels = _numbered(rows)

    @property
    def description(self):
        """What tells this set from another: names, sizes, times and labels of its files."""
        files = [(name, self._files[name].stat(), labels) for name, labels in self._labels.items()]
        listed = [(name, stat.st_size, stat.st_mtime_ns, labels) for name, stat, labels in files]
        return {"files": len(files), "sha256": hashlib.sha256(json.dumps(listed).encode()).hexdigest()}

    def recordings(self):
        """Yield a `Recording` for each file."""
        for name, labels in self._labels.items():
            yield Recording(name, self._files[name], labels)

    def __len__(self):
        return len(self._labels)


def _printable(name):
    """Return a name as text: one of another encoding than the system's, as old archives have, with its bytes spelt out."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _classes(names):
    """Return `{name: {"class": first sub-folder}}`, without labels where any file lies in the folder itself."""
    if not all("/" in name for name in names):
        return {name: {} for name in names}
    return {name: {"class": name.partition("/")[0]} for name in names}


def _read_labels(path, names):
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Labels must be in a readable CSV file. Received: {path} ({error}).") from None
    if not rows or "file" not in rows[0] or len(rows[0]) < 2:
        raise InputError(f"Labels need the column `file` and at least one more. Received: {path}.")
    listed = {row.pop("file"): row for row in rows}
    missing = sorted(set(listed) - set(names))
    if missing:
        raise InputError(f"{path} must list files of the folder. Received: {len(missing)} others, {missing[0]} first.")
    incomplete = [name for name, row in listed.items() if None in row or None in row.values()]
    if incomplete:
        raise InputError(f"Every row of {path} needs a value for each column. Received: another row for {incomplete[0]}.")
    return {name: listed[name] for name in names if name in listed}


def _numbered(rows):
    """Return names and `{file: integer labels}` of `{file: labels as text}`."""
    label_names, numbered = {}, {name: {} for name in rows}
    for kind in next(iter(rows.values())):
        values = {name: row[kind] for name, row in rows.items()}
        if kind in RESERVED:
            raise InputError(f"A label needs another name than {', '.join(RESERVED)}. Received: {kind}.")
        if all(re.fullmatch(r"-?\d{1,9}", value) for value in values.values()):
            numbers = {value: int(value) for value in values.values()}
        else:
            label_names[kind] = sorted(set(values.values()))
            numbers = {value: i for i, value in enumerate(label_names[kind])}
        for name, value in values.items():
            numbered[name][kind] = numbers[value]
    return label_names, numbered
