"""Shards: what they hold, that nothing is lost, and that they are the same however they are made."""

import concurrent.futures
import contextlib
import csv
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from upath import UPath

from kgan.cli import main
from kgan.data.folder import FolderSource
from kgan.data.load import load_folder, load_sounds
from kgan.data.pipeline import training_dataset
from kgan.data.prepare import prepare
from kgan.data.recordings import Clipping, Filter, Recording
from kgan.data.shards import ShardedSounds, write_shard
from kgan.errors import InputError
from kgan.representations import Wave

CLIPPING = Clipping(length_samples=100)


@pytest.fixture
def few_per_shard(monkeypatch):
    monkeypatch.setattr("kgan.data.prepare.RECORDINGS_PER_SHARD", 4)


@pytest.fixture
def kits(tmp_path):
    """A folder of 22 files in three sub-folders, two clips each, of which number i is a square wave of level i."""
    folder = tmp_path / "kits"
    for i in range(22):
        path = folder / ("kick", "snare", "hat ü")[i % 3] / f"{i:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.tile([1, -1], 100) * (i + 1) / 100, 16000, subtype="FLOAT")
    return folder


def checksums(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir() if file.name != ".lock"}


def test_shards_hold_every_clip_with_its_labels(kits, tmp_path, few_per_shard):
    manifest = prepare(FolderSource(kits), tmp_path / "out", Clipping(length_samples=100, normalize=False), processes=1)
    assert (manifest["clips"], manifest["recordings"], len(manifest["shards"])) == (44, 22, 6)
    assert manifest["label_names"] == {"class": ["hat ü", "kick", "snare"]}
    sounds = ShardedSounds(tmp_path / "out")
    assert len(sounds) == 44
    for number, (clip_id, label) in enumerate(zip(sounds.ids, sounds.labels["class"], strict=True)):
        folder, _, file = str(clip_id).partition("/")
        assert manifest["label_names"]["class"][label] == folder
        level = (int(file[:2]) + 1) / 100
        np.testing.assert_allclose(sounds.waveforms([number])[0], np.tile([level, -level], 50), atol=1 / 32768)
    np.testing.assert_array_equal(sounds.in_memory().audio, sounds.read(np.arange(44)))
    np.testing.assert_array_equal(sounds.gather(tf.constant([40, 3], tf.int64)), sounds.read([40, 3]))


def test_they_are_tf_records_that_anyone_reads(kits, tmp_path, few_per_shard):
    prepare(FolderSource(kits), tmp_path / "out", CLIPPING, processes=1)
    sounds = ShardedSounds(tmp_path / "out")
    files = sorted(str(file) for file in (tmp_path / "out").glob("*.tfrecord"))
    features = {
        "audio": tf.io.FixedLenFeature([], tf.string),
        "id": tf.io.FixedLenFeature([], tf.string),
        "class": tf.io.FixedLenFeature([], tf.int64),
    }
    for number, record in enumerate(tf.data.TFRecordDataset(files)):
        example = tf.io.parse_single_example(record, features)
        np.testing.assert_array_equal(tf.io.decode_raw(example["audio"], tf.int16), sounds.read([number])[0])
        assert example["id"].numpy().decode() == sounds.ids[number]
        assert example["class"] == sounds.labels["class"][number]
    assert number == 43
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    for shard in manifest["shards"]:
        content = (tmp_path / "out" / shard["file"]).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (shard["sha256"], shard["bytes"])


def test_processes_and_beam_write_the_same_bytes(kits, tmp_path, few_per_shard):
    source = FolderSource(kits)
    prepare(source, tmp_path / "one", CLIPPING, processes=1)
    prepare(source, tmp_path / "two", CLIPPING, processes=2)
    prepare(source, tmp_path / "beam", CLIPPING, runner="DirectRunner")
    assert checksums(tmp_path / "one") == checksums(tmp_path / "two") == checksums(tmp_path / "beam")


def test_an_interrupted_call_goes_on_where_it_stopped(kits, tmp_path, few_per_shard, monkeypatch):
    source = FolderSource(kits)
    prepare(source, tmp_path / "whole", CLIPPING, processes=1)
    written = []

    def breaking(recordings, clipping, stem):
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(stem.name)
        return write_shard(recordings, clipping, stem)

    monkeypatch.setattr("kgan.data.prepare.write_shard", breaking)
    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "parts", CLIPPING, processes=1)
    assert not (tmp_path / "parts" / "manifest.json").exists()
    with pytest.raises(InputError, match="must be in a folder that `prepare` completed"):
        ShardedSounds(tmp_path / "parts")
    monkeypatch.setattr("kgan.data.prepare.write_shard", lambda *job: (written.append(job[2].name), write_shard(*job))[1])
    prepare(source, tmp_path / "parts", CLIPPING, processes=1)
    assert sorted(written) == [f"shard-{i:05d}" for i in range(6)]  # none twice
    assert checksums(tmp_path / "parts") == checksums(tmp_path / "whole")
    prepare(source, tmp_path / "parts", CLIPPING, processes=1)
    assert len(written) == 6


@pytest.mark.long
def test_kill_9_of_the_parent_alone_then_the_same_bytes(tmp_path):
    """Its worker may still write while the next call does."""
    folder = tmp_path / "many"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(1200):
        soundfile.write(folder / f"{i:04d}.wav", rng.uniform(-1, 1, 8000), 16000)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kgan.cli", "prepare", str(folder), "--out", str(out), "--processes", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline_s = time.monotonic() + 120
    while not list(out.glob("shard-*.json")) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert 1 <= len(list(out.glob("shard-*.json"))) < 5
    assert not (out / "manifest.json").exists()
    with pytest.raises(InputError, match="is not prepared to its end"):
        load_sounds(str(out))
    assert main(["prepare", str(folder), "--out", str(out)]) == 0
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert main(["prepare", str(folder), "--out", str(tmp_path / "whole")]) == 0
    finished = {name: value for name, value in checksums(out).items() if not name.startswith(".unfinished")}
    assert finished == checksums(tmp_path / "whole")


def test_200_damaged_files_cost_none_of_2000(tmp_path, capsys):
    folder = tmp_path / "sounds"
    (folder / "ümlaut and space").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(2000):
        name = f"ümlaut and space/{i:04d} ä.wav" if i % 2 else f"{i:04d}.wav"
        soundfile.write(folder / name, rng.uniform(-1, 1, 300), 16000)
    whole = (folder / "0000.wav").read_bytes()
    for i in range(50):
        (folder / f"empty {i}.wav").write_bytes(b"")
        (folder / f"cut {i}.wav").write_bytes(whole[: 20 + i % 20])
        (folder / f"text {i}.flac").write_text("no sound")
        soundfile.write(folder / f"nan {i}.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    (folder / "a folder.wav").mkdir()
    options = ["--data.length_samples", "300"]
    assert main(["prepare", str(folder), "--out", str(tmp_path / "out"), *options]) == 0
    out = capsys.readouterr().out
    assert "2,000 clips of 2,000 sounds are in" in out
    assert "200 sounds were skipped:\n" in out
    assert sum(line.startswith("  ") for line in out.splitlines()) == 200
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["recordings"] == 2200
    assert manifest["skipped"]["nan 7.wav"] == "holds NaN or infinite samples"
    assert manifest["skipped"]["empty 3.wav"] == "is empty"
    arrived = load_sounds(str(tmp_path / "out"), clipping=Clipping(length_samples=300))
    assert len(arrived) == 2000
    clean = {name: soundfile.read(folder / name, dtype="int16")[0] for name in ("0000.wav", "ümlaut and space/1999 ä.wav")}
    for name, audio in clean.items():
        number = list(arrived.ids).index(f"{name}#0")
        np.testing.assert_allclose(arrived.audio[number], audio * (32768 / np.abs(audio.astype(float)).max()), atol=1.5)


def test_a_csv_gives_the_labels(kits, tmp_path):
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "pitch", "mood"])
        writer.writerows([["kick/00.wav", 60, "sad"], ["snare/01.wav", 48, "glad"], ["hat ü/02.wav", 50, "sad"]])
    source = FolderSource(kits, tmp_path / "labels.csv")
    assert source.label_names == {"mood": ["glad", "sad"]}
    prepare(source, tmp_path / "out", CLIPPING, Filter(pitches=(49, 60)))
    sounds = ShardedSounds(tmp_path / "out")
    assert sounds.ids.tolist() == ["hat ü/02.wav#0", "hat ü/02.wav#1", "kick/00.wav#0", "kick/00.wav#1"]
    assert sounds.labels["pitch"].tolist() == [50, 50, 60, 60]
    assert sounds.labels["mood"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,pitch\na,1\n", "need the column `file`, and others, each once"),
        ("file\nkick/00.wav\n", "need the column `file`, and others, each once"),
        ("file,pitch,pitch\nkick/00.wav,1,2\n", r"each once, .* Received: .* with file, pitch, pitch"),
        ("file;pitch\nkick/00.wav;1\n", r"with commas between them\. Received: .* with file;pitch"),
        ("file,pitch\nnone.wav,1\n", r"must list files of the folder\. Received: none.wav"),
        ("file,pitch\nkick/00.wav\n", r"must have 2 values\. Received: 1 in line 2"),
        ("file,pitch\nkick/00.wav,1,2\n", r"must have 2 values\. Received: 3 in line 2"),
        ("file,pitch\nkick/00.wav,60\nsnare/01.wav,\n", r"a value in each column\. Received: none for pitch in line 3"),
        ("file,mood\nkick/00.wav,\n", r"a value in each column\. Received: none for mood in line 2"),
        ("file,pitch\nkick/00.wav,H4\n", r"MIDI number from 0 to 127 or the name of a note, .*\. Received: H4, in line 2"),
        ("file,pitch\nkick/00.wav,60.5\n", r"`pitch` must be a MIDI number .*\. Received: 60.5, in line 2"),
        ("file,pitch\nkick/00.wav,6_0\n", r"`pitch` must be a MIDI number .*\. Received: 6_0, in line 2"),
        ('file,mood\nkick/00.wav,"sad\nsnare/01.wav,glad\n', "must be in a CSV file in UTF-8"),
        ("file,pitch\nkick/00.wav,128\n", r"`pitch` must be a MIDI number .*\. Received: 128, in line 2"),
        ("file,pitch\nkick/00.wav,-1\n", r"`pitch` must be a MIDI number .*\. Received: -1, in line 2"),
        ("file,velocity\nkick/00.wav,C4\n", r"`velocity` must be a MIDI number from 0 to 127\. Received: C4, in line 2"),
        ("file,mood\nkick/00.wav,sad\n./kick/00.wav,glad\n", r"has one row .*\. Received: ./kick/00.wav again in line 3"),
        ("file,x\nkick/00.wav,7\n", r"another name than audio, id, x\. Received: x"),
        (None, "must be in a CSV file in UTF-8"),
    ],
)
def test_labels_that_cannot_be_used(kits, tmp_path, text, message):
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        FolderSource(kits, tmp_path / "labels.csv")


def test_folders_that_hold_something_else(kits, tmp_path, few_per_shard):
    source = FolderSource(kits)
    with pytest.raises(InputError, match="which holds other files"):
        prepare(source, kits, CLIPPING)
    prepare(source, tmp_path / "out", CLIPPING, processes=1)
    with pytest.raises(InputError, match="was prepared from another clipping"):
        prepare(source, tmp_path / "out", Clipping(length_samples=50))
    with pytest.raises(InputError, match="was prepared from another filter"):
        prepare(source, tmp_path / "out", CLIPPING, Filter(pitches=(1, 2)))
    (kits / "kick" / "new.wav").write_bytes((kits / "kick" / "00.wav").read_bytes())
    with pytest.raises(InputError, match="was prepared from another source"):
        prepare(FolderSource(kits), tmp_path / "out", CLIPPING)
    with pytest.raises(InputError, match=r"hold clips of 100 samples at 16000 Hz in 1 channels\. Received: 16384 at 16000"):
        load_sounds(str(tmp_path / "out"))
    with pytest.raises(InputError, match="No recording passes the filter"):
        load_sounds(str(tmp_path / "out"), clipping=CLIPPING, filters=Filter(pitches=(1, 2)))
    damaged = tmp_path / "out" / "shard-00002.tfrecord"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InputError, match="shard-00002.tfrecord is damaged: it must have"):
        ShardedSounds(tmp_path / "out")


def test_training_reads_the_same_from_disk_as_from_memory(kits, tmp_path, few_per_shard):
    prepare(FolderSource(kits), tmp_path / "out", CLIPPING, processes=1)
    sounds = ShardedSounds(tmp_path / "out")
    assert sounds.fits_in_memory()
    options = {"batch_size": 4, "n_critic": 2, "seed": 5}
    from_disk, from_memory = (training_dataset(each, Wave(), **options) for each in (sounds, sounds.in_memory()))
    for first, second in zip(from_disk.take(8), from_memory.take(8), strict=True):
        assert first["x"].shape == (8, 100, 1)
        np.testing.assert_array_equal(first["x"], second["x"])
        np.testing.assert_array_equal(first["class"], second["class"])


def test_batches_share_no_instrument_however_shards_are_ordered(tmp_path, monkeypatch):
    """2,000 clips in instrument order: a batch of 32 sees as many of 20 instruments as a random draw does."""
    monkeypatch.setattr("kgan.data.prepare.RECORDINGS_PER_SHARD", 100)
    folder = tmp_path / "ordered"
    for instrument in range(20):
        (folder / f"{instrument:02d}").mkdir(parents=True)
        for i in range(100):
            soundfile.write(folder / f"{instrument:02d}" / f"{i:02d}.wav", np.tile([0.5, -0.5], 4), 16000)
    sounds = load_folder(folder, length_samples=8)
    drawn = np.concatenate([e["class"].numpy() for e in training_dataset(sounds, Wave(), batch_size=32).take(62)])
    counts = np.array([np.bincount(batch, minlength=20) for batch in drawn.reshape(62, 32)])
    expected = 32 * (1 / 20) * (19 / 20) * (2000 - 32) / 1999  # variance of a hypergeometric count
    assert counts.var() == pytest.approx(expected, rel=0.15)
    following = np.mean(drawn[1:] == drawn[:-1])
    assert following == pytest.approx(1 / 20, abs=0.02)


def test_a_subset_reads_its_own_clips(kits, tmp_path, few_per_shard):
    prepare(FolderSource(kits), tmp_path / "out", CLIPPING, processes=1)
    whole = ShardedSounds(tmp_path / "out")
    part = whole.subset(np.array([5, 1, 30]))
    np.testing.assert_array_equal(part.read([0, 1, 2]), whole.read([5, 1, 30]))
    assert part.ids.tolist() == whole.ids[[5, 1, 30]].tolist()
    assert (len(part), len(whole)) == (3, 44)


def test_a_name_in_another_encoding_is_spelt_out(kits, tmp_path):
    odd = os.fsencode(kits) + b"/kick/Tr\xf6te.wav"
    with open(odd, "wb") as file:
        file.write((kits / "kick" / "00.wav").read_bytes())
    with open(os.fsencode(kits) + b"/kick/b\xf6se.wav", "wb") as file:
        file.write(b"no sound")
    manifest = prepare(FolderSource(kits), tmp_path / "out", CLIPPING)
    assert "kick/Tr\\xf6te.wav#0" in ShardedSounds(tmp_path / "out").ids
    assert list(manifest["skipped"]) == ["kick/b\\xf6se.wav"]


def test_more_shards_than_a_process_may_keep_open(kits, tmp_path, monkeypatch):
    monkeypatch.setattr("kgan.data.prepare.RECORDINGS_PER_SHARD", 1)
    prepare(FolderSource(kits), tmp_path / "out", CLIPPING, processes=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 5, hard))
    try:
        sounds = ShardedSounds(tmp_path / "out")
        audio = sounds.read(np.arange(44)[::-1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    np.testing.assert_array_equal(audio[::-1], sounds.in_memory().audio)


def test_other_names_of_labels_are_another_set(kits, tmp_path):
    for moods in (("sad", "glad"), ("tired", "angry")):
        (tmp_path / "labels.csv").write_text(f"file,mood\nkick/00.wav,{moods[0]}\nsnare/01.wav,{moods[1]}\n")
        sounds = load_sounds(str(kits), labels_csv=tmp_path / "labels.csv", clipping=CLIPPING)
        assert sounds.label_names == {"mood": sorted(moods)}


def test_two_calls_at_once_agree(kits, tmp_path, few_per_shard):
    source = FolderSource(kits)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(prepare, source, tmp_path / "out", CLIPPING, processes=1) for _ in range(4)]
        manifests = [call.result() for call in calls]
    assert all(manifest == manifests[0] for manifest in manifests)
    (tmp_path / "out" / "manifest.json").unlink()
    (tmp_path / "out" / ".unfinished-left").write_text("by a killed process")
    assert prepare(source, tmp_path / "out", CLIPPING) == manifests[0]
    assert not (tmp_path / "out" / ".unfinished-left").exists()


def test_a_store_of_objects_holds_the_same_bytes(kits, tmp_path, few_per_shard, capsys):
    """From a store to a store on Beam, as Dataflow's workers do it; fsspec's memory stands for Google's or Amazon's."""
    (kits / "kick/broken.wav").write_bytes(b"no sound")
    store = UPath("memory://bucket")
    for file in kits.rglob("*.wav"):
        copy = store / "kits" / file.relative_to(kits).as_posix()
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    prepare(FolderSource(kits), tmp_path / "here", CLIPPING, processes=1)
    command = ["prepare", "memory://bucket/kits", "--out", "memory://bucket/shards", "--runner", "DirectRunner"]
    command += ["--data.length_samples", str(CLIPPING.length_samples)]
    assert main(command) == 0
    assert "1 sound was skipped:\n  kick/broken.wav cannot be decoded" in capsys.readouterr().out
    names = sorted(path.name for path in (tmp_path / "here").glob("shard-*"))
    assert sorted(path.name for path in (store / "shards").glob("shard-*")) == names
    assert len(names) > 3
    for name in names:
        assert (store / "shards" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()
    (store / "shards/manifest.json").unlink()
    (store / "shards/shard-00000.json").unlink()  # which says that the shard is whole
    (store / "shards/shard-00001.tfrecord").write_bytes(b"of an earlier call")
    assert main(command) == 0
    assert (store / "shards/shard-00000.json").read_bytes() == (tmp_path / "here/shard-00000.json").read_bytes()
    assert (store / "shards/shard-00001.tfrecord").read_bytes() == b"of an earlier call"  # not made again
    with pytest.raises(InputError, match="read from a disk. Received: memory://bucket/shards"):
        load_sounds("memory://bucket/shards", clipping=CLIPPING)


def test_a_store_without_its_package_is_said():
    with pytest.raises(
        InputError, match="need the packages universal-pathlib and that of the store, gcsfs or s3fs. Received: gs:"
    ):
        FolderSource("gs://bucket/sounds")


def test_beam_takes_files_alone(tmp_path):
    class Samples:
        label_names, left_out, description = {}, {}, {"of": "a test"}

        def __len__(self):
            return 1

        def recordings(self):
            yield Recording("a", np.linspace(-1, 1, 100), {}, 16000)

    with pytest.raises(InputError, match="A runner's workers read files themselves"):
        prepare(Samples(), tmp_path / "out", CLIPPING, runner="DirectRunner")
    assert prepare(Samples(), tmp_path / "out", CLIPPING)["clips"] == 1


def test_a_damaged_rate_does_not_fill_the_memory(kits):
    content = bytearray((kits / "kick" / "00.wav").read_bytes())
    content[24:28] = (1).to_bytes(4, "little")
    with pytest.raises(ValueError, match="states 1 samples per second"):
        CLIPPING.clips(Recording("a", bytes(content)))
