"""Start TensorFlow with oneDNN and without its start-up messages."""

import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

# On a processor with one of these flags, TensorFlow uses oneDNN by default.
_ONEDNN_FLAGS = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}

# Messages that TensorFlow prints on every start, before its log level takes effect.
_GREETING = re.compile(rb"^(I\d{4} |WARNING: All log messages before)")


def use_onednn(cpuinfo=Path("/proc/cpuinfo")):
    """Make TensorFlow use oneDNN on every processor, unless the environment variable `TF_ENABLE_ONEDNN_OPTS` is set.

    TensorFlow reads the variable only when it is imported. If it was already imported without oneDNN, a warning is given.

    Args:
        cpuinfo: Linux's file that lists the processor's flags; if it does not exist, the flags are unknown.
    """
    if "TF_ENABLE_ONEDNN_OPTS" in os.environ:
        return
    if "tensorflow" not in sys.modules:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
        return
    flags = re.search(r"^flags\s*:(.*)", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.exists() else None
    if flags and _ONEDNN_FLAGS.isdisjoint(flags[1].split()):
        warnings.warn(
            "TensorFlow was imported before kgan and leaves oneDNN, its faster kernels, off on this processor."
            " Import kgan before tensorflow and keras, or set the environment variable TF_ENABLE_ONEDNN_OPTS=1.",
            stacklevel=3,  # the line that imports kgan
        )


def import_tensorflow_io_quietly():
    """Return the package tensorflow-io; None if it is not installed, as it has no wheel for Windows or Python 3.13.

    Its two warnings that its native library cannot be loaded are suppressed. The parts that kgan uses consist of TensorFlow's
    own operations and do not need that library.
    """
    with warnings.catch_warnings():
        for message in ("unable to load libtensorflow_io_plugins.so", "file system plugins are not loaded"):
            warnings.filterwarnings("ignore", message)
        try:
            import tensorflow_io
        except ImportError:
            return None
    return tensorflow_io


def import_tensorflow_quietly():
    """Import TensorFlow with its log turned off, including start-up messages. Errors still raise exceptions.

    If the environment variable `TF_CPP_MIN_LOG_LEVEL` is set, TensorFlow's output is not changed.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ or "tensorflow" in sys.modules or sys.stderr is None:
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
