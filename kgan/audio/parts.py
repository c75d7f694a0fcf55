"""Splits concatenated files at the headers of their formats."""

import io
import mmap
import re

from kgan.audio.ogg import links_of, pages_of

UNKNOWN_BYTES = 0x7F000000  # a stated size from here on means that the size was unknown when the header was written

# Patterns at the beginning of a file, which mark the start of the next file.
_STARTS = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        rb"RIFF.{4}WAVE", rb"RIFX.{4}WAVE", rb"RF64.{4}WAVE", rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", rb"FORM.{4}AIF[FC]",
        rb"FORM.{4}(?:8SVX|16SV)", rb"caff\x00\x01\x00\x00", rb"\.snd\x00\x00.{6}\x00\x00\x00.\x00.{3}\x00\x00",
        rb"fLaC[\x00\x80]\x00\x00\x22", rb"TTA1\x01\x00", rb"#!AMR\n", rb"\x00\x00\x00.ftyp",
        rb"FLV\x01[\x01\x04\x05]\x00\x00\x00\x09", rb"ID3[\x02-\x04]\x00.[\x00-\x7f]{4}",
    )
]  # fmt: skip


def parts_of(file):
    """Return a file object for each concatenated file, or the file itself if it is a single one."""
    start = file.read(32)
    file.seek(0)
    pattern = next((each for each in _STARTS if each.match(start)), None)
    if pattern is None and not start.startswith(b"OggS"):
        return [file]
    with bytes_of(file) as content:
        places = _places(pattern, content) if pattern else [link[0].start for link in links_of(pages_of(content))]
        if len(places) < 2:
            return [file]
        return [io.BytesIO(content[first:last]) for first, last in zip(places, [*places[1:], None], strict=True)]


def bytes_of(file):
    """Return the bytes of a file as a context manager. They are memory-mapped if the system allows it."""
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # not a regular file
        content = file.read()
        file.seek(0)
        return memoryview(content)


def _places(pattern, content):
    """Return the places where files begin. A match inside the header or stated length of another file does not count."""
    places, end = [0], _end(content, 0)
    for match in pattern.finditer(content, 1):
        if match.start() == end and content[end : end + 3] == b"ID3":  # a second tag before the same sound
            end = _end(content, end)
        elif match.start() >= end:
            places.append(match.start())
            end = _end(content, match.start())
    return places


def _end(content, start):
    """Return the first byte at which another file may begin: the end stated in the header, or else the header's end."""
    name, size = bytes(content[start : start + 4]), bytes(content[start + 4 : start + 8])
    if name in (b"RIFF", b"RIFX", b"FORM"):
        stated = int.from_bytes(size, "little" if name == b"RIFF" else "big")
        return start + 8 + (stated if stated < UNKNOWN_BYTES else 0)
    if name.startswith(b"ID3"):
        sizes = bytes(content[start + 6 : start + 10])  # seven bits each
        return start + 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(sizes))
    if name == b"fLaC":
        place, is_last = start + 4, False
        while not is_last and place + 4 <= len(content):
            is_last = bool(content[place] & 0x80)
            place += 4 + int.from_bytes(bytes(content[place + 1 : place + 4]), "big")
        return place
    return start + 8
