"""Parses the bytes of a Standard MIDI File into tracks of messages. A broken file is read as far as possible."""

import struct
from typing import NamedTuple

from mido import Message, MetaMessage
from mido.messages import SPEC_BY_STATUS

HEADER = struct.Struct(">4sIHHH")  # MThd, length, format, number of tracks, division
SMPTE_FRAMES_PER_S = {24: 24.0, 25: 25.0, 29: 30000 / 1001, 30: 30.0}
MIDI_PORT, END_OF_TRACK, SET_TEMPO = 0x21, 0x2F, 0x51


class BrokenError(Exception):
    """Bytes that are not MIDI."""


class FileEndError(BrokenError):
    """The file ends where more was expected."""


class Track(NamedTuple):
    """The messages of a track."""

    messages: list  # mido messages; their times are in ticks from the start of the track
    end: int  # in ticks
    fault: BrokenError | None  # why the track could not be read to its end


def open_content(content):
    """Return the bytes after the header, and the header's format, number of tracks and division."""
    start = content.find(b"MThd")
    if start < 0:
        raise BrokenError("it has no header, MThd" if content else "it is empty")
    header = content[start : start + HEADER.size]
    if len(header) < HEADER.size:
        raise BrokenError(f"it ends within its header, after {len(header)} of {HEADER.size} bytes")
    _, _, form, count, division = HEADER.unpack(header)
    frames, ticks = 256 - (division >> 8), division & 0xFF
    if form > 2:
        raise BrokenError(f"it has format {form}, where 0, 1 and 2 are known")
    if division == 0 or (division >= 0x8000 and ticks == 0):
        raise BrokenError("its time has no unit: 0 ticks per beat or frame")
    if division >= 0x8000 and frames not in SMPTE_FRAMES_PER_S:
        raise BrokenError(f"its time is in {frames} frames per second, where SMPTE has 24, 25, 29 (29.97) and 30")
    return _Source(content, start + HEADER.size), form, count, division


def read_tracks(source, left_out):
    """Return all tracks; each begins after a mark MTrk."""
    content, tracks, mark = source.content, [], 0
    while mark >= 0:
        mark = content.find(b"MTrk", source.at)
        gap = content[source.at : mark if mark >= 0 else None]
        if gap.strip(b"\0") and not (tracks and tracks[-1].fault):  # zeros are padding
            left_out["bytes"] += len(gap)
        if mark >= 0:
            source.at = mark + 8
            tracks.append(_track(source))
    if not tracks:
        raise BrokenError("no track, MTrk, follows its header")
    left_out["clipped"] = source.clipped
    return tracks


def _track(source):
    """Return the track that begins here. It ends at its end message, or at its stated length if a chunk follows there."""
    content, start = source.content, source.at
    stated = start + int.from_bytes(content[start - 4 : start], "big")
    source.end = stated if content[stated : stated + 4].isalpha() else len(content)
    messages, time, running, fault = [], 0, None, None
    try:
        while source.at < source.end and not content.startswith(b"MTrk", source.at):
            later = time + source.number()
            message, running = source.message(later, running)
            time = later
            if message is not None:
                messages.append(message)
                if message.type == "end_of_track":
                    return Track(messages, time, None)
        if source.at != stated or source.at > len(content):
            error = FileEndError if source.at >= len(content) else BrokenError
            raise error("it has no end")
    except BrokenError as error:
        fault = error
    return Track(messages, time, fault)


class _Source:
    """Reads the bytes of a file in order, up to `end`."""

    def __init__(self, content, at):
        self.content, self.at, self.end, self.clipped = content, at, len(content), 0

    def take(self, count=1):
        """Return the next bytes."""
        if self.at + count > self.end:
            error = FileEndError if self.end == len(self.content) else BrokenError
            raise error("a message is longer than its track")
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self):
        """Return the next variable-length number, with seven bits per byte."""
        value = 0
        for _ in range(4):
            (byte,) = self.take()
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value
        raise BrokenError("a number has more than 4 bytes")

    def message(self, time, running):
        """Return the next message in mido's form, or None if it does not concern notes, and the running status."""
        (status,) = self.take()
        if status == 0xFF:
            (kind,) = self.take()
            return _meta(kind, self.take(self.number()), time), running
        if status in (0xF0, 0xF7):  # system exclusive
            self.take(self.number())
            return None, running
        data = b""
        if status < 0x80:
            status, data = running, bytes([status])
        if status not in SPEC_BY_STATUS:
            raise BrokenError("a data byte has no status before it" if status is None else f"0x{status:02X} is no status")
        data += self.take(SPEC_BY_STATUS[status]["length"] - 1 - len(data))
        if status > 0xF0:  # system message
            return None, running
        self.clipped += sum(byte > 127 for byte in data)
        return Message.from_bytes([status, *(min(byte, 127) for byte in data)], time), status


def _meta(kind, data, time):
    """Return the mido message of a meta event that concerns notes. An invalid tempo becomes 0."""
    if kind == SET_TEMPO:
        return MetaMessage("set_tempo", tempo=int.from_bytes(data[:3], "big") if len(data) >= 3 else 0, time=time)
    if kind == MIDI_PORT:
        return MetaMessage("midi_port", port=int.from_bytes(data[:1], "big"), time=time)
    return MetaMessage("end_of_track", time=time) if kind == END_OF_TRACK else None
