"""Pages of Ogg files (RFC 3533): finds missing pages, and where another file begins."""

import re
import struct
import zlib
from typing import NamedTuple

_HEADER = struct.Struct("<4sBBqIIIB")  # OggS, version, flags, granule, stream, number, checksum, count of segments
_FIRST, _LAST = 2, 4  # flags of the first and the last page of a stream
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """A page: its place in the file and the values of its header. `is_whole` tells whether its checksum is correct."""

    start: int
    end: int
    flags: int
    stream: int
    number: int
    is_whole: bool


def pages_of(content):
    """Return the pages in the bytes of a file, in order."""
    pages, place = [], 0
    for match in re.finditer(b"OggS\x00", content):
        if match.start() < place or match.start() + _HEADER.size > len(content):
            continue
        *_, flags, _, stream, number, checksum, segments = _HEADER.unpack_from(content, match.start())
        start, body = match.start(), match.start() + _HEADER.size + segments
        end = body + sum(content[body - segments : body])
        page = bytes(content[start : start + 22]) + bytes(4) + bytes(content[start + 26 : end])
        is_whole = end <= len(content) and _checksum(page) == checksum
        pages.append(Page(start, end, flags, stream, number, is_whole))
        place = end if is_whole else start + 1
    return pages


def links_of(pages):
    """Split the pages into those of each concatenated file. Each file starts with the first pages of its streams."""
    links = []
    for page, before in zip(pages, [None, *pages], strict=False):
        if not links or (page.flags & _FIRST and not before.flags & _FIRST):
            links.append([])
        links[-1].append(page)
    return links


def remarks_on(pages):
    """Return a list with a remark on what is missing or unused in a file with these pages, or an empty list."""
    damaged = sum(not page.is_whole for page in pages)
    last = {}
    for page in pages:
        damaged += page.number != last[page.stream].number + 1 if page.stream in last else not page.flags & _FIRST
        last[page.stream] = page
    if damaged:
        return ["is damaged: some of its pages are missing or broken"]
    if not all(page.flags & _LAST for page in last.values()):
        return ["is cut short: its last page is missing"]
    if len(last) > 1:
        return [f"holds {len(last)} streams, of which the first with sound is used"]
    return []


def _checksum(page):
    """Return the checksum of a page whose checksum field is zero: CRC-32 in reverse bit order, from 0 and not inverted."""
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
