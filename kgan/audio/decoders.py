"""libsndfile and FFmpeg as generators of blocks. They read to the end, because a stated length is often an estimate."""

import contextlib
import io
import itertools
import os
import re
import struct
from pathlib import Path

import av
import numpy as np
import soundfile

from kgan.audio.ogg import pages_of, remarks_on
from kgan.audio.parts import UNKNOWN_BYTES, bytes_of

BLOCK_SAMPLES = 2**16
FRAMES_IN_BLOCK = 64  # FFmpeg's frames have about a thousand samples
MPEG_SUFFIXES = {".mp1", ".mp2", ".mp3", ".mpga"}  # given one, libsndfile takes any bytes for frames and prints messages
INEXACT_FORMATS = {"MP3", "SDS"}  # libsndfile trusts their stated length and makes up missing samples
CODED_IN_BLOCKS = {"IMA_ADPCM", "MS_ADPCM", "GSM610"}  # libsndfile fills a truncated block with the previous one
UNKNOWN_S = 1e6  # a longer stated duration means unknown, as with `UNKNOWN_BYTES`
SLACK_BYTES = 8  # some writers also count the header
SLACK_S, SLACK_SHARE = 0.1, 0.02  # tolerance for the padding of codecs
LEAST_LIKELY = "only with low score of 1,"  # FFmpeg's message if it guesses that arbitrary bytes are a sound
# Formats that cannot make FFmpeg open other files, streams or devices.
SELF_CONTAINED = {
    "protocol_whitelist": "none",
    "format_whitelist": "3gp,aac,ac3,adx,aiff,alp,amr,ape,apm,asf,ast,au,avi,avr,caf,dsf,dts,dtshd,eac3,epaf,flac,flv,g722,gsm,"
    "iff,ircam,kvag,loas,matroska,mov,mp3,mpc,mpc8,mpeg,mpegts,nistsphere,nut,ogg,pvf,rm,sds,sox,swf,tak,tta,voc,vqf,w64,wav,webm,"
    "wsaud,wv,xwma",
}
ESTIMATED, TOO_LONG = "Estimating duration", "filesize and duration do not match"
HARMLESS = (ESTIMATED, TOO_LONG, "Packet corrupt", "Could not find codec parameters", "invalid concatenated file")


class Inexact(Exception):
    """Raised for a format that the other decoder reads exactly."""


class _Stream(soundfile.SoundFile):
    """A file that is read from start to end. Otherwise soundfile stops at the stated length and seeks after each block."""

    def seekable(self):
        return False


def decode_by_libsndfile(file, remarks):
    """Yield pairs of a rate in hertz and a float32 block `(samples, channels)`.

    Args:
        file: Seekable binary file.
        remarks: List to which remarks on missing parts are appended, such as "is cut short".

    Raises:
        Inexact: FFmpeg reads the format better.
        soundfile.LibsndfileError: libsndfile does not know the format.
        ValueError: The end of the file is damaged.
    """
    path = getattr(file, "name", None)
    is_told_by_path = isinstance(path, str | Path) and Path(path).suffix.lower() not in MPEG_SUFFIXES
    with _Stream(os.fsencode(path) if is_told_by_path else file) as sound:
        if sound.format in INEXACT_FORMATS or sound.subtype.startswith("MPEG"):
            raise Inexact
        while len(block := sound.read(out=np.empty((BLOCK_SAMPLES, sound.channels), np.float32))):
            yield sound.samplerate, block
        log = sound.extra_info
    if "short read" in log and sound.subtype in CODED_IN_BLOCKS:
        raise ValueError("its last block is cut off")
    sizes = re.findall(r"(?:data|SSND|BODY|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", log)
    cut = [(int(there), int(stated)) for stated, there in sizes if int(there) + SLACK_BYTES < int(stated) < UNKNOWN_BYTES]
    if cut:
        remarks.append("is cut short: {:,} of {:,} bytes are there".format(*cut[-1]))
    elif "truncated" in log:
        remarks.append("is cut short")
    elif "Exiting parser" in log and sound.format != "SD2":
        remarks.append("has bytes behind its sound that are not read")
    elif sound.format == "OGG":
        remarks += _remarks_on_pages(file)


def _remarks_on_pages(file):
    file.seek(0)
    with bytes_of(file) as content:
        return remarks_on(pages_of(content))


def decode_repaired_wav(file, remarks):
    """Decode, as `decode_by_libsndfile` does, a WAV file whose chunks lack a pad byte or that has several data chunks.

    Raises:
        Inexact: It is not a WAV file.
        soundfile.LibsndfileError: libsndfile cannot decode the samples.
    """
    content = file.read()
    if not re.match(rb"RIFF.{4}WAVE", content, re.DOTALL):
        raise Inexact
    kept, place = {b"fmt ": b"", b"data": b""}, 12
    while header := re.compile(rb"\0?([ -~]{4})(.{4})", re.DOTALL).match(content, place):
        size = struct.unpack("<I", header[2])[0]
        if header[1] in kept:
            kept[header[1]] += content[header.end() : header.end() + size]
        place = header.end() + size
    chunks = b"".join(name + struct.pack("<I", len(chunk)) + chunk for name, chunk in kept.items())
    remarks.append("is read with a warning: its chunks are not where it states")
    yield from decode_by_libsndfile(io.BytesIO(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks), remarks)


def decode_by_ffmpeg(file, remarks):
    """Yield pairs of a rate in hertz and a float32 block `(samples, channels)` of the first audio stream of a file.

    Damaged packets are left out.

    Args:
        file: Seekable binary file.
        remarks: List to which remarks on missing or damaged parts and warnings are appended, such as "is cut short".

    Raises:
        av.FFmpegError: FFmpeg does not know the format.
        ValueError: The file holds no sound, or most of it is damaged.
    """
    with _captured_log() as log, av.open(_Source(file), options=SELF_CONTAINED, metadata_errors="replace") as container:
        if any(LEAST_LIKELY in message for *_, message in log):
            raise ValueError("is of no known format")
        streams = container.streams.audio
        if not streams:
            raise ValueError("holds no sound")
        decoded_s, faults = [], []
        for rate_hz, block in _blocks(_frames(container, streams[0], faults)):
            decoded_s.append(len(block) / rate_hz)
            yield rate_hz, block
        if len(streams) > 1:
            remarks.append(f"holds {len(streams)} streams of sound, of which the first is used")
        messages = [message.strip() for _, _, message in log]
        remarks += _judged(_stated_s(container, streams[0], messages), sum(decoded_s), faults, messages)


class _Source:
    """A file for PyAV whose `seek` raises nothing, because PyAV would print it."""

    def __init__(self, file):
        self.read, self.tell, self._seek = file.read, file.tell, file.seek
        self.name = f"sound{Path(str(getattr(file, 'name', ''))).suffix}"  # it identifies formats without a header

    def seek(self, offset, whence=0):
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return -1


@contextlib.contextmanager
def _captured_log():
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.WARNING)
    av.logging.set_skip_repeated(False)  # otherwise messages of one file appear with the next
    try:
        with av.logging.Capture() as log:
            yield log
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)


def _frames(container, stream, faults):
    """Yield the frames of a stream. Errors in a packet or in the rest of the file are appended to `faults`."""
    stream.codec_context.thread_count = 1  # so that it logs in this thread
    packets, whole = container.demux(stream), 0
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = packet.decode()
        except (av.FFmpegError, EOFError) as error:
            faults.append(error.strerror or str(error))
            if not isinstance(error, av.InvalidDataError) or len(faults) > 100 + whole:
                break
            continue
        whole += len(frames)
        yield from frames
    if len(faults) > whole:
        raise ValueError(f"most of it is damaged: {faults[0]}")


def _blocks(frames):
    for (rate_hz, _), alike in itertools.groupby(frames, key=lambda frame: (frame.sample_rate, len(frame.layout.channels))):
        while some := list(itertools.islice(alike, FRAMES_IN_BLOCK)):
            yield rate_hz, np.concatenate([_samples(frame) for frame in some])


def _samples(frame):
    """Return a frame as float32 `(samples, channels)`. Integers are divided by their full scale."""
    values = frame.to_ndarray()  # (channels, samples), or (1, samples * channels) if they are interleaved
    values = values.T if frame.format.is_planar else values.reshape(frame.samples, -1)
    if values.dtype == np.uint8:
        return (values.astype(np.float32) - 128.0) / 128.0
    if values.dtype.kind == "i":
        return (values / -float(np.iinfo(values.dtype).min)).astype(np.float32)
    return values.astype(np.float32)


def _stated_s(container, stream, messages):
    """Return the duration that a file states, or 0 if FFmpeg only estimates it from the size of the file."""
    if any(message.startswith(ESTIMATED) for message in messages):
        return 0.0
    if container.format.name == "mp3" and not any(message.startswith(TOO_LONG) for message in messages):
        return 0.0
    stated_s = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / av.time_base
    return stated_s if stated_s < UNKNOWN_S else 0.0


def _judged(stated_s, decoded_s, faults, messages):
    """Return a list with the most important remark, or an empty list."""
    if stated_s - decoded_s > max(SLACK_S, SLACK_SHARE * stated_s):
        return [f"is cut short: {decoded_s:.2f} s of {stated_s:.2f} s are there"]
    if faults:
        return [f"is damaged: part of it cannot be decoded ({faults[0]})"]
    told = [message for message in messages if not message.startswith(HARMLESS)]
    return [f"is read with a warning: {told[0].splitlines()[0]}"] if told else []
