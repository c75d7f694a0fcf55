"""Reading clips from shards where the system offers little: no positioned reads, and reads that end early."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kgan.data.folder import FolderSource
from kgan.data.prepare import prepare
from kgan.data.recordings import Clipping
from kgan.data.shards import ShardedSounds


@pytest.fixture(params=[1, 2])
def stored(request, tmp_path, rng):
    """The int16 samples of nine files, mono or stereo, and their clips of 300 samples as shards."""
    audio = rng.integers(-(2**15), 2**15, (9, 300, request.param), dtype=np.int16)
    (tmp_path / "sounds").mkdir()
    for i, samples in enumerate(audio):
        soundfile.write(tmp_path / "sounds" / f"{i}.wav", samples, 16000, subtype="PCM_16")
    clipping = Clipping(length_samples=300, channels=request.param, normalize=False)
    prepare(FolderSource(tmp_path / "sounds"), tmp_path / "out", clipping, processes=1)
    return audio if request.param == 2 else audio[..., 0], ShardedSounds(tmp_path / "out")


def test_clips_are_read_where_the_system_has_no_positioned_reads(stored, monkeypatch):
    audio, sounds = stored
    for name in ("pread", "preadv"):
        monkeypatch.delattr(os, name, raising=False)
    order = [8, 0, 3, 3, 1]
    np.testing.assert_array_equal(sounds.read(order), audio[order])


def test_a_read_that_ends_early_is_gone_on_with(stored, monkeypatch):
    audio, sounds = stored

    class InSmallParts(io.FileIO):
        def readinto(self, space):
            return super().readinto(memoryview(space)[:7])

    monkeypatch.setattr(Path, "open", lambda path, *arguments, **options: InSmallParts(path))
    np.testing.assert_array_equal(sounds.read(np.arange(9)), audio)


def test_a_file_that_has_become_shorter_is_an_error(stored):
    _, sounds = stored
    (file,) = sounds.folder.glob("*.tfrecord")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(OSError, match=r"shard-00000\.tfrecord has become shorter than when it was opened"):
        sounds.read([0, 8])
