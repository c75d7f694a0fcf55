"""Labels of a folder's files, from a CSV file, from NSynth's file names or from sub-folders."""

import csv
import posixpath
import re
import unicodedata
from pathlib import PurePosixPath

from kgan.data.nsynth import instrument_of, is_note, names_with, note_labels
from kgan.errors import InputError
from kgan.labels import UNKNOWN, midi_number

RESERVED = ("audio", "id", "x")  # names of other parts of examples and shards
KNOWN_KINDS = ("file", "pitch", "velocity", "family", "instrument", "source", "class")  # column names in any letter case
INTEGER = r"0|-?[1-9]\d{0,8}"  # 007 is a name, not an integer
SPLIT_FOLDERS = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test", "eval": "test",
}  # fmt: skip


def split_of(name):
    """Return the split that a file's first folder names, `train`, `valid` or `test`; None for any other folder."""
    return SPLIT_FOLDERS.get(name.partition("/")[0].lower()) if "/" in name else None


def outside_splits(names):
    """Return the files that lie outside the split folders, `{name: reason}`; none if the folders are not splits.

    The folders are splits if there is a training folder and either another split folder or no other folder.
    """
    splits = {split_of(name) for name in names if "/" in name}
    if "train" not in splits or len(splits - {None}) < 2 - (None not in splits):
        return {}
    return {name: "lies beside folders for splits, such as train" for name in names if split_of(name) is None}


def labels_of_names(names):
    """Return the labels that file names and folders give.

    NSynth's file names contain pitch, velocity, family, source and instrument. Otherwise the first folder is the `class`; if
    all first folders are splits, it is the second folder.

    Args:
        names: names of the files, with `/` between folders.

    Returns:
        `{kind: names of its values}` for labels that number names, and `{file: {kind: integer}}`, with `UNKNOWN` for labels
        that a file lacks.
    """
    notes = {name: _stem(name) for name in names if is_note(_stem(name))}
    if len(notes) > len(names) / 2:
        label_names = names_with(sorted(set(map(instrument_of, notes.values()))))
        numbers = {instrument: i for i, instrument in enumerate(label_names["instrument"])}
        stated = {name: note_labels(note) | {"instrument": numbers[instrument_of(note)]} for name, note in notes.items()}
        unknown = dict.fromkeys((*label_names, "pitch", "velocity"), UNKNOWN)
        return label_names, {name: stated.get(name, unknown) for name in names}
    are_split = all(map(split_of, names))
    below = {name: name.partition("/")[2] if are_split else name for name in names}
    classes = {name: path.partition("/")[0] if "/" in path else "" for name, path in below.items()}
    if not any(classes.values()):
        return {}, {name: {} for name in names}
    return numbered({name: {"class": value} for name, value in classes.items()})


def _stem(name):
    return PurePosixPath(name).stem


def labels_of_csv(path, names):
    """Return the labels of a CSV file, which has the column `file` and one column for each kind of label.

    `pitch` holds MIDI numbers or note names, `velocity` MIDI numbers. Any other column of integers is used as it is; a column
    of names is numbered in alphabetical order.

    Args:
        path: the CSV file.
        names: names of the existing files, with `/` between folders.

    Returns:
        The same as `labels_of_names`, for files that are listed and exist, and `{name: reason}` of all other files.

    Raises:
        InputError: the file cannot be read, a row is incomplete, a value is invalid, or no existing file is listed.
    """
    header, rows = _read_table(path)
    there = {_key(name): name for name in names}
    listed, left_out = {}, {}
    for line, cells in rows:
        row = {kind: _value(kind, text, path, line) for kind, text in zip(header, cells, strict=True)}
        file = row.pop("file")
        name = there.get(_key(file))
        if name is None:
            left_out[file] = f"is listed in {path.name}, line {line}, but is not there"
        elif listed.setdefault(name, row) != row:
            raise InputError(f"A file has one row in {path}. Received: {file} again in line {line}, with other labels.")
    if not listed:
        raise InputError(f"{path} must list files of the folder. Received: {', '.join(list(left_out)[:3]) or 'none'}.")
    left_out |= {name: f"is not listed in {path.name}" for name in names if name not in listed}
    return *numbered({name: listed[name] for name in names if name in listed}), left_out


def _read_table(path):
    """Return the header and the rows, each with its line number; cells are stripped of surrounding spaces."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Labels must be in a CSV file in UTF-8. Received: {path} ({error}).") from None
    (_, header), *rows = [(line, row) for line, row in lines if any(row)] or [(1, [])]
    header = [name.lower() if name.lower() in KNOWN_KINDS else name for name in header]
    if "file" not in header or len(header) < 2 or len(set(header)) < len(header):
        rule = "Labels need the column `file`, and others, each once, with commas between them."
        raise InputError(f"{rule} Received: {path} with {', '.join(header) or 'nothing'}.")
    for kind in (*RESERVED, ""):
        if kind in header:
            raise InputError(f"A label needs another name than {', '.join(RESERVED)}. Received: {kind or 'none'}, in {path}.")
    for line, row in rows:
        if len(row) != len(header):
            raise InputError(f"A row of {path} must have {len(header)} values. Received: {len(row)} in line {line}.")
        for kind, text in zip(header, row, strict=True):
            if not text:
                rule = f"A row of {path} must have a value in each column."
                raise InputError(f"{rule} Received: none for {kind} in line {line}. Fill it in, or remove the row.")
    return header, rows


def _key(name):
    """Return a normal form of a file name, the same for all its spellings."""
    return unicodedata.normalize("NFC", posixpath.normpath(name.replace("\\", "/")))


def _value(kind, text, path, line):
    """Return a label's value: an integer for a pitch or velocity, else the text."""
    if kind not in ("pitch", "velocity"):
        return text
    try:
        return midi_number(text, names=kind == "pitch")
    except ValueError as error:
        raise InputError(f"`{kind}` {error}. Received: {text}, in line {line} of {path}.") from None


def numbered(rows):
    """Convert `{file: {kind: text or integer}}` to names and `{file: integer labels}`; an empty text means unknown."""
    label_names, labels = {}, {name: {} for name in rows}
    for kind in next(iter(rows.values())):
        values = {row[kind] for row in rows.values()} - {""}
        if all(isinstance(value, int) or re.fullmatch(INTEGER, value) for value in values):
            numbers = {value: int(value) for value in values}
        else:
            label_names[kind] = sorted(values)
            numbers = {value: i for i, value in enumerate(label_names[kind])}
        for name, row in rows.items():
            labels[name][kind] = numbers.get(row[kind], UNKNOWN)
    return label_names, labels
