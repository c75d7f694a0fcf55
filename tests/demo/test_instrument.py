import numpy as np
import pytest

from kgan.data.sounds import Sounds, to_int16
from kgan.demo.instrument import Instrument, Timbre, directions
from kgan.errors import InputError
from kgan.labels import Labels
from kgan.synthesizer import Synthesizer

RATE_HZ, CLIP, WIDTH = 16000, 8000, 12
SEEDS = (3, 5, 8, 13)


class Steerable(Synthesizer):
    """Decaying sines: the first latent and the family decide their frequency, the second the attack, the third the decay."""

    def __init__(self, distribution="normal"):
        self.sample_rate_hz, self.latent_dim, self.latent_distribution = RATE_HZ, WIDTH, distribution
        self.labels = Labels({"pitch": [60, 61, 60, 61], "family": [0, 0, 1, 1]}, names={"family": ["bass", "brass"]})
        self.asked = []

    def generate(self, latents, labels=None, progress=False):
        self.asked.append((latents, labels))
        t = np.arange(CLIP) / RATE_HZ
        latents = np.asarray(latents, np.float64)
        frequency_hz = 1000 * 2 ** (0.5 * latents[:, :1] + labels["family"][:, None])
        attack = np.clip(t / (0.05 * 2 ** (0.5 * latents[:, 1:2])), 0, 1)
        return (attack * np.exp(-4 * t * 2 ** (-0.5 * latents[:, 2:3])) * np.sin(2 * np.pi * frequency_hz * t)).astype(
            np.float32
        )


@pytest.fixture(scope="module")
def instrument():
    return Instrument(Steerable())


def test_sliders_are_found_where_they_are(instrument):
    found = instrument.sliders
    assert list(found) == [("darker", "brighter"), ("sudden", "gentle"), ("short", "long")]
    for axis, direction in enumerate(found.values()):
        np.testing.assert_allclose(np.linalg.norm(direction), 1, rtol=1e-5)
        assert direction[axis] > 0.9, axis  # the cosine with what it is


def test_a_sound_at_a_corner_is_that_seeds(instrument):
    for corner, seed in enumerate(SEEDS):
        timbre = Timbre(SEEDS, corner % 2, corner // 2)
        np.testing.assert_allclose(instrument.latent(timbre), instrument.synthesizer.latents(1, seed)[0], rtol=1e-5, atol=1e-6)


def test_between_corners_by_hand(instrument):
    """On the way from one corner to another a normal latent keeps the angles: halfway they are equal."""
    start, end = (instrument.synthesizer.latents(1, seed)[0] for seed in SEEDS[:2])
    middle = instrument.latent(Timbre(SEEDS, 0.5, 0))
    angles = [np.arccos(middle @ corner / np.linalg.norm(middle) / np.linalg.norm(corner)) for corner in (start, end)]
    whole = np.arccos(start @ end / np.linalg.norm(start) / np.linalg.norm(end))
    np.testing.assert_allclose(middle, (start + end) / (2 * np.cos(whole / 2)), rtol=1e-4, atol=1e-5)
    assert sum(angles) == pytest.approx(whole, rel=1e-3)


def test_sliders_move_the_latent_by_their_amount(instrument):
    there = instrument.latent(Timbre(SEEDS, sliders=(2.0, 0.0, -1.0)))
    bright, _, long = instrument.sliders.values()
    np.testing.assert_allclose(there - instrument.latent(Timbre(SEEDS)), 2 * bright - long, rtol=1e-4, atol=1e-5)


def test_uniform_latents_stay_in_their_range():
    instrument = Instrument(Steerable("uniform"))
    latents = [instrument.synthesizer.latents(1, seed)[0] for seed in SEEDS]
    np.testing.assert_allclose(instrument.latent(Timbre(SEEDS, 0.5, 0.5)), np.mean(latents, axis=0), rtol=1e-5, atol=1e-6)
    assert np.abs(instrument.latent(Timbre(SEEDS, sliders=(3.0, 3.0, 3.0)))).max() == 1


def test_labels_are_passed_on_and_drawn(instrument):
    synthesizer = instrument.synthesizer
    synthesizer.asked.clear()
    audio = instrument.play(Timbre(SEEDS), {"pitch": 61, "family": 1})
    assert audio.shape == (CLIP,)
    assert {kind: values.tolist() for kind, values in synthesizer.asked[0][1].items()} == {"pitch": [61], "family": [1]}
    instrument.play(Timbre(SEEDS), {"pitch": 60})
    instrument.play(Timbre(SEEDS, 1.0), {"pitch": 60})
    first, second = (labels["family"].tolist() for _, labels in synthesizer.asked[1:])
    assert first == second  # moving the pad keeps what was drawn
    with pytest.raises(InputError, match="`pitch` must be"):
        instrument.play(Timbre(SEEDS), {"pitch": 90})


def test_real_sounds_of_the_same_pitch_first_and_family_second(instrument):
    with pytest.raises(InputError, match="still being loaded"):
        instrument.real_sound({"pitch": 60}, 0)
    labels = {"pitch": np.array([60, 61, 60, 61]), "family": np.array([0, 1, 1, 1])}
    audio = np.linspace(0.1, 0.4, 4)[:, None] * np.ones((4, CLIP))
    own = Instrument(instrument.synthesizer)
    own.real = Sounds(to_int16(audio), RATE_HZ, ["a", "b", "c", "d"], labels, {})
    assert own.real_sound({"pitch": 60, "family": 1}, 0)[1] == "c"
    assert [own.real_sound({"pitch": 61, "family": 0}, i)[1] for i in range(3)] == ["b", "d", "b"]  # pitch counts most
    np.testing.assert_allclose(own.real_sound({"pitch": 60, "family": 0}, 0)[0], 0.1, atol=1e-4)


def test_clips_too_short_for_an_envelope_have_one_slider(conditional):
    assert list(directions(conditional[0])) == [("darker", "brighter")]
