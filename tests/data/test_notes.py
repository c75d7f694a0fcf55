import collections
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from kgan.audio.pitch import estimate_pitch
from kgan.data import notes
from kgan.data.notes import FAMILIES, PROGRAMS, SPLITS, load_notes
from kgan.errors import InputError

DECAYING = {"guitar", "keyboard", "mallet"}  # and plucked strings: 45, 46


@pytest.fixture(scope="module")
def splits(notes_cache):
    return {split: load_notes(split, cache_dir=notes_cache) for split in SPLITS}


def test_coverage(splits):
    ids = [i for sounds in splits.values() for i in sounds.ids]
    assert len(ids) == len(set(ids)) == 8640
    labels = {name: np.concatenate([s.labels[name] for s in splits.values()]) for name in splits["train"].labels}
    assert len(set(labels["instrument"])) == 90
    assert set(labels["family"]) == set(range(11))
    assert labels["pitch"].min() == 36
    assert labels["pitch"].max() == 83  # four octaves
    assert set(labels["velocity"]) == {50, 100}
    assert set(labels["source"]) == {0, 1, 2}
    names = splits["train"].label_names
    assert names["family"] == list(FAMILIES)
    assert names["source"] == ["acoustic", "electronic", "synthetic"]
    assert len(names["instrument"]) == 128
    assert names["instrument"][19] == "Church Organ"  # General MIDI's program 20, counted from 1


def test_ids_say_what_the_labels_say(splits):
    sounds = splits["valid"]
    for i in range(0, len(sounds), 37):
        family, source, rest = sounds.ids[i].rsplit("_", 2)
        numbers = [int(number) for number in rest.split("-")]
        assert numbers == [int(sounds.labels[name][i]) for name in ("instrument", "pitch", "velocity")]
        assert FAMILIES[sounds.labels["family"][i]] == family
        assert sounds.label_names["source"][sounds.labels["source"][i]] == source
        assert numbers[0] in PROGRAMS[family]


def test_no_note_straddles_two_splits(splits):
    homes = collections.defaultdict(set)
    for split, sounds in splits.items():
        for instrument, pitch in zip(sounds.labels["instrument"], sounds.labels["pitch"], strict=True):
            homes[instrument, pitch].add(split)
    assert len(homes) == 90 * 48
    assert all(len(split) == 1 for split in homes.values())
    shares = [len(splits[split]) / 8640 for split in SPLITS]
    assert np.abs(np.array(shares) - [0.8, 0.1, 0.1]).max() < 0.02


def test_every_note_is_at_full_scale_and_ends_quietly(splits):
    for sounds in splits.values():
        assert sounds.audio.shape[1:] == (16384,)
        peaks = np.abs(sounds.audio.astype(int)).max(axis=1)
        assert peaks.min() >= 32767
    start = np.abs(splits["test"].audio[:, :16].astype(int)).max(axis=1)
    assert np.median(start) < 0.3 * 32768  # no note is cut at its attack


def test_labels_are_the_sounding_pitch(splits):
    sounds = splits["test"]
    found = estimate_pitch(sounds.waveforms(), 16000)
    deviation_cents = 1200 * np.log2(found.frequency_hz / 440) - 100 * (sounds.labels["pitch"] - 69)
    family = np.array(FAMILIES)[sounds.labels["family"]]
    sustained = ~np.isin(family, list(DECAYING)) & ~np.isin(sounds.labels["instrument"], (45, 46))
    assert sustained.sum() > 500
    assert (np.abs(deviation_cents[sustained]) < 50).mean() >= 0.99
    assert (np.abs(deviation_cents) < 50).mean() >= 0.99
    assert np.median(found.harmonicity) > 0.99


def test_rendering_repeats_to_the_byte():
    first, second = (notes._render_program(19, 16000, 4096, 1) for _ in range(2))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()
    assert first.shape == (96, 4096)


def test_four_second_notes_are_held_for_three():
    whole = notes._render_program(19, 16000, 64000, 1)[48] / 32768  # a church organ in the middle
    held, released = (np.sqrt(np.mean(part**2)) for part in (whole[40000:47000], whole[60000:]))
    assert held > 0.1
    assert released < 0.05 * held


def test_stereo():
    assert notes._render_program(0, 8000, 2048, 2).shape == (96, 2048, 2)


def test_loading_again_renders_nothing(splits, notes_cache, monkeypatch):
    monkeypatch.setattr(notes, "_render_program", None)
    again = load_notes("test", cache_dir=notes_cache)
    assert (again.audio == splits["test"].audio).all()


def test_what_a_killed_rendering_left_is_removed(tmp_path, monkeypatch):
    killed = tmp_path / ".unfinished-abc"
    killed.mkdir()
    monkeypatch.setattr(notes, "PROGRAMS", {"organ": (19,)})
    monkeypatch.setattr(notes, "PITCHES", range(60, 72))
    sounds = load_notes("train", length_samples=2048, cache_dir=tmp_path)
    assert not killed.exists()
    assert sounds.audio.shape[1] == 2048
    assert np.abs(sounds.audio.astype(int)).max(axis=1).min() >= 32767


def test_a_full_disk_while_rendering_is_an_error_and_leaves_nothing(tmp_path):
    """A limit on the size of files stands for the disk: the system refuses the write."""
    resource = pytest.importorskip("resource")
    code = """
import resource, sys
from kgan.data import notes
notes.PROGRAMS = {"organ": (19,)}
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
try:
    notes.load_notes(length_samples=2048, cache_dir=sys.argv[1])
except OSError as error:
    print(error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True)
    assert resource
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "File too large"
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_unknown_split():
    with pytest.raises(InputError, match="one of train, valid, test. Received: 'dev'"):
        load_notes("dev")


def test_a_platform_without_the_renderer_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "midirenderer", None)
    with pytest.raises(InputError, match="`midirenderer`, which has no wheel for this platform. Train on a folder"):
        load_notes(cache_dir=tmp_path)
