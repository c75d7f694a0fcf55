"""A tone in all that libsndfile and FFmpeg write here, whole and cut off."""

import io

import av
import numpy as np
import pytest
import soundfile

from kgan.audio.decode import read_audio

ONSET_S, END_S = 0.2, 0.8  # of the tone, in a second
FREQUENCY_HZ, LEVEL = 440.0, 0.5
RATES_HZ = (44100, 48000, 16000, 8000)
CUTS = 10

FFMPEG = {  # codecs by container
    "wav": "pcm_s16le pcm_s24le pcm_f32le adpcm_ima_wav adpcm_ms adpcm_yamaha libmp3lame ac3 g722 pcm_alaw",
    "mp3": "libmp3lame", "mp2": "mp2", "adts": "aac", "latm": "aac", "ipod": "aac alac", "3gp": "aac",
    "mp4": "aac libopus flac ac3 libmp3lame", "mov": "aac pcm_s16le pcm_f32le adpcm_ima_qt alac",
    "matroska": "libopus vorbis flac aac pcm_s16le libmp3lame wavpack tta", "webm": "libopus vorbis",
    "ogg": "libopus vorbis flac",
    "flac": "flac", "ac3": "ac3", "eac3": "eac3", "wv": "wavpack", "tta": "tta", "caf": "pcm_s16be alac flac",
    "aiff": "pcm_s16be pcm_s24be pcm_f32be", "au": "pcm_s16be pcm_mulaw", "w64": "pcm_s16le", "avi": "libmp3lame pcm_s16le",
    "flv": "libmp3lame aac", "mpegts": "aac mp2 libmp3lame", "amr": "libopencore_amrnb", "nut": "libopus pcm_s16le",
    "rm": "ac3", "adx": "adpcm_adx", "sox": "pcm_s32le", "ircam": "pcm_s16le", "swf": "libmp3lame", "mpeg": "mp2",
}  # fmt: skip
PIPED = {
    "wav": "pcm_s16le", "flac": "flac", "au": "pcm_s16be", "caf": "pcm_s16be", "aiff": "pcm_s16be", "w64": "pcm_s16le",
    "matroska": "libopus", "mp3": "libmp3lame", "tta": "tta", "wv": "wavpack", "nut": "pcm_s16le", "avi": "pcm_s16le",
}  # fmt: skip
NEEDS_A_RATE = {"RAW", "XI"}  # formats that state none
NEEDS_ITS_PATH = {"SD2"}  # half of it is in another file
RATE_HZ_OF = {"VOC": 8000, "WVE": 8000, "HTK": 16000, "amr": 8000}  # others are rounded, not stated, or not encoded right

# What states no length, or one that no decoder compares with what is there.
WITHOUT_LENGTH = {
    "AVR", "IRCAM", "MAT5", "MPC2K", "NIST", "PAF", "PVF", "VOC", "W64", "WVE", "adts", "adx", "avi", "ircam", "mp2", "mpeg",
    "mpegts", "sox", "swf",
}  # fmt: skip


def tone(rate_hz):
    time_s = np.arange(rate_hz) / rate_hz
    sounds = (time_s >= ONSET_S) & (time_s < END_S)
    return (LEVEL * np.sin(2 * np.pi * FREQUENCY_HZ * time_s) * sounds).astype(np.float32)


def by_libsndfile(container, subtype):
    for rate_hz in (RATE_HZ_OF[container],) if container in RATE_HZ_OF else RATES_HZ:
        file = io.BytesIO()
        try:
            soundfile.write(file, tone(rate_hz), rate_hz, subtype, format=container)
        except soundfile.LibsndfileError:  # not at this rate, or this subtype is only read
            continue
        return rate_hz, file.getvalue()
    return None


class Pipe(io.RawIOBase):
    """What is written can not be changed later."""

    def __init__(self):
        self.content = b""

    def writable(self):
        return True

    def write(self, content):
        self.content += bytes(content)
        return len(content)


def by_ffmpeg(container, codec, piped=False):
    for rate_hz in (RATE_HZ_OF[container],) if container in RATE_HZ_OF else RATES_HZ:
        file = Pipe() if piped else io.BytesIO()
        try:
            with av.open(file, "w", format=container) as output:
                layout = "stereo" if codec == "vorbis" else "mono"
                stream = output.add_stream(codec, rate=rate_hz, layout=layout, options={"strict": "experimental"})
                samples = np.repeat(tone(rate_hz), 2 if layout == "stereo" else 1)
                frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout=layout)
                frame.sample_rate, frame.pts = rate_hz, 0
                context = stream.codec_context
                context.open()
                resampler = av.AudioResampler(context.format.name, context.layout.name, rate_hz, context.frame_size or None)
                for each in (*resampler.resample(frame), *resampler.resample(None)):
                    output.mux(stream.encode(each))
                output.mux(stream.encode(None))
        except (av.FFmpegError, ValueError):  # not at this rate, or not in this build
            continue
        return rate_hz, file.content if piped else file.getvalue()
    return None


@pytest.fixture(scope="module")
def files():
    """`{(container, codec): (rate in hertz, bytes)}`."""
    made = {}
    for container in set(soundfile.available_formats()) - NEEDS_A_RATE - NEEDS_ITS_PATH:
        for subtype in soundfile.available_subtypes(container):
            made[container, subtype] = by_libsndfile(container, subtype)
    for container, codecs in FFMPEG.items():
        for codec in codecs.split():
            made[container, codec] = by_ffmpeg(container, codec)
    for container, codec in PIPED.items():
        made[container, f"{codec} through a pipe"] = by_ffmpeg(container, codec, piped=True)
    made = {name: file for name, file in made.items() if file and len(file[1]) > 100}
    assert len(made) > 170
    return made


def faults_of(decoded, rate_hz):
    """Return what is wrong with a tone, in words."""
    audio = decoded.audio[:, 0]
    length_s, onset_s = len(audio) / rate_hz, np.argmax(np.abs(audio) > 0.2 * np.abs(audio).max()) / rate_hz
    middle = audio[round(0.35 * rate_hz) : round(0.75 * rate_hz)]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**18))
    frequency_hz, level = np.argmax(spectrum) * rate_hz / 2**18, np.sqrt(2 * np.mean(middle**2))
    faults = []
    if not 0.97 < length_s < 1.06:
        faults.append(f"lasts {length_s:.3f} s")
    if not abs(onset_s - ONSET_S) < 0.03:  # of codecs that state no delay
        faults.append(f"begins at {onset_s:.3f} s")
    if not abs(frequency_hz - FREQUENCY_HZ) < 1:
        faults.append(f"has {frequency_hz:.1f} Hz")
    if not abs(level / LEVEL - 1) < 0.12:  # AMR
        faults.append(f"has level {level:.3f}")
    return faults + decoded.remarks


def test_the_tone_is_in_all_of_them(files, tmp_path):
    faults = {}
    for name, (rate_hz, content) in files.items():
        (tmp_path / "sound").write_bytes(content)
        try:
            found = faults_of(read_audio(tmp_path / "sound", rate_hz), rate_hz)
        except ValueError as error:
            found = [str(error)]
        if found:
            faults[name] = found
    end = ["is damaged: part of it cannot be decoded (Invalid data found when processing input)"]  # FFmpeg finds no end
    malformed = ["is damaged: Supported file format but file is malformed"]  # it states an unknown length where none may be
    assert faults == {name: end for name in files if name[0] == "SDS"} | {("caf", "pcm_s16be through a pipe"): malformed}


def outcome(path, rate_hz):
    try:
        decoded = read_audio(path, rate_hz)
    except ValueError as error:
        return str(error), np.zeros(0, np.float32), []
    return None, decoded.audio[:, 0], decoded.remarks


def test_what_is_cut_off_is_read_as_far_as_it_goes_and_said(files, tmp_path):
    """At ten places: no sound that was not there, the same twice, and a word on what is missing where a length is stated."""
    faults = {}
    for name, (rate_hz, content) in files.items():
        path = tmp_path / "sound"
        path.write_bytes(content)
        whole = outcome(path, rate_hz)[1]
        for cut in range(1, CUTS + 1):
            path.write_bytes(content[: len(content) * cut // (CUTS + 1)])
            error, audio, remarks = outcome(path, rate_hz)
            again = outcome(path if name[0] == "w64" else io.BytesIO(path.read_bytes()), rate_hz)
            sure = max(len(audio) - round(0.06 * rate_hz), 0)  # the last frames of a codec may lack what comes after them
            found = []
            if again[0] != error or not np.array_equal(again[1], audio):
                found.append("another time it is read otherwise")
            if len(audio) > len(whole) + 0.1 * rate_hz or np.abs(audio[:sure] - whole[:sure]).max(initial=0.0) > 0.01:
                found.append("holds what was not there")
            stated = name[0] not in WITHOUT_LENGTH and "pipe" not in name[1]
            if len(audio) < len(whole) - 0.15 * rate_hz and not remarks and not error and stated:
                found.append(f"lacks {1 - len(audio) / len(whole):.0%} without a word")
            if found:
                faults[(*name, cut)] = found
    assert faults == {}
