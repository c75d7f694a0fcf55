import contextlib
import errno
import io
import os
import resource
import struct

import librosa
import numpy as np
import pytest
import soundfile

from kgan.audio.decode import conform, read_audio
from kgan.audio.files import write_wav

RATE_HZ = 16000


def sine(seconds=1.0, rate_hz=RATE_HZ, frequency_hz=440.0, level=0.5):
    return level * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def encoded(audio, rate_hz=RATE_HZ, **options):
    file = io.BytesIO()
    soundfile.write(file, audio, rate_hz, **options)
    return file.getvalue()


def wav(*chunks, riff_bytes=0):
    """Return a WAV file of 16-bit mono samples at 16 kHz, of what follows its format."""
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, RATE_HZ, 2 * RATE_HZ, 2, 16)
    return b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE" + head + b"".join(chunks)


def data(samples, stated=None):
    content = (samples * 32768).astype("<i2").tobytes()
    return b"data" + struct.pack("<I", len(content) if stated is None else stated) + content


@pytest.mark.parametrize("extension", ["flac", "ogg", "aiff", "mp3"])
def test_reads_other_formats_at_another_rate_as_librosa_does(tmp_path, extension):
    stereo = np.stack([sine(rate_hz=44100), sine(rate_hz=44100, level=0.25)], axis=1)
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, stereo, 44100)
    mono = read_audio(path, 16000)
    expected, _ = librosa.load(path, sr=16000)
    np.testing.assert_allclose(mono.audio[:, 0], expected, atol=1e-5)
    assert mono.file_rate_hz == 44100
    assert mono.remarks == []
    assert read_audio(path, 16000, channels=2).audio.shape == (len(mono.audio), 2)


def test_mono_becomes_stereo_by_copying(tmp_path):
    write_wav(tmp_path / "a.wav", np.linspace(-1, 1, 100), 16000)
    stereo = read_audio(tmp_path / "a.wav", 16000, channels=2).audio
    assert stereo.shape == (100, 2)
    assert (stereo[:, 0] == stereo[:, 1]).all()


@pytest.mark.parametrize(
    ("channels", "left", "right"),
    [
        (3, [0, 2], [1, 2]),  # left, right, centre
        (4, [0, 2], [1, 3]),  # left, right, left behind, right behind
        (5, [0, 2, 3], [1, 2, 4]),
        (6, [0, 2, 3, 4], [1, 2, 3, 5]),  # the fourth holds low frequencies
        (7, [0, 2, 3, 4, 5], [1, 2, 3, 4, 6]),
        (8, [0, 2, 3, 4, 6], [1, 2, 3, 5, 7]),
    ],
)
def test_many_channels_become_two_by_their_sides(rng, channels, left, right):
    audio = rng.uniform(-0.5, 0.5, (500, channels)).astype(np.float32)
    stereo = read_audio(io.BytesIO(encoded(audio, format="WAV", subtype="FLOAT")), RATE_HZ, channels=2).audio
    np.testing.assert_allclose(stereo, np.stack([audio[:, left].mean(1), audio[:, right].mean(1)], axis=1), atol=1e-6)
    mono = read_audio(io.BytesIO(encoded(audio, format="WAV", subtype="FLOAT")), RATE_HZ).audio
    np.testing.assert_allclose(mono[:, 0], audio.mean(axis=1), atol=1e-6)


def test_channels_of_unknown_places_are_not_guessed(rng):
    content = encoded(rng.uniform(-0.5, 0.5, (100, 12)), format="WAV")
    with pytest.raises(ValueError, match="has 12 channels of unknown places; --data.channels 1 takes their mean"):
        read_audio(io.BytesIO(content), RATE_HZ, channels=2)
    assert read_audio(io.BytesIO(content), RATE_HZ).audio.shape == (100, 1)


def test_channels_in_antiphase_are_not_called_silent():
    antiphase = np.stack([sine(), -sine()], axis=1)
    for read in (
        lambda channels: read_audio(io.BytesIO(encoded(antiphase, format="WAV")), RATE_HZ, channels).audio,
        lambda channels: conform(antiphase, RATE_HZ, RATE_HZ, channels),
    ):
        with pytest.raises(ValueError, match="has channels that cancel each other when mixed"):
            read(1)
        np.testing.assert_allclose(read(2), antiphase, atol=1e-4)
    assert np.abs(conform(np.stack([sine(), 0 * sine()], axis=1), RATE_HZ, RATE_HZ, 1)).max() == pytest.approx(0.25, abs=1e-3)


def test_bad_files_are_told_in_words(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    for name, reason in [
        ("empty.wav", "is empty$"),
        ("text.wav", "cannot be decoded: Format not recognised; Invalid data found when processing input$"),
        ("none.wav", "holds no samples"),
        ("nan.wav", "holds NaN or infinite samples"),
        ("missing.wav", "cannot be read: No such file or directory"),
    ]:
        with pytest.raises(ValueError, match=f"^{reason}"):
            read_audio(tmp_path / name, 16000)


def test_a_failing_machine_is_not_a_bad_file(tmp_path):
    """With no file left to open, the sounds that follow would all be taken for damaged ones."""
    write_wav(tmp_path / "good.wav", np.ones(100), 16000)
    read_audio(tmp_path / "good.wav", 16000)  # imports what it needs
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, hard))
        with contextlib.suppress(OSError):
            while True:
                opened.enter_context(open(os.devnull))
        with pytest.raises(OSError, match="Too many open files"):
            read_audio(tmp_path / "good.wav", 16000)


def test_a_disk_that_fails_while_it_is_read_is_not_a_bad_file():
    class Failing(io.BytesIO):
        def readinto(self, buffer):
            raise OSError(errno.EIO, "Input/output error")

        def read(self, size=-1):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        read_audio(Failing(encoded(sine(), format="FLAC")), RATE_HZ)


# Lengths that are stated wrong


def vbr_mp3_without_its_header(audio, rate_hz=44100):
    """Return a variable-rate MP3 without its first frame, which states how many there are."""
    content = encoded(audio, rate_hz, format="MP3", bitrate_mode="VARIABLE", compression_level=0.2)
    first = content.find(b"\xff\xfb")
    return content[content.find(b"\xff\xfb", first + 4) :]


@pytest.mark.parametrize("loud_first", [True, False])
def test_an_mp3_whose_length_is_an_estimate_is_read_to_its_end(rng, loud_first):
    """libsndfile takes 0.70 s or 11.02 s for its length."""
    time_s = np.arange(4 * 44100) / 44100
    noise = 0.3 * rng.standard_normal(len(time_s))
    audio = np.where(time_s < 0.3, noise, sine(4.0, 44100)) if loud_first else np.where(time_s < 0.4, 0.0, noise)
    content = vbr_mp3_without_its_header(audio)
    decoded = read_audio(io.BytesIO(content), 44100)
    assert len(decoded.audio) == 155 * 1152  # all frames
    assert decoded.remarks == []
    np.testing.assert_array_equal(read_audio(io.BytesIO(content), 44100).audio, decoded.audio)
    steady = decoded.audio[2 * 44100 : 3 * 44100, 0]
    level = 0.5 / np.sqrt(2) if loud_first else 0.3
    assert np.sqrt(np.mean(steady**2)) == pytest.approx(level, rel=0.05)


def test_an_mp3_that_is_cut_ends_where_its_frames_end():
    """It states 10 s; what follows its end is memory that was never written, to libsndfile."""
    content = encoded(sine(10.0), format="MP3")
    decoded = read_audio(io.BytesIO(content[: len(content) // 2]), RATE_HZ)
    assert 4.7 < len(decoded.audio) / RATE_HZ < 5.3
    assert decoded.remarks == [f"is cut short: {len(decoded.audio) / RATE_HZ:.2f} s of 10.00 s are there"]
    whole = read_audio(io.BytesIO(content), RATE_HZ)
    assert whole.remarks == []
    assert len(whole.audio) == 10 * RATE_HZ
    np.testing.assert_allclose(decoded.audio[: 4 * RATE_HZ], whole.audio[: 4 * RATE_HZ], atol=1e-6)


def test_a_wav_whose_data_state_no_length_is_read_to_its_end():
    """So does a recorder that was cut off, and a program that writes to a pipe."""
    for stated in (0, 0xFFFFFFFF, 0x7FFFFFFF):
        decoded = read_audio(io.BytesIO(wav(data(sine(2.0), stated))), RATE_HZ).audio[:, 0]
        np.testing.assert_allclose(decoded, sine(2.0), atol=1e-4)


def test_a_flac_that_states_no_length_is_read_to_its_end():
    content = bytearray(encoded(sine(2.0), format="FLAC"))
    content[21] &= 0xF0  # the 36 bits of the number of samples
    content[22:26] = bytes(4)
    decoded = read_audio(io.BytesIO(bytes(content)), RATE_HZ)
    np.testing.assert_allclose(decoded.audio[:, 0], sine(2.0), atol=1e-4)


@pytest.mark.parametrize("name", [b"LIST", b"id3 "])
def test_a_wav_whose_chunk_lacks_its_pad_byte_is_read(name):
    decoded = read_audio(io.BytesIO(wav(name + struct.pack("<I", 5) + b"INFOx", data(sine(2.0)))), RATE_HZ)
    np.testing.assert_allclose(decoded.audio[:, 0], sine(2.0), atol=1e-4)
    assert decoded.remarks == ["is read with a warning: its chunks are not where it states"]


def test_a_wav_of_two_chunks_of_samples_is_read_whole():
    decoded = read_audio(io.BytesIO(wav(data(sine(2.0)[:RATE_HZ]), data(sine(2.0)[RATE_HZ:]))), RATE_HZ)
    np.testing.assert_allclose(decoded.audio[:, 0], sine(2.0), atol=1e-4)


def test_bytes_behind_the_sound_are_told():
    content = wav(data(sine(2.0), stated=2 * RATE_HZ), riff_bytes=36 + 4 * RATE_HZ)
    decoded = read_audio(io.BytesIO(content), RATE_HZ)
    assert len(decoded.audio) == RATE_HZ
    assert decoded.remarks == ["has bytes behind its sound that are not read"]


def test_a_wav_that_is_cut_says_how_much_is_there():
    decoded = read_audio(io.BytesIO(wav(data(sine(2.0), stated=8 * RATE_HZ))), RATE_HZ)
    assert len(decoded.audio) == 2 * RATE_HZ
    assert decoded.remarks == ["is cut short: 64,000 of 128,000 bytes are there"]


# Several files in one


@pytest.mark.parametrize(
    "options",
    [
        {"format": "WAV"}, {"format": "RF64"}, {"format": "W64"}, {"format": "AIFF"}, {"format": "AU"}, {"format": "CAF"},
        {"format": "FLAC"}, {"format": "OGG", "subtype": "VORBIS"}, {"format": "OGG", "subtype": "OPUS"}, {"format": "SVX"},
    ],
    ids=lambda options: "_".join(options.values()),
)  # fmt: skip
def test_files_that_were_joined_are_read_whole(options):
    """Each part has its own length and, but for Opus, its own rate."""
    parts = [encoded(sine(0.5, 16000), 16000, **options), encoded(sine(1.0, 24000, 660.0), 24000, **options)]
    decoded = read_audio(io.BytesIO(b"".join(parts)), RATE_HZ)
    alone = [read_audio(io.BytesIO(part), RATE_HZ).audio for part in parts]
    assert [len(each) for each in alone] == [8000, 16000]
    np.testing.assert_array_equal(decoded.audio, np.concatenate(alone))
    assert decoded.remarks == []


def test_mp3s_that_were_joined_are_read_whole():
    part = encoded(sine(1.0), format="MP3")
    decoded = read_audio(io.BytesIO(part + part), RATE_HZ)
    assert 2.0 <= len(decoded.audio) / RATE_HZ < 2.2
    for start_s in (0.3, 1.4):
        steady = decoded.audio[int(start_s * RATE_HZ) : int((start_s + 0.4) * RATE_HZ), 0]
        assert np.sqrt(np.mean(steady**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def test_a_part_that_cannot_be_read_is_told():
    good, bad = encoded(sine(), format="WAV"), wav(b"data" + bytes(4), riff_bytes=36)
    decoded = read_audio(io.BytesIO(good + bad), RATE_HZ)
    assert len(decoded.audio) == RATE_HZ
    assert decoded.remarks == ["holds no samples, in part 2 of 2"]


def test_what_cannot_seek_is_read(tmp_path):
    class Pipe(io.RawIOBase):
        def __init__(self, content):
            self._file = io.BytesIO(content)

        def readable(self):
            return True

        def readinto(self, buffer):
            return self._file.readinto(buffer)

    for options in ({"format": "WAV"}, {"format": "MP3"}, {"format": "FLAC"}):
        content = encoded(sine(), **options)
        np.testing.assert_array_equal(read_audio(Pipe(content), RATE_HZ).audio, read_audio(io.BytesIO(content), RATE_HZ).audio)


def id3(content):
    """Return an ID3v2 tag."""
    sizes = bytes(len(content) >> 7 * place & 127 for place in (3, 2, 1, 0))
    return b"ID3\x03\x00\x00" + sizes + content


def test_files_inside_another_s_header_or_chunks_are_no_parts_of_it():
    """A picture or a sample may be kept there."""
    mp3, flac = encoded(sine(), format="MP3"), encoded(sine(), format="FLAC")
    inner = encoded(sine(0.5, frequency_hz=880.0), format="WAV")
    block = b"\x02" + len(flac).to_bytes(3, "big") + flac  # a FLAC file's block of an application
    for content in (
        wav(b"JUNK" + struct.pack("<I", len(inner)) + inner, data(sine()), riff_bytes=44 + len(inner) + 2 * RATE_HZ),
        id3(b"GEOB" + struct.pack(">I", len(mp3)) + b"\0\0\0" + mp3) + mp3,
        id3(bytes(100)) + id3(bytes(50)) + mp3,
        flac[:42] + block + flac[42:],
    ):
        decoded = read_audio(io.BytesIO(content), RATE_HZ).audio[:, 0]
        assert len(decoded) == RATE_HZ
        spectrum = np.abs(np.fft.rfft(decoded[1600:-1600] * np.hanning(RATE_HZ - 3200), RATE_HZ))
        assert np.argmax(spectrum) == 440


def test_a_tag_of_each_of_joined_files_is_no_sound():
    part = id3(bytes(30)) + encoded(sine(), format="MP3")
    decoded = read_audio(io.BytesIO(part + part), RATE_HZ)
    alone = read_audio(io.BytesIO(part), RATE_HZ).audio
    np.testing.assert_array_equal(decoded.audio, np.concatenate([alone, alone]))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_lacks_pages_says_so(subtype):
    content = encoded(sine(20.0), format="OGG", subtype=subtype)
    middle = len(content) // 2
    flipped = bytearray(content)
    flipped[middle] ^= 0xFF
    for damaged in (content[:middle] + content[middle + 3000 :], bytes(flipped)):
        decoded = read_audio(io.BytesIO(damaged), RATE_HZ)
        assert 1.0 < len(decoded.audio) / RATE_HZ <= 20.0
        assert decoded.remarks == ["is damaged: some of its pages are missing or broken"]
    assert read_audio(io.BytesIO(content), RATE_HZ).remarks == []


@pytest.mark.parametrize(
    "content",
    [
        b"ffconcat version 1.0\nfile other.flac\n",
        b"#EXTM3U\n#EXTINF:1,\nother.flac\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
        "hello".encode("utf-16") * 100,
    ],
    ids=["ffconcat", "playlist", "session", "utf-16"],
)
def test_what_names_other_files_or_is_no_sound_is_not_opened(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("other.flac", sine(), RATE_HZ)
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be decoded"):
        read_audio("a.wav", RATE_HZ)


def test_a_size_of_the_whole_file_that_is_wrong_says_nothing_of_its_sound():
    decoded = read_audio(io.BytesIO(wav(data(sine()), riff_bytes=999_999)), RATE_HZ)
    assert (len(decoded.audio), decoded.remarks) == (RATE_HZ, [])


def test_a_tone_that_a_lower_rate_cannot_hold_is_not_said_to_cancel():
    high = sine(1.0, 44100, 12000.0) * np.hanning(44100)
    for audio in (high, np.stack([high, high], axis=1)):
        assert np.abs(read_audio(io.BytesIO(encoded(audio, 44100, format="WAV")), RATE_HZ).audio).max() < 1e-3


def test_the_stream_of_sound_is_chosen_and_others_are_told(tmp_path):
    import av

    path = tmp_path / "two.mka"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("flac", rate=RATE_HZ, layout="mono") for _ in range(2)]
        for stream, frequency_hz in zip(streams, (440.0, 660.0), strict=True):
            samples = (sine(1.0, frequency_hz=frequency_hz) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.sample_rate, frame.pts = RATE_HZ, 0
            container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    decoded = read_audio(path, RATE_HZ)
    np.testing.assert_allclose(decoded.audio[:, 0], sine(), atol=1e-4)
    assert decoded.remarks == ["holds 2 streams of sound, of which the first is used"]
