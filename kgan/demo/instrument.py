"""A generator as an instrument: timbres between four sounds, and what its sliders do."""

import functools
from typing import NamedTuple

import numpy as np

from kgan.audio.envelope import measure_envelope
from kgan.audio.signal import mono
from kgan.errors import InputError
from kgan.synthesizer import between

HEARD_SOUNDS = 512  # to find the directions of the sliders
SLIDER_RANGE = 3.0  # standard deviations of a latent
SHORTEST_S = 0.1  # of clips whose envelope can be measured


class Timbre(NamedTuple):
    """What a sound of the page is made of.

    Attributes:
        seeds: of the sounds at the corners: upper left, upper right, lower left, lower right.
        x, y: the place between them, from 0, left and upper, to 1.
        sliders: how far each of them is moved, in [-3, 3].
    """

    seeds: tuple[int, int, int, int]
    x: float = 0.0
    y: float = 0.0
    sliders: tuple[float, ...] = ()


class Instrument:
    """A `Synthesizer` that is played by hand.

    Args:
        synthesizer: of a run or a SavedModel.

    Attributes:
        sliders: `{(what less of it is, what more of it is): direction in the latent space}`.
        real: `Sounds` to compare with, or a text why there are none.
    """

    def __init__(self, synthesizer):
        self.synthesizer = synthesizer
        self.sliders = directions(synthesizer)
        self.real = "The real sounds are still being read."
        self._corner = functools.lru_cache(1024)(lambda seed: synthesizer.latents(1, seed)[0])

    def latent(self, timbre):
        """Return the latent of a `Timbre`, `(latent_dim,)`.

        Raises:
            InputError: it has more sliders than there are.
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
            labels: `{kind: value}`; a kind that is missing is drawn, by the first seed.
            duration_s: of a note, release included; None for a clip.

        Raises:
            InputError: a label is not one that the generator was trained on, there are fewer sliders, or the generator plays no
                notes of that duration.
        """
        chosen = self.synthesizer.chosen_labels(1, labels, seed=timbre.seeds[0])
        latents = self.latent(timbre)[np.newaxis]
        if duration_s is None:
            return self.synthesizer.generate(latents, chosen)[0]
        return self.synthesizer.play(latents, chosen, duration_s=duration_s)[0]

    def real_sound(self, labels, number):
        """Return a real sound that has these labels, as far as there is one, and what it is called.

        Args:
            labels: `{kind: value}`; the pitch counts most.
            number: which of several.

        Raises:
            InputError: there are none here.
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
    """Return unit vectors of the latent space along which sounds get brighter, begin slower and last longer.

    Each is the correlation of latents with that measure, of 512 sounds of one pitch, differences between other labels removed:
    the direction of a least-squares fit, latents being uncorrelated.

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
        if length > 0:  # nothing differs otherwise
            found[names] = (direction / length).astype(np.float32)
    return found


def _within_groups(values, labels):
    """Return values less the mean of all that share their labels."""
    groups = np.zeros(len(values), int)
    for column in labels.values():
        groups = np.unique(np.stack([groups, column]), axis=1, return_inverse=True)[1].ravel()
    means = np.bincount(groups, values) / np.maximum(np.bincount(groups), 1)
    return values - means[groups]
