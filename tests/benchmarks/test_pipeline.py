import numpy as np
import pytest

from kgan.benchmarks import pipeline
from kgan.data.notes import load_notes
from kgan.data.prepare import prepare
from kgan.data.recordings import Clipping
from kgan.data.shards import ShardedSounds


def test_clips_per_second_by_hand(monkeypatch):
    """Each batch of 64 takes a quarter of a second, so four of them are counted in one second."""
    clock = [0.0]
    monkeypatch.setattr(pipeline.time, "perf_counter", lambda: clock[0])

    def batches():
        while True:
            clock[0] += 0.25
            yield np.zeros(64)

    assert pipeline._clips_per_second(batches(), 1.0) == pytest.approx(256)


def test_repeated_notes_are_the_notes(tmp_path):
    notes = load_notes("test").subset(np.arange(5))
    prepare(pipeline.RepeatedNotes(notes, 12), tmp_path / "out", Clipping(normalize=False), processes=1)
    sounds = ShardedSounds(tmp_path / "out")
    assert len(set(sounds.ids.tolist())) == 12
    np.testing.assert_array_equal(sounds.read(np.arange(12)), notes.audio[np.arange(12) % 5])
    np.testing.assert_array_equal(sounds.labels["pitch"], notes.labels["pitch"][np.arange(12) % 5])
    assert sounds.label_names == notes.label_names


def test_the_others_give_the_same_clips(tmp_path):
    notes = load_notes("test").subset(np.arange(70))
    known = {clip.tobytes() for clip in notes.waveforms()}
    batch = next(pipeline._tfds_batches(notes, tmp_path / "tfds")).numpy()
    assert batch.shape == (64, 16384)
    assert {clip.tobytes() for clip in batch} <= known
    pytest.importorskip("torch")
    batch = next(pipeline._torch_batches(notes, tmp_path / "wav")).numpy()
    assert {np.round(clip * 32768).astype(np.int16).tobytes() for clip in batch} <= {clip.tobytes() for clip in notes.audio}
