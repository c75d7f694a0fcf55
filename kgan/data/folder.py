"""A folder of sound files as a source."""

import hashlib
import json

from kgan.audio.files import EXTENSIONS, find_audio
from kgan.data.folder_labels import labels_of_csv, labels_of_names, outside_splits
from kgan.data.recordings import Recording
from kgan.errors import InputError
from kgan.files import as_path, size_and_time
from kgan.text import printable


class FolderSource:
    """All sound files in a folder and its sub-folders, sorted by name.

    Labels come from the columns of a CSV file, see `labels_of_csv`, or else from file names and sub-folders, see
    `labels_of_names`.

    Args:
        path: the folder, which may be remote, such as `gs://bucket/folder`.
        labels_csv: the CSV file. Files that it does not list are left out.

    Attributes:
        label_names: for a label that numbers names, the names in order.
        left_out: `{name: reason}` of what could not be read, and of files that are listed but missing or not listed.

    Raises:
        InputError: there is no such folder, it has no sound files, or the CSV file cannot be used.
    """

    def __init__(self, path, labels_csv=None):
        self.path = as_path(path)
        if not self.path.is_dir():
            raise InputError(f"The data must be the name of a set or an existing folder of sounds. Received: {self.path}.")
        files, left_out = find_audio(self.path)
        self.left_out = {self._name(path): reason for path, reason in left_out.items()}
        self._files = {}
        for file in files:
            if self._files.setdefault(self._name(file), file) != file:
                self.left_out[self._name(file)] = "is the name of two files, in different encodings"
        if not files:
            unread = "".join(f" {name or 'It'} {reason}." for name, reason in self.left_out.items())
            looked_for = " ".join(sorted(EXTENSIONS))
            raise InputError(f"There are no sound files in {self.path}.{unread} Looked for: {looked_for}.")
        outside = outside_splits(list(self._files))
        self.left_out |= outside
        names = [name for name in self._files if name not in outside]
        if labels_csv:
            self.label_names, self._labels, unused = labels_of_csv(as_path(labels_csv), names)
            self.left_out |= unused
        else:
            self.label_names, self._labels = labels_of_names(names)

    def _name(self, path):
        return printable(path.relative_to(self.path).as_posix())

    @property
    def description(self):
        """What identifies this set: names, sizes, times and labels of its files."""
        files = {name: (*size_and_time(self._files[name]), labels) for name, labels in self._labels.items()}
        return {"files": len(files), "sha256": hashlib.sha256(json.dumps(files).encode()).hexdigest()}

    def recordings(self):
        """Yield a `Recording` for each file."""
        for name, labels in self._labels.items():
            yield Recording(name, self._files[name], labels)

    def __len__(self):
        return len(self._labels)
