import contextlib
import os
import resource

import librosa
import numpy as np
import pytest
import soundfile

from kgan.audio.files import find_audio, read_audio, write_sounds, write_wav


def test_wav_round_trip_is_within_half_a_step(tmp_path, rng):
    audio = rng.uniform(-1, 1, 5000).astype(np.float32)
    write_wav(tmp_path / "ü with space.wav", audio, 16000)
    read = read_audio(tmp_path / "ü with space.wav", 16000)
    assert read.shape == (5000, 1)
    assert np.abs(read[:, 0] - audio).max() <= 1 / 32768
    assert soundfile.info(tmp_path / "ü with space.wav").subtype == "PCM_16"


def test_write_wav_clips_and_keeps_channels(tmp_path):
    stereo = np.array([[2.0, -2.0], [0.5, 0.25]], np.float32)
    write_wav(tmp_path / "a.wav", stereo, 8000)
    read, rate_hz = soundfile.read(tmp_path / "a.wav")
    assert rate_hz == 8000
    np.testing.assert_allclose(read, [[1, -1], [0.5, 0.25]], atol=1 / 32767)


@pytest.mark.parametrize("extension", ["flac", "ogg", "aiff", "mp3"])
def test_reads_other_formats_at_another_rate_as_librosa_does(tmp_path, extension):
    time_s = np.arange(44100) / 44100
    stereo = np.stack([np.sin(2 * np.pi * 440 * time_s), 0.5 * np.sin(2 * np.pi * 440 * time_s)], axis=1)
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, stereo, 44100)
    mono = read_audio(path, 16000)
    expected, _ = librosa.load(path, sr=16000)
    np.testing.assert_allclose(mono[:, 0], expected, atol=1e-5)
    assert abs(np.sqrt(np.mean(mono[2000:14000] ** 2)) - 0.75 / np.sqrt(2)) < 0.01
    assert read_audio(path, 16000, channels=2).shape == (len(mono), 2)


def test_mono_becomes_stereo_by_copying(tmp_path):
    write_wav(tmp_path / "a.wav", np.linspace(-1, 1, 100), 16000)
    stereo = read_audio(tmp_path / "a.wav", 16000, channels=2)
    assert stereo.shape == (100, 2)
    assert (stereo[:, 0] == stereo[:, 1]).all()


def test_bad_files_are_told_in_words(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    for name, reason in [
        ("empty.wav", "cannot be decoded"),
        ("text.wav", "cannot be decoded"),
        ("none.wav", "holds no samples"),
        ("nan.wav", "holds NaN or infinite samples"),
    ]:
        with pytest.raises(ValueError, match=reason):
            read_audio(tmp_path / name, 16000)


def test_find_audio(tmp_path):
    for name in ("b.WAV", "sub/a.flac", ".hidden/c.wav", "notes.txt", "._d.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.wav").mkdir()
    assert [path.relative_to(tmp_path).as_posix() for path in find_audio(tmp_path)] == ["b.WAV", "sub/a.flac"]


def test_write_sounds(tmp_path, rng):
    audio, latents = rng.uniform(-1, 1, (3, 500)), rng.normal(size=(3, 4))
    write_sounds(tmp_path / "out", audio, 16000, latents, b"png")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0000.wav", "0001.wav", "0002.wav", "contact_sheet.png", "latents.npy"]
    assert (np.load(tmp_path / "out" / "latents.npy") == latents).all()
    with pytest.raises(OSError, match="out"):
        write_sounds(tmp_path / "out", audio[:1], 16000, latents, b"new")
    assert (tmp_path / "out" / "contact_sheet.png").read_bytes() == b"png"


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


def test_the_reason_is_the_decoder_s_own(tmp_path):
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ValueError, match=r"^cannot be decoded: Format not recognised\.$"):
        read_audio(tmp_path / "text.wav", 16000)
