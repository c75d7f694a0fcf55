"""Names of files, classes and runs as text: they may hold any character, and bytes that are no text at all."""

import html
import re

_STRAY = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # surrogates by which Python holds no byte
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MARKS = re.compile(r"[|*`]|(?<![^\W_])_|_(?![^\W_])|\](?=\()|\\(?=[!-/:-@\[-`{-~])")  # of Markdown, wherever they stand
_HTML = re.compile(r"<|&(?=#?\w+;)")


def printable(name):
    r"""Return a name as text that every file can hold: bytes that are not UTF-8, as in old archives, are spelt out, `\xff`."""
    return _STRAY.sub(_spelt_out, str(name)).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def one_line(text):
    r"""Return a text for one line: `printable`, with line ends, tabs and other control characters spelt out, `\n`."""
    return _CONTROL.sub(_spelt_out, printable(text))


def in_markdown(text):
    """Return a text as Markdown that shows it in one line, in a cell of a table, too."""
    return _HTML.sub(lambda found: html.escape(found[0]), _MARKS.sub(r"\\\g<0>", one_line(text)))


def spell_out(error):
    """Handle an error of encoding, see `codecs.register_error`: what a stream cannot write is spelt out."""
    return printable(error.object[error.start : error.end]).encode("ascii", "backslashreplace").decode(), error.end


def _spelt_out(found):
    return found[0].encode("unicode_escape").decode()
