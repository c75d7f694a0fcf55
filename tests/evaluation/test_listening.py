import numpy as np
import pytest

from kgan.data.sounds import Sounds, to_int16
from kgan.errors import InputError
from kgan.evaluation.listening import listen
from kgan.labels import Labels

RATE_HZ = 16000
PITCHES = (57, 60, 64, 69)


def tone(pitch, cents=0.0):
    t = np.arange(4096) / RATE_HZ
    return (0.5 * np.sin(2 * np.pi * 440 * 2 ** ((pitch + cents / 100 - 69) / 12) * t)).astype(np.float32)


def tones(cents=0.0):
    audio = to_int16(np.stack([tone(pitch, cents) for pitch in PITCHES]))
    return Sounds(audio, RATE_HZ, [f"note_{pitch}" for pitch in PITCHES], {"pitch": np.array(PITCHES, np.int32)})


class Player:
    """A synthesizer of the training tones; a pitch of 69 it plays a semitone flat."""

    sample_rate_hz = RATE_HZ
    labels = Labels({"pitch": PITCHES})

    def latents(self, count, seed):
        return np.zeros((count, 2), np.float32)

    def generate(self, latents, labels, progress=False):
        audio = np.stack([tone(pitch, -100.0 * (pitch == 69)) for pitch in labels["pitch"]])
        return to_int16(audio) / np.float32(32768)


def test_numbers_and_files(tmp_path):
    text = listen(Player(), tones(), tones(cents=30), tmp_path / "heard", count=4)
    assert "In tune: 75.0% of 4 generated sounds, 100.0% of the real ones. Pitches missed most often: 69, 57" in text
    assert "relative to real test sounds': 0.00 to " in text  # three of the four are copies
    files = sorted(path.name for path in (tmp_path / "heard").iterdir())
    sounds = [f"{kind}_{i:02d}.wav" for kind in ("generated", "real") for i in range(4)]
    assert files == sorted(["beside.png", "neighbours.png", "pitch.png", "listening.md", *sounds])
    assert (tmp_path / "heard" / "listening.md").read_text() == text


def test_real_sounds_without_the_labels_are_refused(tmp_path):
    with pytest.raises(InputError, match="labels that the generator knows, pitch"):
        listen(Player(), tones(), tones().relabelled({"class": np.zeros(4, np.int32)}), tmp_path / "heard")
    assert not (tmp_path / "heard").exists()


def test_instruments_are_compared_by_name_and_drawn_where_none_is_known(tmp_path):
    """Number 0 of the test sounds is another instrument than the generator's number 0."""

    class Two(Player):
        labels = Labels({"pitch": PITCHES, "instrument": [0, 0, 1, 1]}, names={"instrument": ["horn", "oboe"]})
        asked = []

        def generate(self, latents, labels, progress=False):
            self.asked.append({kind: values.tolist() for kind, values in labels.items()})
            return super().generate(latents, labels)

    def labelled(names):
        numbers = {"pitch": np.array(PITCHES, np.int32), "instrument": np.arange(4, dtype=np.int32)}
        return tones(cents=30).relabelled(numbers, {"instrument": names})

    text = listen(Two(), tones(), labelled(["oboe", "horn", "harp", "viola"]), tmp_path / "some")
    assert sorted(zip(Two.asked[0]["pitch"], Two.asked[0]["instrument"], strict=True)) == [(57, 1), (60, 0)]
    assert "Drawn" not in text
    text = listen(Two(), tones(), labelled(["harp", "viola", "lute", "sitar"]), tmp_path / "none")
    assert sorted(Two.asked[1]["pitch"]) == list(PITCHES)
    assert "instrument" not in Two.asked[1]
    assert "Drawn at random, because the generator knows none of the test sounds' values: instrument." in text
