"""Names of files, classes and runs as text. They may contain any character, and bytes that are not valid text."""

import html
import re

_STRAY = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates that do not stand for a byte in Python
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MARKS = re.compile(r"[|*`]|(?<![^\W_])_|_(?![^\W_])|\](?=\()|\\(?=[!-/:-@\[-`{-~])")  # Markdown syntax, anywhere in a line
_HTML = re.compile(r"<|&(?=#?\w+;)")


def printable(name):
    r"""Return a name as valid text: bytes that are not UTF-8, as in old archives, are escaped as `\xff`."""
    return _STRAY.sub(_spelt_out, str(name)).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text):
    r"""Return a text on one line: `printable`, with line ends, tabs and other control characters escaped, such as `\n`."""
    return _CONTROL.sub(_spelt_out, printable(text))


def in_markdown(text):
    """Return Markdown that shows a text on one line, also in a table cell."""
    return _HTML.sub(lambda found: html.escape(found[0]), _MARKS.sub(r"\\\g<0>", one_line(text)))


def spell_out(error):
    """Handle an encoding error, see `codecs.register_error`, by escaping the characters that a stream cannot write."""
    return printable(error.object[error.start : error.end]).encode("ascii", "backslashreplace").decode(), error.end


def _spelt_out(found):
    return found[0].encode("unicode_escape").decode()
