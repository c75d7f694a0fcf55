"""Which source a name or a path is."""

from kgan.data.folder import FolderSource
from kgan.data.nsynth import NSynthFolderSource, NSynthTarSource, NSynthTFDSSource, NSynthTFRecordSource
from kgan.errors import InputError
from kgan.files import as_path


def find_source(name, split="train", labels_csv=None):
    """Return the source of a set's name or a path: `nsynth`, an archive of NSynth in any of its forms, or a folder of sounds.

    Args:
        name: `nsynth`, `nsynth/full`, `nsynth/gansynth_subset` or a path.
        split: of a named set; a path is what it is.
        labels_csv: labels of a folder's files, see `FolderSource`.

    Raises:
        InputError: there is no such set, file or folder.
    """
    if name == "nsynth" or name.startswith("nsynth/"):
        return NSynthTFDSSource(name, split)
    if name == "notes":
        raise InputError("The built-in notes need no shards: --data notes reads them from their own cache.")
    path = as_path(name)
    if path.is_file():
        if path.suffix == ".tfrecord":
            return NSynthTFRecordSource(path)
        if ".tar" in path.suffixes or path.suffix == ".tgz":
            return NSynthTarSource(path)
        raise InputError(f"A file of sounds must be NSynth's, .tfrecord or .tar.gz. Received: {path}.")
    if (path / "examples.json").is_file():
        return NSynthFolderSource(path)
    return FolderSource(path, labels_csv)
