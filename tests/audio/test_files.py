import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kgan.audio.decode import read_audio
from kgan.audio.files import find_audio, write_sounds, write_wav


def test_wav_round_trip_is_within_half_a_step(tmp_path, rng):
    audio = rng.uniform(-1, 1, 5000).astype(np.float32)
    write_wav(tmp_path / "ü with space.wav", audio, 16000)
    read = read_audio(tmp_path / "ü with space.wav", 16000).audio
    assert read.shape == (5000, 1)
    assert np.abs(read[:, 0] - audio).max() <= 1 / 32768
    assert soundfile.info(tmp_path / "ü with space.wav").subtype == "PCM_16"


def test_write_wav_clips_and_keeps_channels(tmp_path):
    stereo = np.array([[2.0, -2.0], [0.5, 0.25]], np.float32)
    write_wav(tmp_path / "a.wav", stereo, 8000)
    read, rate_hz = soundfile.read(tmp_path / "a.wav")
    assert rate_hz == 8000
    np.testing.assert_allclose(read, [[1, -1], [0.5, 0.25]], atol=1 / 32767)


def found(folder):
    files, left_out = find_audio(folder)
    names = [path.relative_to(folder).as_posix() for path in files]
    return names, {path.relative_to(folder).as_posix(): reason for path, reason in left_out.items()}


def fill(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_sounds_are_found_by_their_suffix_and_what_is_hidden_is_not(tmp_path):
    fill(tmp_path, "b.WAV", "sub/a.flac", ".hidden/c.wav", "notes.txt", "._d.wav")
    (tmp_path / "folder.wav").mkdir()
    assert found(tmp_path) == (["b.WAV", "sub/a.flac"], {})


def test_links_are_followed_and_loops_are_not(tmp_path):
    fill(tmp_path, "set/a/1.wav", "elsewhere/2.wav", "elsewhere/deep/3.wav")
    (tmp_path / "set/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/4.wav").symlink_to(tmp_path / "elsewhere/2.wav")
    (tmp_path / "set/a/up").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "set")
    (tmp_path / "set/self").symlink_to(tmp_path / "set/self")
    names, left_out = found(tmp_path / "set")
    assert names == ["4.wav", "a/1.wav", "b/2.wav", "b/deep/3.wav"]
    assert left_out == {"self": "cannot be read: Too many levels of symbolic links"}


def test_what_cannot_be_looked_into_is_named():
    with tempfile.TemporaryDirectory() as folder:  # which other users may look into, as `tmp_path` they may not
        check_what_is_named(Path(folder))


def check_what_is_named(tmp_path):
    tmp_path.chmod(0o755)
    fill(tmp_path, "good.wav", "closed/1.wav")
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "closed").chmod(0)
    with without_privileges():
        names, left_out = found(tmp_path)
    assert names == ["good.wav"]
    assert left_out == {
        "closed": "cannot be read: Permission denied",
        "gone": "cannot be read: No such file or directory",
        "gone.wav": "cannot be read: No such file or directory",
        "pipe.wav": "is no regular file",
    }


@contextlib.contextmanager
def without_privileges():
    """Be another user than root, who may read everything, where the tests run as root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_write_sounds(tmp_path, rng):
    audio, latents = rng.uniform(-1, 1, (3, 500)), rng.normal(size=(3, 4))
    write_sounds(tmp_path / "out", audio, 16000, latents, b"png")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0000.wav", "0001.wav", "0002.wav", "contact_sheet.png", "latents.npy"]
    assert (np.load(tmp_path / "out" / "latents.npy") == latents).all()
    with pytest.raises(OSError, match="out"):
        write_sounds(tmp_path / "out", audio[:1], 16000, latents, b"new")
    assert (tmp_path / "out" / "contact_sheet.png").read_bytes() == b"png"
