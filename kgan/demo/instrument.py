"""A generator as an instrument: timbres between four sounds, and sliders that change them."""

import functools
from typing import NamedTuple

import numpy as np

from kgan.audio.envelope import measure_envelope
from kgan.audio.signal import mono
from kgan.errors import InputError
from kgan.synthesizer import between

HEARD_SOUNDS = 512  # number of sounds from which the sliders' directions are computed
SLIDER_RANGE = 3.0  # standard deviations of a latent
SHORTEST_S = 0.1  # shortest clip whose envelope can be measured


class Timbre(NamedTuple):
    """A timbre that is set on the page.

    Attributes:
        seeds: seeds of the sounds at the corners: upper left, upper right, lower left, lower right.
        x, y: position between the corners, in [0, 1] from the left and from the top.
        sliders: position of each slider, in [-3, 3].
    """

    seeds: tuple[int, int, int, int]
    x: float = 0.0
    y: float = 0.0
    sliders: tuple[float, ...] = ()


class Instrument:
    """A `Synthesizer` that is played by hand.

    Args:
        synthesizer: the `Synthesizer` of a run or a SavedModel.

    Attributes:
        sliders: `{(name of the low end, name of the high end): direction in the latent space}`.
        real: `Sounds` to compare with, or a text that says why there are none.
    """

    def __init__(self, synthesizer):
        self.synthesizer = synthesizer
        self.sliders = directions(synthesizer)
        self.real = "The real sounds are still being loaded."
        self._corner = functools.lru_cache(1024)(lambda seed: synthesizer.latents(1, seed)[0])

    def latent(self, timbre):
        """Return the latent of a `Timbre`, `(latent_dim,)`.

        Raises:
            InputError: the timbre has more sliders than the instrument.
        """
        distribution = self.synthesizer.latent_distribution
        corners = [self._corner(seed) for seed in timbre.seeds]
        upper, lower = (between(*pair, timbre.x, distribution) for pair in (corners[:2], corners[2:]))
        latent = between(upper, lower, timbre.y, distribution)
        if len(timbre.sliders) > len(self.sliders):
            raise InputError(f"There are {len(self.sliders)} sliders. Received: {len(timbre.sliders)}.")
        moves = zip(timbre.sliders, self.sliders.values(), strict=False)
        latent = latent + sum((amount * direction for amount, direction in moves), start=np.zeros_like(latent))
        return np.clip(latent, -1, 1) if distribution == "uniform" else latent

    def play(self, timbre, labels, duration_s=None):
        """Return the sound `(samples[, channels])` of a timbre.

        Args:
            timbre: a `Timbre`.
            labels: `{kind: value}`; a missing kind is drawn from the first seed.
            duration_s: duration of a note, including the release; None for a clip.

        Raises:
            InputError: the generator was not trained on a label, the timbre has too many sliders, or the generator plays no
                notes of that duration.
        """
        chosen = self.synthesizer.chosen_labels(1, labels, seed=timbre.seeds[0])
        latents = self.latent(timbre)[np.newaxis]
        if duration_s is None:
            return self.synthesizer.generate(latents, chosen)[0]
        return self.synthesizer.play(latents, chosen, duration_s=duration_s)[0]

    def real_sound(self, labels, number):
        """Return the real sound that best matches the labels, and its name.

        Args:
            labels: `{kind: value}`; the pitch counts most.
            number: which of several equally good matches to return.

        Raises:
            InputError: there are no real sounds.
        """
        if isinstance(self.real, str):
            raise InputError(self.real)
        fits = np.zeros(len(self.real), int)
        for kind, value in labels.items():
            if kind in self.real.labels:
                fits += (2 if kind == "pitch" else 1) * (self.real.labels[kind] == value)
        best = np.flatnonzero(fits == fits.max())
        chosen = best[number % len(best)]
        return self.real.waveforms([chosen])[0], str(self.real.ids[chosen])


def directions(synthesizer, seed=0):
    """Return unit vectors in latent space along which sounds get brighter, begin more slowly and last longer.

    Each vector is the correlation of the latents with that measure over 512 sounds of one pitch, after removing differences
    between other labels. As latents are uncorrelated, this is the direction of a least-squares fit.

    Reference: Jahanian et al. 2020, "On the steerability of generative adversarial networks". https://arxiv.org/abs/1907.07171
    """
    latents = synthesizer.latents(HEARD_SOUNDS, seed)
    pitches = synthesizer.labels.values.get("pitch")
    labels = synthesizer.chosen_labels(HEARD_SOUNDS, {} if pitches is None else {"pitch": pitches[len(pitches) // 2]}, seed)
    audio = mono(synthesizer.generate(latents, labels, progress=True))
    powers = np.square(np.abs(np.fft.rfft(audio)))
    centroids = powers @ np.arange(powers.shape[1]) / np.maximum(powers.sum(axis=1), 1e-12)
    measures = {("darker", "brighter"): np.log(centroids + 1)}
    if audio.shape[1] >= SHORTEST_S * synthesizer.sample_rate_hz:
        envelope = measure_envelope(audio, synthesizer.sample_rate_hz)
        measures[("sudden", "gentle")] = envelope.attack_ms
        measures[("short", "long")] = envelope.decay_db
    found = {}
    for names, values in measures.items():
        direction = latents.T @ _within_groups(np.nan_to_num(values), labels)
        length = np.linalg.norm(direction)
        if length > 0:  # otherwise the sounds do not differ
            found[names] = (direction / length).astype(np.float32)
    return found


def _within_groups(values, labels):
    """Subtract from each value the mean of all values with the same labels."""
    groups = np.zeros(len(values), int)
    for column in labels.values():
        groups = np.unique(np.stack([groups, column]), axis=1, return_inverse=True)[1].ravel()
    means = np.bincount(groups, values) / np.maximum(np.bincount(groups), 1)
    return values - means[groups]
