"""Start TensorFlow without its greetings."""

import os
import re
import sys
import tempfile
import warnings

from kgan.errors import InputError

# What TensorFlow prints on every start, before its own log level takes effect.
_GREETING = re.compile(rb"^(I\d{4} |WARNING: All log messages before)")


def import_tensorflow_io_quietly():
    """Return the package tensorflow-io, without its two warnings that its native library does not load here.

    What kgan uses of it is made of TensorFlow's own operations, which need no such library.

    Raises:
        InputError: it is not installed.
    """
    with warnings.catch_warnings():
        for message in ("unable to load libtensorflow_io_plugins.so", "file system plugins are not loaded"):
            warnings.filterwarnings("ignore", message)
        try:
            import tensorflow_io
        except ImportError:
            raise InputError("This needs the package tensorflow-io, which has no wheel for every platform.") from None
    return tensorflow_io


def import_tensorflow_quietly():
    """Import TensorFlow with its log turned off, greetings included; errors still raise exceptions.

    With the environment variable `TF_CPP_MIN_LOG_LEVEL` set, all is shown as TensorFlow prints it.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as log:
        os.dup2(log.fileno(), 2)
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            os.write(2, b"".join(line for line in log if not _GREETING.match(line)))
