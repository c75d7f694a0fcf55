"""Files that were joined to one: where each begins, by the headers of their formats."""

import io
import mmap
import re

from kgan.audio.ogg import links_of, pages_of

UNKNOWN_BYTES = 0x7F000000  # from here on a stated size means that it was not known when the header was written

# How a file begins, by which another one is found behind it.
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
    """Return a file object for each of the files that were joined to one: the file itself where it is one."""
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
    """Return the bytes of a file, without reading them where the system can map them, to be used in a `with` block."""
    try:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):  # not a file of the system
        content = file.read()
        file.seek(0)
        return memoryview(content)


def _places(pattern, content):
    """Return where files begin: what looks like one inside the header or the stated length of another is a part of that."""
    places, end = [0], _end(content, 0)
    for match in pattern.finditer(content, 1):
        if match.start() == end and content[end : end + 3] == b"ID3":  # a second tag before the same sound
            end = _end(content, end)
        elif match.start() >= end:
            places.append(match.start())
            end = _end(content, match.start())
    return places


def _end(content, start):
    """Return before which byte no other file begins: the end that a header states, or else that of the header."""
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
