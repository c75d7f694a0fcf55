"""Atomic writing of files and folders: they appear complete or not at all, even if the process is killed."""

import contextlib
import os
import shutil
import tempfile
import uuid
from pathlib import Path

import platformdirs

from kgan.errors import InputError

_SCRATCH = ".unfinished-"


@contextlib.contextmanager
def whole_folder(folder):
    """Yield a scratch folder next to `folder`, which is renamed to `folder` if the block ends without an error.

    Raises:
        OSError: the folder exists and is not empty, or cannot be written.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=folder.parent))
    try:
        yield scratch
        scratch.chmod(0o755)  # mkdtemp's 0700 would hide it from other users, such as a model server
        os.rename(scratch, folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def whole_file(path):
    """Yield a scratch path, which replaces `path` if the block ends without an error; `path` may be remote, see `as_path`."""
    path = as_path(path)
    if not isinstance(path, Path):
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder) / path.name
            yield scratch
            path.write_bytes(scratch.read_bytes())  # a store shows only complete files
        return
    scratch = path.with_name(f"{_SCRATCH}{uuid.uuid4().hex}-{path.name}")  # unique to this writer
    try:
        yield scratch
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def new_folder(path):
    """Return the `Path` of a folder that does not exist yet.

    Raises:
        InputError: the folder exists.
    """
    folder = Path(path).expanduser()
    if folder.exists():
        raise InputError(f"Sounds must be written to a new folder. Received: {folder}, which exists.")
    return folder


def remove_unfinished(folder):
    """Remove the scratch files that a killed process left in a folder, see `whole_folder` and `whole_file`."""
    for scratch in Path(folder).glob(f"{_SCRATCH}*"):
        if scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
        else:
            scratch.unlink(missing_ok=True)


def as_path(path):
    """Return a `Path`; for a URL such as `gs://bucket/folder`, an object with the same methods.

    Raises:
        InputError: the packages for the store are not installed.
    """
    if "://" not in str(path):
        return Path(path).expanduser()
    try:
        from upath import UPath

        remote = UPath(path)
        remote.fs  # noqa: B018  imports the store's own package
    except (ImportError, ValueError) as error:
        raise InputError(
            f"Paths such as gs://bucket/folder need the packages universal-pathlib and that of the store, gcsfs or s3fs."
            f" Received: {path} ({error})."
        ) from None
    return remote


def tensorflow_path(path):
    """Return a path as text for TensorFlow, which supports only UTF-8.

    Raises:
        InputError: the path is not UTF-8.
    """
    try:
        return os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"TensorFlow reads and writes only where the whole path is UTF-8. Received: {path}.") from None


def size_and_time(path):
    """Return a file's size in bytes, the time of its last change in nanoseconds, and whether it is readable."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0, False
    return status.st_size, status.st_mtime_ns, not isinstance(path, Path) or os.access(path, os.R_OK)


def cache_folder():
    """Return the cache folder: `$KGAN_CACHE`, else kgan's folder in the user's cache."""
    return Path(os.environ.get("KGAN_CACHE") or platformdirs.user_cache_dir("kgan")).expanduser()
