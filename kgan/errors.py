"""Readable error messages, and the exception for invalid input."""

import difflib
import errno
import os
import re
from collections.abc import Iterable, Sequence

from kgan.text import one_line

LISTED_NAMES = 12  # longer lists are not shown if there is a similar name
LONGEST_REASON = 300  # characters
KEPT = "Everything saved so far is kept."
EXHAUSTED = {"MemoryError", "ResourceExhaustedError"}  # of Python and NumPy, and of TensorFlow

# Text that TensorFlow and Keras put around a message.
_AROUND = re.compile(
    r"\x1b\[[0-9;]*m|\{\{.*?\}\} ?|\s*\[Op:[^]]*\]( name:)?"
    r"|<stack traces unavailable>|Error in user-defined function.*?: Iterator::\S+ "
)
_AFTER = re.compile("Hint:|Arguments received by|Traceback ")
_GRAPH = "Graph execution error"


class InputError(ValueError):
    """Input that kgan cannot use: a wrong name, path, length or file.

    Its message is a full sentence for the user: the rule, then the value that was received. The command line prints it on one
    line and exits with status 2; a notebook shows it like any `ValueError`. Control characters in names are escaped.
    """

    def __init__(self, message: str):
        super().__init__(one_line(message))


def unknown_name(kind: str, received: str, valid: Iterable[str]) -> InputError:
    """Return the error for a name that is not in `valid`, with the most similar valid name."""
    valid = sorted(valid)
    nearest = difflib.get_close_matches(received, valid, n=1, cutoff=0.5)
    hint = f" Did you mean `{nearest[0]}`?" if nearest else ""
    listed = f" Valid: {', '.join(valid)}." if len(valid) <= LISTED_NAMES or not nearest else ""
    return InputError(f"Unknown {kind} `{received}`.{hint}{listed}")


def check_choice(kind: str, received: object, valid: Iterable[str]) -> None:
    """Raise the error of `unknown_name` unless the received name is valid."""
    if str(received) not in valid:
        raise unknown_name(kind, str(received), valid)


def told(error: Exception, smaller: Sequence[str] = ()) -> tuple[bool, str]:
    """Return whether the input or the system caused an exception, rather than kgan or a lack of memory, and a message.

    The message is one line. It says what went wrong and what is kept: the error's attribute `kept`, a sentence, if it has one.

    Args:
        error: the exception.
        smaller: options that need less memory if they are reduced; the message names the first two.
    """
    kept, reason = getattr(error, "kept", KEPT), _reason(error)
    if isinstance(error, InputError):
        return True, str(error)
    if _is_of_the_system(error):
        return True, one_line(f"{reason}. {kept}")
    if _is_of_memory(error):
        hint = f" A smaller {' or '.join(smaller[:2])} needs less." if smaller else ""
        return False, one_line(f"Memory ran out{reason and f': {reason}'}.{hint} {kept}")
    fault = f"This is a bug in kgan, not a fault of your input; {kept[0].lower()}{kept[1:]} Use --debug for details."
    return False, one_line(f"{type(error).__name__}{reason and f': {reason}'}. {fault}")


def _is_of_the_system(error):
    """Return whether the operating system caused the error; TensorFlow and Python have different classes for that."""
    if isinstance(error, OSError):
        return error.errno != errno.ENOMEM
    message = str(getattr(error, "message", ""))
    if re.search(r"\[Errno \d|\bOSError: ", message):  # a Python error within a TensorFlow pipeline
        return True
    return any(f"; {os.strerror(number)}" in message for number in errno.errorcode if number != errno.ENOMEM)


def _is_of_memory(error):
    """Return whether memory ran out; for a GPU's memory there are several error classes."""
    names = {each.__name__ for each in type(error).__mro__}
    return bool(EXHAUSTED & names) or any(text in str(error).lower() for text in ("out of memory", "cannot allocate memory"))


def _reason(error):
    """Return an exception's message, shortened, without the details that TensorFlow and Keras add about their graphs."""
    lines = _AFTER.split(_AROUND.sub("", str(error)))[0].splitlines()
    if lines and lines[0].startswith(_GRAPH):
        lines = [line for line in lines if not line.startswith((" ", "\t", "Detected at", "Stack trace", _GRAPH))]
    text = " ".join(" ".join(lines).split()).rstrip(".")
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}…"
