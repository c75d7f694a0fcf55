"""How TensorFlow starts: with oneDNN, and without its greetings."""

import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

# A processor with one of these flags makes TensorFlow use oneDNN of its own accord.
_ONEDNN_FLAGS = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}

# What TensorFlow prints on every start, before its own log level takes effect.
_GREETING = re.compile(rb"^(I\d{4} |WARNING: All log messages before)")


def use_onednn(cpuinfo=Path("/proc/cpuinfo")):
    """Make TensorFlow use oneDNN on every processor, unless the environment variable `TF_ENABLE_ONEDNN_OPTS` is set.

    TensorFlow reads the variable once, when it is imported. A warning tells where that has happened without oneDNN.

    Args:
        cpuinfo: file of Linux that lists the processor's flags; without it nothing is known of them.
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
            stacklevel=3,  # where kgan is imported
        )


def import_tensorflow_io_quietly():
    """Return the package tensorflow-io, None where it is not installed: it has no wheel for Windows and Python 3.13.

    Its two warnings that its native library does not load here are left out. What kgan uses of it is made of TensorFlow's own
    operations, which need no such library.
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
    """Import TensorFlow with its log turned off, greetings included; errors still raise exceptions.

    With the environment variable `TF_CPP_MIN_LOG_LEVEL` set, all is shown as TensorFlow prints it.
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
