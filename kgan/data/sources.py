"""Find the source for a name or a path."""

from kgan.data.folder import FolderSource
from kgan.data.nsynth import NSynthFolderSource, NSynthTarSource, NSynthTFDSSource, NSynthTFRecordSource
from kgan.data.shards import is_prepared
from kgan.errors import InputError
from kgan.files import as_path


def find_source(name, split=None, labels_csv=None):
    """Return the source for a name or a path: `nsynth`, an archive of NSynth in any of its forms, or a folder of sounds.

    Args:
        name: `nsynth`, `nsynth/full`, `nsynth/gansynth_subset` or a path.
        split: split of a named set; None for `train`.
        labels_csv: CSV file with labels of a folder's files, see `FolderSource`.

    Raises:
        InputError: there is no such set, file or folder, or `labels_csv` is given for a set that has its own labels.
    """
    source = _find(name, split, labels_csv)
    if split and not isinstance(source, NSynthTFDSSource):
        raise InputError(f"`split` is for nsynth here: all of {name} is prepared. Received: {split}. Give it when you train.")
    if labels_csv and not isinstance(source, FolderSource):
        raise InputError(
            f"`labels_csv` is for a folder of sounds. Received: {labels_csv} beside {name}, which has its own labels."
        )
    return source


def _find(name, split, labels_csv):
    if name == "nsynth" or name.startswith("nsynth/"):
        return NSynthTFDSSource(name, split or "train")
    if name == "notes":
        raise InputError("The built-in notes need no shards: --data notes reads them from their own cache.")
    path = as_path(name)
    if path.is_file():
        if path.suffix == ".tfrecord":
            return NSynthTFRecordSource(path)
        if ".tar" in path.suffixes or path.suffix == ".tgz":
            return NSynthTarSource(path)
        raise InputError(f"A file of sounds must be NSynth's, .tfrecord or .tar.gz. Received: {path}.")
    if is_prepared(path):
        raise InputError(f"The folder is already prepared: --data {path} reads it. Received: {path}.")
    if (path / "examples.json").is_file():
        return NSynthFolderSource(path)
    return FolderSource(path, labels_csv)
