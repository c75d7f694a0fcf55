import io

import numpy as np
import pytest
import soundfile

from kgan.data.recordings import Clipping, Filter, Recording


def ramp(count, peak=0.5):
    return np.linspace(-peak, peak, count).astype(np.float32)


def clips_of(audio, rate_hz=16000, name="a", **options):
    return Clipping(**{"length_samples": 100, **options}).clips(Recording(name, audio, {}, rate_hz))[0]


def test_samples_bytes_and_files_are_one_to_it(tmp_path):
    audio = ramp(200)
    soundfile.write(tmp_path / "a.wav", audio, 16000, subtype="FLOAT")
    encoded = (tmp_path / "a.wav").read_bytes()
    clipping = Clipping(length_samples=100)
    for content in (tmp_path / "a.wav", encoded, audio):
        clips, remarks = clipping.clips(Recording("a", content, {}, 16000))
        assert remarks == []
        np.testing.assert_allclose(clips.ravel() / 32768, ramp(200, 1.0), atol=1e-4)
        assert clips.dtype == np.int16
        assert clips.shape == (2, 100)


@pytest.mark.parametrize(
    ("samples", "options", "starts", "padded"),
    [
        (300, {}, [0, 100, 200], 0),
        (350, {}, [0, 100, 200, 300], 50),
        (349, {}, [0, 100, 200], 0),  # less than half of a clip is left
        (350, {"pad_end": False}, [0, 100, 200], 0),
        (30, {}, [0], 70),  # the only one
        (250, {"overlap": 0.5}, [0, 50, 100, 150], 0),
        (270, {"overlap": 0.5}, [0, 50, 100, 150, 200], 30),
        (300, {"overlap": 0.75, "pad_end": False}, list(range(0, 201, 25)), 0),
        (350, {"slicing": "first"}, [0], 0),
    ],
)
def test_slicing_by_hand(samples, options, starts, padded):
    audio = np.arange(1, samples + 1).astype(np.float32) / 32768
    clips = clips_of(audio, normalize=False, silence_db=None, **options)
    expected = np.pad(np.arange(1, samples + 1), (0, padded))
    np.testing.assert_array_equal(clips, [expected[start : start + 100] for start in starts])


def test_a_random_clip_depends_on_name_and_seed_alone():
    audio = np.arange(1, 20001).astype(np.float32) / 32768
    options = {"slicing": "random", "normalize": False}
    first = clips_of(audio, **options)
    assert first.shape == (1, 100)
    np.testing.assert_array_equal(first[0], np.arange(first[0, 0], first[0, 0] + 100))
    np.testing.assert_array_equal(clips_of(audio, **options), first)
    starts = {clips_of(audio, name=str(i), **options)[0, 0] for i in range(50)}
    assert len(starts) > 45
    assert clips_of(audio, seed=1, **options)[0, 0] != first[0, 0]
    assert np.std(list(starts)) > 3000
    assert clips_of(audio[:100], **options)[0, 0] == 1


def test_normalising_is_on_or_off():
    for peak in (0.01, 0.5):
        assert np.abs(clips_of(ramp(100, peak)).astype(int)).max() in (32767, 32768)
        assert np.abs(clips_of(ramp(100, peak), normalize=False).astype(int)).max() == pytest.approx(peak * 32768, abs=1)


def test_each_recording_is_normalised_as_a_whole():
    audio = np.concatenate([ramp(100, 0.1), ramp(100, 0.2)])
    peaks = np.abs(clips_of(audio).astype(int)).max(axis=1)
    assert peaks[0] == pytest.approx(16384, abs=2)


def test_silence_is_left_out_by_its_level():
    audio = np.concatenate([ramp(100, 0.5), ramp(100, 1e-5), ramp(100, 0.01)])
    assert len(clips_of(audio)) == 2
    assert len(clips_of(audio, silence_db=None)) == 3
    assert len(clips_of(audio, silence_db=-20.0)) == 1
    assert len(clips_of(audio, silence_db=-41.0)) == 2  # 0.01 is -40 dB, whatever the recording is brought to
    assert len(clips_of(audio, silence_db=-39.0)) == 1
    with pytest.raises(ValueError, match="is silent"):
        clips_of(np.zeros(100))
    assert (clips_of(np.zeros(100), silence_db=None) == 0).all()


def test_rates_and_channels():
    time_s = np.arange(48000) / 48000
    stereo = np.stack([np.sin(2 * np.pi * 500 * time_s), np.zeros(48000)], axis=1)
    clips = clips_of(stereo, 48000, length_samples=16000)
    expected = np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)
    np.testing.assert_allclose(clips[0, 4000:12000] / 32768, expected[4000:12000], atol=5e-3)
    assert clips_of(stereo, 48000, length_samples=16000, channels=2).shape == (1, 16000, 2)
    doubled = clips_of(ramp(100), channels=2)
    np.testing.assert_array_equal(doubled[..., 0], doubled[..., 1])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (np.zeros(0, np.float32), "holds no samples"),
        (np.array([0.1, np.nan], np.float32), "holds NaN or infinite samples"),
        (b"RIFF", "cannot be decoded"),
        (b"", "is empty"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(content, reason):
    with pytest.raises(ValueError, match=reason):
        Clipping(length_samples=100).clips(Recording("a", content, {}, 16000))
    with pytest.raises(ValueError, match="is shorter than a clip"):
        clips_of(ramp(50), pad_end=False)


def test_hours_of_sound_are_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("kgan.audio.decoders.BLOCK_SAMPLES", 1000)
    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (44100, 2))
    soundfile.write(tmp_path / "a.wav", audio, 44100, subtype="FLOAT")
    clipping = Clipping(length_samples=16000, normalize=False)
    in_blocks, _ = clipping.clips(Recording("a", tmp_path / "a.wav"))
    at_once, _ = clipping.clips(Recording("a", audio, {}, 44100))
    assert np.abs(in_blocks.astype(int) - at_once).max() <= 1


def test_filter():
    names = {"family": ["bass", "organ"], "source": ["acoustic", "synthetic"]}
    labels = {"family": 1, "source": 0, "pitch": 60, "velocity": 50}
    assert Filter().accepts({}, {})
    assert Filter(("organ",), ("acoustic",), (60, 60), (50, 100)).accepts(labels, names)
    for refused in (
        Filter(families=("bass",)),
        Filter(sources=("synthetic",)),
        Filter(pitches=(61, 90)),
        Filter(pitches=(0, 59)),
        Filter(velocities=(100,)),
    ):
        assert not refused.accepts(labels, names)
    assert not Filter(pitches=(0, 127)).accepts({}, {})
    assert not Filter(families=("bass",)).accepts({}, names)
    assert not Filter(families=("bass",)).accepts({"family": 3}, {})  # a number without a name


def test_bytes_of_other_formats(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, ramp(200), 16000, format="FLAC")
    assert Clipping(length_samples=100).clips(Recording("a", file.getvalue()))[0].shape == (2, 100)
