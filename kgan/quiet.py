"""Start TensorFlow without its greetings."""

import os
import re
import sys
import tempfile

# What TensorFlow prints on every start, before its own log level takes effect.
_GREETING = re.compile(rb"^(I\d{4} |WARNING: All log messages before)")


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
