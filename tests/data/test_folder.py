import numpy as np
import pytest
import soundfile

from kgan.audio.files import write_wav
from kgan.data.load import _part_of, load_folder, load_splits
from kgan.data.recordings import Clipping
from kgan.errors import InputError


def write(path, audio, rate_hz=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio, rate_hz, subtype="PCM_16")


def ramp(count, peak=0.5):
    return np.linspace(-peak, peak, count)


def test_slices_pads_and_normalises_by_hand(tmp_path):
    write(tmp_path / "short.wav", ramp(600))
    write(tmp_path / "three.wav", ramp(2600))  # two clips, and a third of which 60 % are sound
    write(tmp_path / "two.wav", ramp(2400))  # the third would be 40 %
    sounds = load_folder(tmp_path, length_samples=1000)
    assert sounds.ids == ["short.wav#0", "three.wav#0", "three.wav#1", "three.wav#2", "two.wav#0", "two.wav#1"]
    waves = sounds.waveforms()
    np.testing.assert_allclose(waves[0], np.pad(ramp(600, 1.0), (0, 400)), atol=2e-4)
    np.testing.assert_allclose(waves[1:4].ravel(), np.pad(ramp(2600, 1.0), (0, 400)), atol=2e-4)
    np.testing.assert_allclose(waves[4:].ravel(), ramp(2400, 1.0)[:2000], atol=2e-4)


def test_silence_is_left_out(tmp_path):
    write(tmp_path / "gap.wav", np.concatenate([ramp(1000), np.zeros(1000), ramp(1000)]))
    write(tmp_path / "silent.wav", np.zeros(1000))
    sounds = load_folder(tmp_path, length_samples=1000)
    assert sounds.ids == ["gap.wav#0", "gap.wav#1"]
    assert sounds.skipped == {"silent.wav": "is silent"}


def test_sound_in_a_short_end_alone_is_told(tmp_path):
    write(tmp_path / "end.wav", np.concatenate([np.zeros(1000), ramp(300)]))
    with pytest.raises(InputError, match="end.wav, is silent where clips are taken"):
        load_folder(tmp_path, length_samples=1000)
    write(tmp_path / "whole.wav", ramp(1000))
    assert list(load_folder(tmp_path, length_samples=1000).skipped) == ["end.wav"]


def test_rates_and_channels_are_brought_together(tmp_path):
    time_s = np.arange(48000) / 48000
    stereo = np.stack([np.sin(2 * np.pi * 500 * time_s), np.zeros(48000)], axis=1)
    write(tmp_path / "stereo.wav", stereo, rate_hz=48000)
    mono = load_folder(tmp_path, length_samples=16000)
    assert mono.audio.shape == (1, 16000)
    np.testing.assert_allclose(
        mono.waveforms()[0, 4000:12000], np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)[4000:12000], atol=5e-3
    )
    both = load_folder(tmp_path, length_samples=16000, channels=2)
    assert both.audio.shape == (1, 16000, 2)
    assert np.abs(both.audio[..., 1]).max() <= 1


def test_bad_files_cost_no_good_ones_and_are_named(tmp_path):
    for i in range(20):
        write(tmp_path / f"sub ü/{i:02d}.wav", ramp(1000))
    whole = (tmp_path / "sub ü/00.wav").read_bytes()
    (tmp_path / "truncated.flac").write_bytes(b"fLaC")
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "cut.wav").write_bytes(whole[:30])
    (tmp_path / "folder.wav").mkdir()
    sounds = load_folder(tmp_path, length_samples=1000)
    assert len(sounds) == 20
    assert sorted(sounds.skipped) == ["cut.wav", "empty.mp3", "truncated.flac"]
    assert sounds.skipped["empty.mp3"] == "is empty"
    assert all(sounds.skipped[name].startswith("cannot be decoded") for name in ("cut.wav", "truncated.flac"))


def test_nothing_to_train_on(tmp_path):
    with pytest.raises(InputError, match="existing folder of sounds. Received: .*missing"):
        load_folder(tmp_path / "missing")
    with pytest.raises(InputError, match="no sound files in .*Looked for: .* .wav"):
        load_folder(tmp_path)
    (tmp_path / "a.wav").write_text("no sound")
    with pytest.raises(InputError, match="None of the 1 recordings can be used; the first, a.wav, cannot be decoded"):
        load_folder(tmp_path)


def test_a_set_without_splits_is_split_by_recording(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(60):
        write_wav(tmp_path / f"{i:02d}.wav", rng.uniform(-0.5, 0.5, 3 * 256), 16000)
    parts = load_splits(str(tmp_path), clipping=Clipping(length_samples=256))
    recordings = [{str(clip_id).partition("#")[0] for clip_id in part.ids} for part in parts]
    assert [len(part) for part in parts] == [3 * len(each) for each in recordings]  # all clips of one together
    assert len(set.union(*recordings)) == sum(map(len, recordings)) == 60
    assert len(recordings[0]) > 40
    again = load_splits(str(tmp_path), clipping=Clipping(length_samples=256))
    assert [list(part.ids) for part in again] == [list(part.ids) for part in parts]


def test_too_few_recordings_to_split(tmp_path):
    write_wav(tmp_path / "one.wav", np.linspace(-1, 1, 256), 16000)
    with pytest.raises(InputError, match="hold some out for a test. Received: 1 clips"):
        load_splits(str(tmp_path), clipping=Clipping(length_samples=256))


def test_velocities_of_one_nsynth_note_are_in_one_part():
    notes = [f"bass_synthetic_{i:03d}-{pitch:03d}" for i in range(5) for pitch in range(40, 60)]
    parts = [{_part_of(f"{note}-{velocity:03d}") for velocity in (25, 50, 75, 100, 127)} for note in notes]
    assert all(len(each) == 1 for each in parts)
    assert set.union(*parts) == {0, 1, 2}
    assert _part_of("take-001-002-003.wav") != _part_of("take-001-002-009.wav")  # other files stand for themselves
