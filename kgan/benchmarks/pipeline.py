"""Benchmark of the input pipeline: clips per second, compared with common alternatives."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from kgan.audio.files import write_wav
from kgan.data.notes import FAMILIES, SOURCES, load_notes
from kgan.data.pipeline import training_dataset
from kgan.data.prepare import prepare
from kgan.data.recordings import Clipping, Recording
from kgan.data.shards import ShardedSounds
from kgan.representations import Wave

BATCH_SIZE, N_CRITIC = 64, 5
NSYNTH_SAMPLES = 64000


class RepeatedNotes:
    """A source of any number of recordings, which repeats the built-in notes.

    Args:
        notes: `Sounds`.
        count: number of recordings.
    """

    def __init__(self, notes, count):
        self._notes = notes
        self._count = count
        self.label_names = notes.label_names
        self.description = {"notes": count}
        self.left_out = {}

    def __len__(self):
        return self._count

    def recordings(self):
        for number in range(self._count):
            i = number % len(self._notes)
            labels = {kind: int(values[i]) for kind, values in self._notes.labels.items()}
            name = f"{number // len(self._notes)}/{self._notes.ids[i]}"
            yield Recording(name, self._notes.waveforms([i])[0], labels, self._notes.sample_rate_hz)


def benchmark_pipeline(clips=6872, seconds=5.0, rounds=3, json_file=None):
    """Measure clips per second, print a Markdown table, and return the figures.

    Every pipeline yields shuffled float32 batches of clips of 16384 samples of the built-in notes: kgan's from shards on disk
    and from memory, TensorFlow Datasets' NSynth as read by `tfds.load`, and PyTorch's DataLoader with soundfile over WAV files,
    with one worker per core. They take turns, `rounds` times; figures are medians.

    Args:
        clips: number of clips in kgan's shards; beyond 6,872 the notes are repeated. The others read 1,000 notes.
        seconds: duration of each measurement.
        rounds: number of measurements of each pipeline.
        json_file: file for the figures; None for none.

    Returns:
        `{name: clips per second}` for the installed pipelines, `clips`, and the initial and peak memory, `started_mib` and
        `peak_mib`, of a separate process that reads the shards from disk. As the system caches files that were just written, a
        slow disk only has an effect on sets that do not fit in memory.
    """
    notes = load_notes()
    with tempfile.TemporaryDirectory(prefix="kgan-benchmark-") as scratch:
        prepare(RepeatedNotes(notes, clips), Path(scratch) / "shards", Clipping(), processes=1)
        sounds = ShardedSounds(Path(scratch) / "shards")
        started_mib, peak_mib = _memory_mib(sounds.folder, seconds)
        pipelines = {"kgan, shards on disk": _batches_of(sounds)}
        if sounds.fits_in_memory():
            pipelines["kgan, memory"] = _batches_of(sounds.in_memory())
        few = notes.subset(np.linspace(0, len(notes) - 1, 1000).astype(int))
        pipelines["TensorFlow Datasets, nsynth"] = _tfds_batches(few, Path(scratch) / "tfds")
        with contextlib.suppress(ImportError):
            pipelines["PyTorch DataLoader, soundfile"] = _torch_batches(few, Path(scratch) / "wav")
        figures = {name: [] for name in pipelines}
        for _ in tqdm(range(rounds), "Rounds", unit="round"):
            for name, batches in pipelines.items():
                figures[name].append(_clips_per_second(batches, seconds))
        shutil.rmtree(scratch, ignore_errors=True)
    medians = {name: float(np.median(values)) for name, values in figures.items()}
    others = [value for name, value in medians.items() if not name.startswith("kgan")]
    print("| pipeline | clips per second | times the better of the others |\n|---|---|---|")
    for name, value in medians.items():
        print(f"| {name} | {value:,.0f} | {value / max(others):.1f} |")
    size_mib = clips * sounds.clip_bytes / 2**20
    print(
        f"Reading {clips:,} clips, {size_mib:,.0f} MiB, from disk took {peak_mib - started_mib:,.0f} MiB of memory beyond the"
        f" {started_mib:,.0f} that TensorFlow starts with."
    )
    result = medians | {"clips": clips, "started_mib": started_mib, "peak_mib": peak_mib}
    if json_file:
        Path(json_file).write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


READER = """
import sys
from kgan.benchmarks.memory import peak_mib
from kgan.benchmarks.pipeline import _batches_of, _clips_per_second
from kgan.data.shards import ShardedSounds
started_mib = peak_mib()
_clips_per_second(_batches_of(ShardedSounds(sys.argv[1])), float(sys.argv[2]))
print(started_mib, peak_mib())
"""


def _memory_mib(folder, seconds):
    """Return the peak memory of a new process before and after it has read a folder of shards for some seconds."""
    command = [sys.executable, "-c", READER, str(folder), str(seconds)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return map(float, output.split())


def _clips_per_second(batches, seconds):
    """Return the clips per second of an iterator of batches, without its first batches."""
    for _ in range(3):
        next(batches)
    count, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        count += len(next(batches))
    return count / (time.perf_counter() - began_s)


def _batches_of(sounds):
    return (element["x"] for element in training_dataset(sounds, Wave(), BATCH_SIZE, N_CRITIC))


def _tfds_batches(notes, folder):
    """NSynth as prepared by TensorFlow Datasets, four seconds per note, read as in its documentation."""
    import tensorflow_datasets as tfds

    builder = tfds.builder("nsynth/full", data_dir=folder)
    qualities = dict.fromkeys(builder.info.features["qualities"], False)
    examples = []
    for i, note_id in enumerate(notes.ids):
        labels = {kind: int(values[i]) for kind, values in notes.labels.items()}
        instrument = {"label": 0, "family": FAMILIES[labels["family"]], "source": SOURCES[labels["source"]]}
        audio = np.pad(notes.waveforms([i])[0], (0, NSYNTH_SAMPLES - notes.audio.shape[1]))
        example = {"id": note_id, "audio": audio, "pitch": labels["pitch"], "velocity": labels["velocity"]}
        examples.append((note_id, example | {"instrument": instrument, "qualities": qualities}))
    tfds.dataset_builders.store_as_tfds_dataset(
        name="nsynth", config="full", version=builder.version, features=builder.info.features, data_dir=folder,
        split_datasets={"train": examples},
    )  # fmt: skip
    dataset = tfds.load("nsynth/full", split="train", data_dir=folder, shuffle_files=True).shuffle(1000).repeat()
    dataset = dataset.map(lambda example: example["audio"][:16384], num_parallel_calls=tf.data.AUTOTUNE)
    return iter(dataset.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE))


def _torch_batches(notes, folder):
    """A typical PyTorch pipeline: a DataLoader that decodes a WAV file for each example."""
    import soundfile
    import torch

    folder.mkdir()
    for i in range(len(notes)):
        write_wav(folder / f"{i}.wav", notes.waveforms([i])[0], notes.sample_rate_hz)

    class Wavs(torch.utils.data.Dataset):
        def __len__(self):
            return len(notes)

        def __getitem__(self, i):
            return torch.from_numpy(soundfile.read(folder / f"{i}.wav", dtype="float32")[0])

    loader = torch.utils.data.DataLoader(
        Wavs(), BATCH_SIZE, shuffle=True, num_workers=os.cpu_count(), drop_last=True, persistent_workers=True
    )

    def endless():
        while True:
            yield from loader

    return endless()
